//! A tenant whose workspace lives in the sandbox: what the tests of tickets and deliveries stand on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bitbucket_sandbox::{CommitRequest, NewRepository, Sandbox, SandboxConfig};
use diesel::prelude::*;
use serde_json::{Value, json};
use tracebucket::error::AppError;
use tracebucket::features::groups::GroupId;
use tracebucket::features::links::{LinkId, RepoId};
use tracebucket::kit::crypto::hmac_sha256;
use tracebucket::schema::{deliveries, groups};

use crate::support::{Backend, Options, Tenant, TestApp};

/// Writes one test for each database: `scenes! { async fn name(s) { … } }`, where `s` is a started [`Scene`].
macro_rules! scenes {
    ($(async fn $name:ident($s:ident) $body:block)+) => {
        $(mod $name {
            #[allow(unused_imports, reason = "not every body needs the names around it")]
            use super::*;
            async fn story($s: &$crate::scene::Scene) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let scene = $crate::scene::Scene::start($crate::support::Backend::Sqlite).await;
                story(&scene).await;
                scene.end().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let scene = $crate::scene::Scene::start($crate::support::Backend::Postgres).await;
                story(&scene).await;
                scene.end().await;
            }
        })+
    };
}
pub(crate) use scenes;

pub struct Scene {
    pub t: TestApp,
    pub sandbox: Sandbox,
    pub tenant: Tenant,
    pub link: LinkId,
    /// `acme/shop`, in the database and in the sandbox.
    pub repo: RepoId,
    pub repo_uuid: String,
    pub secret: String,
    folder: tempfile::TempDir,
}

pub const REPO: &str = "acme/shop";

impl Scene {
    pub async fn start(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(SandboxConfig::new(folder.path().join("sandbox"))).unwrap();
        let settings =
            vec![("bitbucket_api_url", sandbox.url().to_owned()), ("bitbucket_web_url", sandbox.url().to_owned())];
        let t = TestApp::start_with(backend, Options { settings, clock: None }).await;
        let workspace = sandbox.create_workspace("acme").unwrap();
        let repository = sandbox.create_repository(NewRepository::new("acme", "shop")).await.unwrap();
        let tenant = t.tenant("acme").await;
        let connected = connect(&t, &sandbox, &tenant, &workspace.uuid, &repository.uuid).await;
        Self {
            t,
            sandbox,
            tenant,
            link: connected.0,
            repo: connected.1,
            repo_uuid: repository.uuid,
            secret: connected.2,
            folder,
        }
    }

    /// Ends the scene: nobody broke a rule of Bitbucket, and nothing gave up.
    pub async fn end(self) {
        assert_eq!(self.sandbox.take_violations(), vec![]);
        let dead = self.t.dead_jobs().await;
        assert!(dead.is_empty(), "{dead:#?}");
        self.t.stop().await;
    }

    pub fn org_path(&self, rest: &str) -> String {
        format!("/api/0/organizations/{}/{rest}", self.tenant.org.slug)
    }

    pub fn hook_url(&self) -> String {
        format!("/extensions/bitbucket/organizations/{}/webhook/", self.tenant.org.id)
    }

    /// A webhook with the signature of this repository, ready to be changed and sent.
    pub fn hook(&self, event: &str, body: &Value) -> reqwest::RequestBuilder {
        let body = body.to_string();
        let tag = hex::encode(hmac_sha256(self.secret.as_bytes(), body.as_bytes()));
        self.t
            .http
            .post(self.t.url(&self.hook_url()))
            .header("X-Event-Key", event)
            .header("X-Request-UUID", uuid::Uuid::new_v4().to_string())
            .header("X-Hub-Signature", format!("sha256={tag}"))
            .body(body)
    }

    /// A payload of this repository.
    pub fn payload(&self, rest: Value) -> Value {
        let mut body = json!({"repository": {"uuid": self.repo_uuid, "full_name": REPO}, "actor": {"type": "user"}});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    }

    /// Makes a commit in the sandbox, waits for its webhook and works on it.
    pub async fn commit(&self, branch: &str, message: &str) -> String {
        let hash = self.commit_quietly(branch, message).await;
        self.settle().await;
        hash
    }

    pub async fn commit_quietly(&self, branch: &str, message: &str) -> String {
        let name = format!("{}.txt", uuid::Uuid::new_v4());
        self.sandbox
            .commit(CommitRequest {
                repo: REPO.into(),
                branch: branch.into(),
                message: message.into(),
                author: Some("Mei Tanaka <mei@acme.example>".into()),
                files: BTreeMap::from([(name, message.to_owned())]),
                ..CommitRequest::default()
            })
            .await
            .unwrap()
    }

    /// Waits until the sandbox has delivered, then runs everything that is due.
    pub async fn settle(&self) {
        assert!(self.sandbox.settle(Duration::from_secs(20)).await, "webhooks did not end");
        self.t.run_jobs().await;
    }

    /// A clone in a folder of its own, with an author.
    pub fn clone_repo(&self) -> std::path::PathBuf {
        let folder = self.folder.path().join(uuid::Uuid::new_v4().to_string());
        git(self.folder.path(), &["clone", "-q", &self.sandbox.clone_url(REPO), folder.to_str().unwrap()]);
        git(&folder, &["config", "user.name", "Mei Tanaka"]);
        git(&folder, &["config", "user.email", "mei@acme.example"]);
        folder
    }

    pub async fn group_status(&self, group: GroupId) -> String {
        self.t
            .app
            .db
            .read(move |conn| {
                Ok::<_, AppError>(groups::table.filter(groups::id.eq(group)).select(groups::status).first(conn)?)
            })
            .await
            .unwrap()
    }

    /// State, error and outcome of every delivery, oldest first.
    pub async fn deliveries(&self) -> Vec<(String, String, Option<String>, Option<String>)> {
        self.t
            .app
            .db
            .read(|conn| {
                Ok::<_, AppError>(
                    deliveries::table
                        .order(deliveries::id)
                        .select((deliveries::event_key, deliveries::state, deliveries::error, deliveries::outcome))
                        .load(conn)?,
                )
            })
            .await
            .unwrap()
    }
}

pub fn git(folder: &Path, args: &[&str]) {
    let output = Command::new("git")
        .current_dir(folder)
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Links the tenant to the workspace and adds the repository with its hook.
async fn connect(
    t: &TestApp,
    sandbox: &Sandbox,
    tenant: &Tenant,
    workspace: &str,
    repository: &str,
) -> (LinkId, RepoId, String) {
    use bitbucket_sandbox::NewToken;
    use tracebucket::schema::{links, repo_hooks, repos};
    let scopes = ["issue:write", "pullrequest", "webhook", "repository"].map(str::to_owned).to_vec();
    let token = sandbox.create_token(&NewToken { workspace: "acme".into(), scopes, expires_in: None }).unwrap();
    let (org, now, secret) = (tenant.org.id, t.app.clock.now(), "s".repeat(64));
    let (workspace, uuid, sealer) = (workspace.to_owned(), repository.to_owned(), t.app.sealer.clone());
    let (config, seal) = (json!({"test_token": token.expose()}).to_string(), secret.clone());
    let (link, repo) = t
        .app
        .db
        .write(move |tx| {
            let link: LinkId = diesel::insert_into(links::table)
                .values((
                    links::org_id.eq(org),
                    links::provider.eq("bitbucket"),
                    links::external_id.eq("client"),
                    links::workspace_uuid.eq(&workspace),
                    links::name.eq("acme"),
                    links::domain_name.eq("bitbucket.org/acme"),
                    links::account_type.eq("team"),
                    links::status.eq("active"),
                    links::config.eq(&config),
                    links::created_by.eq("test"),
                    links::created_at.eq(now),
                    links::updated_at.eq(now),
                ))
                .returning(links::id)
                .get_result(tx.conn())?;
            let repo: RepoId = diesel::insert_into(repos::table)
                .values((
                    repos::org_id.eq(org),
                    repos::link_id.eq(Some(link)),
                    repos::provider.eq(Some("integrations:bitbucket")),
                    repos::external_id.eq(Some(&uuid)),
                    repos::name.eq(REPO),
                    repos::status.eq("active"),
                    repos::created_at.eq(now),
                    repos::updated_at.eq(now),
                ))
                .returning(repos::id)
                .get_result(tx.conn())?;
            diesel::insert_into(repo_hooks::table)
                .values((
                    repo_hooks::repo_id.eq(repo),
                    repo_hooks::org_id.eq(org),
                    repo_hooks::state.eq("active"),
                    repo_hooks::sealed_secret.eq(sealer.seal(&format!("repo_hook.secret:{repo}"), seal.as_bytes())),
                    repo_hooks::updated_at.eq(now),
                ))
                .execute(tx.conn())?;
            Ok::<_, AppError>((link, repo))
        })
        .await
        .unwrap();
    let (repo_ref, _, connected) = tracebucket::features::links::client_for_repo(&t.app, org, repo)
        .await
        .map(|(repo, reference, connected)| (reference, repo, connected))
        .unwrap();
    let url = t.url(&format!("/extensions/bitbucket/organizations/{org}/webhook/"));
    let spec = tracebucket::bitbucket::cloud::HookSpec {
        description: "test",
        url: &url,
        secret: &tracebucket::kit::crypto::Secret::from(secret.as_str()),
        events: &["repo:push", "pullrequest:fulfilled", "repo:updated"],
    };
    connected.cloud.create_hook(&repo_ref, &spec).await.unwrap();
    (link, repo, secret)
}

/// A group of the tenant's project with one event.
pub async fn group(s: &Scene, title: &str) -> (GroupId, String) {
    group_of(&s.t, &s.tenant, title).await
}

pub async fn group_of(t: &TestApp, tenant: &Tenant, title: &str) -> (GroupId, String) {
    use tracebucket::schema::events;
    let (org, project, now, title) = (tenant.org.id, tenant.project.clone(), t.app.clock.now(), title.to_owned());
    let body = json!({"exception": {"values": [{"type": title, "value": "division by zero", "stacktrace": {"frames": [
        {"filename": "shop/cart.py", "lineno": 7, "function": "total", "context_line": "x / 0", "in_app": true}]}}]}})
    .to_string();
    t.app
        .db
        .write(move |tx| {
            let number: i64 = groups::table.filter(groups::project_id.eq(project.id)).count().get_result(tx.conn())?;
            let group: GroupId = diesel::insert_into(groups::table)
                .values((
                    (
                        groups::org_id.eq(org),
                        groups::project_id.eq(project.id),
                        groups::short_no.eq(number + 1),
                        groups::title.eq(&title),
                        groups::search_text.eq(title.to_lowercase()),
                        groups::culprit.eq("shop.cart in total"),
                        groups::kind.eq("error"),
                        groups::metadata.eq("{}"),
                        groups::level.eq("error"),
                        groups::platform.eq("python"),
                    ),
                    (
                        groups::status.eq("unresolved"),
                        groups::status_details.eq("{}"),
                        groups::first_seen.eq(now),
                        groups::last_seen.eq(now),
                        groups::times_seen.eq(1),
                        groups::user_count.eq(0),
                        groups::num_comments.eq(0),
                        groups::created_at.eq(now),
                    ),
                ))
                .returning(groups::id)
                .get_result(tx.conn())?;
            diesel::insert_into(events::table)
                .values((
                    events::project_id.eq(project.id),
                    events::group_id.eq(group),
                    events::event_id.eq(uuid::Uuid::new_v4().as_bytes().to_vec()),
                    events::received_at.eq(now),
                    events::occurred_at.eq(now),
                    events::body.eq(body.clone().into_bytes()),
                ))
                .execute(tx.conn())?;
            let short = format!("{}-{}", project.slug.to_uppercase(), number + 1);
            Ok::<_, AppError>((group, short))
        })
        .await
        .unwrap()
}
