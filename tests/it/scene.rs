//! A tenant whose workspace lives in the sandbox: what the tests of tickets and deliveries stand on.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;

use bitbucket_sandbox::CommitRequest;
use diesel::prelude::*;
use serde_json::{Value, json};
use tracebucket::error::AppError;
use tracebucket::features::groups::GroupId;
use tracebucket::features::links::RepoId;
use tracebucket::kit::crypto::hmac_sha256;
use tracebucket::kit::db::Conn;
use tracebucket::schema::{deliveries, groups, installations, repo_hooks, repos};

use crate::support::world::World;
use crate::support::{Backend, Tenant, TestApp, answer};

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
    pub world: World,
    /// `acme/shop`, in the database and in the sandbox.
    pub repo: RepoId,
    pub repo_uuid: String,
    pub secret: String,
}

pub const REPO: &str = "acme/shop";

impl Deref for Scene {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl Scene {
    pub async fn start(backend: Backend) -> Self {
        let world = World::new(backend).await;
        let repo: RepoId = world.repo.parse().unwrap();
        let sealer = world.t.app.sealer.clone();
        let (repo_uuid, sealed): (Option<String>, Vec<u8>) = world
            .t
            .app
            .db
            .read(move |conn| {
                let rows = repos::table
                    .inner_join(repo_hooks::table.on(repo_hooks::repo_id.eq(repos::id)));
                let row = rows
                    .filter(repos::id.eq(repo))
                    .select((repos::external_id, repo_hooks::sealed_secret));
                Ok::<_, AppError>(row.first(conn)?)
            })
            .await
            .unwrap();
        let secret = sealer
            .open(&format!("repo_hook.secret:{repo}"), &sealed)
            .unwrap();
        Self {
            world,
            repo,
            repo_uuid: repo_uuid.unwrap(),
            secret: String::from_utf8(secret).unwrap(),
        }
    }

    /// What must be in no log: the hook's secret and the one that Bitbucket shared at the installation.
    pub async fn secrets(&self) -> Vec<String> {
        let key = self.client_key.clone();
        let read = move |conn: &mut Conn| {
            let row = installations::table.filter(installations::client_key.eq(key));
            Ok::<_, AppError>(row.select(installations::sealed_secret).first(conn)?)
        };
        let sealed: Option<Vec<u8>> = self.t.app.db.read(read).await.unwrap();
        let context = format!("installation.secret:{}", self.client_key);
        let shared = self.t.app.sealer.open(&context, &sealed.unwrap()).unwrap();
        vec![self.secret.clone(), String::from_utf8(shared).unwrap()]
    }

    /// Ends the scene: nobody broke a rule of Bitbucket, and nothing gave up.
    pub async fn end(self) {
        self.finish().await;
        self.t.stop().await;
    }

    pub fn org_path(&self, rest: &str) -> String {
        format!("/api/0/organizations/{}/{rest}", self.tenant.org.slug)
    }

    pub fn hook_url(&self) -> String {
        format!(
            "/extensions/bitbucket/organizations/{}/webhook/",
            self.tenant.org.id
        )
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
        body.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
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
        self.bitbucket
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

    /// A clone in a folder of its own.
    pub fn checkout(&self) -> PathBuf {
        self.clone_repo(&uuid::Uuid::new_v4().to_string())
    }

    pub async fn group_status(&self, group: GroupId) -> String {
        self.t
            .app
            .db
            .read(move |conn| {
                Ok::<_, AppError>(
                    groups::table
                        .filter(groups::id.eq(group))
                        .select(groups::status)
                        .first(conn)?,
                )
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
                        .select((
                            deliveries::event_key,
                            deliveries::state,
                            deliveries::error,
                            deliveries::outcome,
                        ))
                        .load(conn)?,
                )
            })
            .await
            .unwrap()
    }
}

/// A new error of the tenant's project; its id and its short id.
pub async fn group(s: &Scene, kind: &str) -> (GroupId, String) {
    group_of(&s.t, &s.tenant, kind).await
}

pub async fn group_of(t: &TestApp, tenant: &Tenant, kind: &str) -> (GroupId, String) {
    crash(t, tenant, kind, None).await;
    let path = format!(
        "/api/0/organizations/{}/issues/?query=&sort=new",
        tenant.org.slug
    );
    let groups = t.get(&path, &tenant.token, 200).await;
    let found = groups
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["title"].as_str().unwrap().starts_with(kind))
        .unwrap();
    (
        found["id"].as_str().unwrap().parse().unwrap(),
        found["shortId"].as_str().unwrap().to_owned(),
    )
}

/// Sends an event as an SDK would.
pub async fn crash(t: &TestApp, tenant: &Tenant, kind: &str, release: Option<&str>) {
    let id = tracebucket::kit::crypto::random_hex(16);
    let event = json!({
        "event_id": id, "platform": "python", "level": "error", "release": release,
        "exception": {"values": [{"type": kind, "value": "division by zero", "stacktrace": {"frames": [
            {"filename": "shop/cart.py", "function": "total", "lineno": 7, "in_app": true, "context_line": "    x / 0"},
        ]}}]},
    });
    let path = format!("/api/{}/store/", tenant.project.id);
    let auth = format!(
        "Sentry sentry_key={}, sentry_version=7",
        tenant.key.public_key
    );
    answer(
        t.http
            .post(t.url(&path))
            .header("x-sentry-auth", auth)
            .json(&event),
        200,
    )
    .await;
}
