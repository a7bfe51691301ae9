//! One of the two tenants, and how it gets one more of anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bitbucket_sandbox::model::Permission;
use bitbucket_sandbox::{Action, Fault, NewCredential, NewRepository, Sandbox};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use serde_json::{Value, json};
use tracebucket::bitbucket::{Credential, datacenter};
use tracebucket::error::AppError;
use tracebucket::features::accounts::{self, Role, ScopeSet, User};
use tracebucket::features::groups::GroupId;
use tracebucket::features::links::{self, CredentialKind, Given, NewConnection};
use tracebucket::features::tickets::SyncStatus;
use tracebucket::kit::crypto::hmac_sha256;
use tracebucket::kit::jobs;
use tracebucket::schema::{repo_hooks, repos};

use super::requests::Names;
use crate::scene::group_of;
use crate::support::world::{hidden, install, link_by_hand};
use crate::support::{Tenant, TestApp};

/// What a webhook of a Data Center repository is made of.
pub struct ServerRepo {
    pub link: String,
    pub number: String,
    pub secret: String,
}

/// A person in a browser: the cookie, and what forms carry.
pub struct Session {
    pub cookie: String,
    pub csrf: String,
}

impl Session {
    pub async fn open(t: &TestApp, user: &User, org: &str) -> Self {
        let cookie = t.session(user).await;
        let page = t
            .http
            .get(t.url(&format!("/o/{org}/settings/")))
            .header("cookie", &cookie)
            .send()
            .await
            .unwrap();
        let csrf = hidden(&page.text().await.unwrap(), "csrf");
        Self { cookie, csrf }
    }
}

/// The names by which one tenant's things are called in requests; a thing may have several.
#[derive(Default)]
pub struct Things(BTreeMap<&'static str, Vec<String>>);

impl Things {
    fn set(&mut self, key: &'static str, names: &[String]) {
        self.0.insert(key, names.to_vec());
    }

    /// How many ways there are to name all of them.
    pub fn spellings(&self) -> usize {
        self.0.values().map(Vec::len).max().unwrap_or(1)
    }

    /// One name for each; a thing with fewer names begins again with its first.
    pub fn names(&self, spelling: usize) -> Names {
        self.0
            .iter()
            .map(|(key, names)| (*key, names[spelling % names.len()].clone()))
            .collect()
    }
}

/// What a tenant can have; each is a key of [`Things`].
pub fn all_keys() -> BTreeSet<&'static str> {
    BTreeSet::from([
        "org",
        "project",
        "user",
        "issue",
        "group",
        "short",
        "event",
        "event_row",
        "note",
        "ticket",
        "failed_ticket",
        "integration",
        "spare_integration",
        "named_integration",
        "repo",
        "repo_name",
        "free_repo",
        "bulk",
        "delivery",
        "job",
        "token",
        "member",
        "invitation",
    ])
}

pub struct Side {
    pub word: &'static str,
    pub tenant: Tenant,
    pub session: Session,
    pub user_token: String,
    pub client_key: String,
    pub integration: String,
    pub repo_uuid: String,
    pub hook_secret: String,
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = Nullable<BigInt>)]
    id: Option<i64>,
}

/// The newest row of a table.
pub async fn newest(t: &TestApp, table: &str, condition: &str) -> String {
    let sql = format!("SELECT MAX(id) AS id FROM {table} WHERE {condition}");
    let row: Id = t
        .app
        .db
        .read(move |conn| Ok::<_, AppError>(diesel::sql_query(sql).get_result(conn)?))
        .await
        .unwrap();
    row.id
        .unwrap_or_else(|| panic!("no {table} where {condition}"))
        .to_string()
}

/// A word that nothing has been called yet.
pub fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("n{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A person who owns both organizations.
pub async fn owner_of_both(t: &TestApp, a: &Side, b: &Side) -> Session {
    let (orgs, now) = ([a.tenant.org.id, b.tenant.org.id], t.app.clock.now());
    let user = t
        .app
        .db
        .write(move |tx| {
            let mut member = |org| {
                accounts::create_member(
                    tx,
                    org,
                    "both@owners.example",
                    "Bo Both",
                    "no password",
                    Role::Owner,
                    now,
                )
            };
            member(orgs[0])?;
            member(orgs[1])
        })
        .await
        .unwrap();
    Session::open(t, &user, a.word).await
}

impl Side {
    /// A tenant with a workspace of its own, a repository there, and a ticket #1 in it.
    pub async fn new(t: &TestApp, bitbucket: &Sandbox, word: &'static str) -> Self {
        let tenant = t.tenant(word).await;
        let session = Session::open(t, &tenant.owner, word).await;
        let (user, now) = (tenant.owner.id, t.app.clock.now());
        let user_token = t
            .app
            .db
            .write(move |tx| {
                accounts::create_user_token(tx, user, "tests", "own", ScopeSet::all(), now)
            })
            .await
            .unwrap();
        bitbucket.create_workspace(word).unwrap();
        let (client_key, redirect) = install(t, bitbucket, word).await;
        link_by_hand(t, &redirect, &session.cookie, word).await;
        let integration = newest(t, "links", &format!("org_id = {}", tenant.org.id)).await;
        let mut side = Self {
            word,
            tenant,
            session,
            user_token,
            client_key,
            integration,
            repo_uuid: String::new(),
            hook_secret: String::new(),
        };
        bitbucket
            .create_repository(NewRepository::new(word, "shop"))
            .await
            .unwrap();
        let repo = side.add_repo(t, "shop").await;
        (side.repo_uuid, side.hook_secret) = secret_of(t, &repo).await;
        let (group, _) = group_of(t, &side.tenant, "FirstError").await;
        side.create_ticket(t, &group, 201).await;
        side
    }

    pub fn org_path(&self, rest: &str) -> String {
        format!("/api/0/organizations/{}/{rest}", self.word)
    }

    async fn api(
        &self,
        t: &TestApp,
        method: &str,
        rest: &str,
        body: Value,
        expected: u16,
    ) -> Value {
        t.send(
            method,
            &self.org_path(rest),
            &self.tenant.token,
            body,
            expected,
        )
        .await
    }

    async fn add_repo(&self, t: &TestApp, slug: &str) -> String {
        let body = json!({
            "provider": "integrations:bitbucket", "installation": self.integration,
            "identifier": format!("{}/{slug}", self.word),
        });
        let made = self.api(t, "POST", "repos/", body, 201).await;
        t.run_jobs().await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn create_ticket(&self, t: &TestApp, group: &GroupId, expected: u16) -> Value {
        let path = format!("issues/{group}/integrations/{}/", self.integration);
        let form = json!({ "repo": format!("{}/shop", self.word), "title": nonce() });
        self.api(t, "POST", &path, form, expected).await
    }

    /// A webhook for an organization, signed with a secret.
    pub fn webhook(
        &self,
        t: &TestApp,
        org: impl std::fmt::Display,
        secret: &str,
    ) -> reqwest::RequestBuilder {
        let body = json!({
            "repository": { "uuid": self.repo_uuid, "full_name": format!("{}/shop", self.word) },
            "push": { "changes": [] },
        })
        .to_string();
        let tag = hex::encode(hmac_sha256(secret.as_bytes(), body.as_bytes()));
        t.http
            .post(t.url(&format!(
                "/extensions/bitbucket/organizations/{org}/webhook/"
            )))
            .header("X-Event-Key", "repo:push")
            .header("X-Request-UUID", uuid::Uuid::new_v4().to_string())
            .header("X-Hub-Signature", format!("sha256={tag}"))
            .body(body)
    }

    /// What a request with these keys needs, all of it new where a request can use it up.
    pub async fn fresh(
        &self,
        t: &TestApp,
        bitbucket: &Sandbox,
        keys: &BTreeSet<&'static str>,
    ) -> Things {
        let mut things = Things::default();
        let (org, project) = (&self.tenant.org, &self.tenant.project);
        let in_org = format!("org_id = {}", org.id);
        things.set("nonce", &[nonce()]);
        things.set("org", &[org.slug.clone(), org.id.to_string()]);
        things.set("project", &[project.slug.clone(), project.id.to_string()]);
        things.set(
            "user",
            &[
                self.tenant.owner.id.to_string(),
                self.tenant.owner.email.clone(),
            ],
        );
        things.set("integration", std::slice::from_ref(&self.integration));
        things.set("repo_name", &[format!("{}/shop", self.word)]);
        self.fresh_group(t, bitbucket, keys, &mut things).await;
        if keys.contains("repo") {
            let slug = nonce();
            bitbucket
                .create_repository(NewRepository::new(self.word, &slug))
                .await
                .unwrap();
            things.set("repo", &[self.add_repo(t, &slug).await]);
        }
        if keys.contains("free_repo") {
            let slug = nonce();
            bitbucket
                .create_repository(NewRepository::new(self.word, &slug))
                .await
                .unwrap();
            things.set("free_repo", &[format!("{}/{slug}", self.word)]);
        }
        if keys.contains("bulk") {
            let (link, wish) = (
                links::LinkId(self.integration.parse().unwrap()),
                links::Wish {
                    picks: vec!["not a name".into()],
                    ..links::Wish::default()
                },
            );
            let id = links::add_many(&t.app, org.id, link, wish, "Olga").await;
            t.run_jobs().await;
            things.set("bulk", &[id.unwrap().to_string()]);
        }
        if keys.contains("spare_integration") {
            let (_, redirect) = self.fresh_install(t, bitbucket).await;
            link_by_hand(t, &redirect, &self.session.cookie, self.word).await;
            things.set("spare_integration", &[newest(t, "links", &in_org).await]);
        }
        if keys.contains("named_integration") {
            things.set("named_integration", &[self.named_link(t, bitbucket).await]);
        }
        if keys.contains("delivery") {
            let sent = self
                .webhook(t, org.id, &self.hook_secret)
                .send()
                .await
                .unwrap();
            assert_eq!(sent.status(), 204);
            things.set("delivery", &[newest(t, "deliveries", &in_org).await]);
        }
        if keys.contains("token") {
            t.token(org, "org:read").await;
            things.set("token", &[newest(t, "api_tokens", &in_org).await]);
        }
        if keys.contains("member") {
            things.set(
                "member",
                &[t.member(org, Role::Member).await.id.to_string()],
            );
        }
        if keys.contains("invitation") {
            self.invite(t).await;
            things.set("invitation", &[newest(t, "invitations", &in_org).await]);
        }
        t.run_jobs().await;
        if keys.contains("job") {
            things.set("job", &[self.dead_job(t).await]);
        }
        things
    }

    /// Invites somebody new; the code of the link.
    pub async fn invite(&self, t: &TestApp) -> String {
        let (org, now) = (self.tenant.org.id, t.app.clock.now());
        let email = format!("{}@{}.example", nonce(), self.word);
        t.app
            .db
            .write(move |tx| accounts::invite(tx, org, "owner", &email, Role::Member, now))
            .await
            .unwrap()
    }

    /// A second connection to the tenant's workspace, by an access token.
    async fn named_link(&self, t: &TestApp, bitbucket: &Sandbox) -> String {
        let made = bitbucket
            .create_credential(&NewCredential::WorkspaceAccessToken {
                workspace: self.word.into(),
                name: nonce(),
                scopes: vec!["repository".into(), "webhook".into(), "pullrequest".into()],
                expires_in: None,
            })
            .unwrap();
        let signs = Credential::Bearer(made.secret.expose().into());
        let cloud = t.app.bitbucket.for_credential(signs);
        let workspace = cloud.workspace(self.word);
        let new = NewConnection {
            kind: CredentialKind::WorkspaceToken,
            credential: Given::AccessToken {
                token: made.secret.expose().into(),
            },
            workspace_uuid: workspace.await.unwrap().uuid.unwrap(),
            workspace: self.word.into(),
            label: format!("second of {}", self.word),
            purpose: String::new(),
            owner: None,
            private: false,
            expires_at: None,
        };
        let link = links::connect_named(&t.app, self.tenant.org.id, new, "Olga Owner").await;
        link.unwrap().id.to_string()
    }

    /// A connection to Data Center, with the tenant's repository there.
    pub async fn server_repo(&self, t: &TestApp, bitbucket: &Sandbox) -> ServerRepo {
        let nickname = nonce();
        let person = json!({ "display_name": "Ada", "nickname": nickname, "email": null });
        bitbucket
            .create_user(&serde_json::from_value(person).unwrap())
            .unwrap();
        let member = json!({ "workspace": self.word, "user": nickname, "role": "member", "permission": "admin" });
        bitbucket
            .add_member(&serde_json::from_value(member).unwrap())
            .unwrap();
        let made = bitbucket
            .create_credential(&NewCredential::DataCenterToken {
                user: nickname,
                permission: Permission::Admin,
                expires_in: None,
            })
            .unwrap();
        let base = url::Url::parse(bitbucket.url()).unwrap();
        let new = NewConnection {
            kind: CredentialKind::DataCenter,
            workspace_uuid: base.to_string(),
            workspace: datacenter::server_name(&base),
            credential: Given::DataCenter {
                base,
                token: made.secret.expose().into(),
                ca: None,
            },
            label: format!("server of {}", self.word),
            purpose: String::new(),
            owner: None,
            private: false,
            expires_at: None,
        };
        let link = links::connect_named(&t.app, self.tenant.org.id, new, "Olga Owner").await;
        let link = link.unwrap().id.to_string();
        let body = json!({
            "provider": "integrations:bitbucket_server", "installation": link,
            "identifier": format!("{}/shop", self.word.to_uppercase()),
        });
        let made = self.api(t, "POST", "repos/", body, 201).await;
        t.run_jobs().await;
        let (external, secret) = secret_of(t, made["id"].as_str().unwrap()).await;
        let number = external.rsplit_once('#').unwrap().1.to_owned();
        ServerRepo {
            link,
            number,
            secret,
        }
    }

    /// Installs the app in one more workspace; its client key, and where the browser goes.
    pub async fn fresh_install(&self, t: &TestApp, bitbucket: &Sandbox) -> (String, String) {
        let workspace = format!("{}-{}", self.word, nonce());
        bitbucket.create_workspace(&workspace).unwrap();
        install(t, bitbucket, &workspace).await
    }

    async fn fresh_group(
        &self,
        t: &TestApp,
        bitbucket: &Sandbox,
        keys: &BTreeSet<&'static str>,
        things: &mut Things,
    ) {
        let of_group = [
            "issue",
            "group",
            "short",
            "event",
            "event_row",
            "note",
            "ticket",
            "failed_ticket",
        ];
        if !of_group.iter().any(|key| keys.contains(key)) {
            return;
        }
        let (group, short) = group_of(t, &self.tenant, &format!("{}Error", nonce())).await;
        things.set("issue", &[group.to_string(), short.clone()]);
        things.set("group", &[group.to_string()]);
        things.set("short", &[short]);
        let latest = self
            .api(
                t,
                "GET",
                &format!("issues/{group}/events/latest/"),
                Value::Null,
                200,
            )
            .await;
        things.set("event", &[latest["eventID"].as_str().unwrap().to_owned()]);
        let of_group = format!("group_id = {group}");
        things.set("event_row", &[newest(t, "events", &of_group).await]);
        if keys.contains("note") {
            let text = json!({ "text": format!("a note of {}", self.word) });
            let made = self
                .api(t, "POST", &format!("issues/{group}/comments/"), text, 201)
                .await;
            things.set("note", &[made["id"].as_str().unwrap().to_owned()]);
        }
        if keys.contains("ticket") {
            let made = self.create_ticket(t, &group, 201).await;
            things.set("ticket", &[made["id"].to_string()]);
        }
        if keys.contains("failed_ticket") {
            let refusal = Action::Status {
                status: 403,
                retry_after: None,
                body: None,
            };
            bitbucket.add_fault(Fault::once("POST", "/issues", refusal));
            self.create_ticket(t, &group, 400).await;
            let failed = format!("{of_group} AND state = 'failed'");
            things.set("failed_ticket", &[newest(t, "tickets", &failed).await]);
        }
    }

    /// A job of this tenant that gave up.
    async fn dead_job(&self, t: &TestApp) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
        let group = i64::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap();
        let job = SyncStatus {
            org: self.tenant.org.id,
            group: GroupId(group),
        };
        let now = t.app.clock.now();
        t.app
            .db
            .write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &job, now)?))
            .await
            .unwrap();
        let id = newest(
            t,
            "jobs",
            &format!("org_id = {} AND state = 'ready'", self.tenant.org.id),
        )
        .await;
        let statements = [
            format!("UPDATE jobs SET state = 'dead', finished_at = run_at WHERE id = {id}"),
            format!(
                "INSERT INTO job_attempts (job_id, attempt, verdict, message, at) \
                 SELECT id, 1, 'retry', 'Bitbucket was away', run_at FROM jobs WHERE id = {id}"
            ),
        ];
        t.app
            .db
            .write(move |tx| {
                for sql in &statements {
                    assert_eq!(diesel::sql_query(sql).execute(tx.conn())?, 1);
                }
                Ok::<_, AppError>(())
            })
            .await
            .unwrap();
        id
    }
}

/// Bitbucket's id of a repository and the secret of its hook.
async fn secret_of(t: &TestApp, repo: &str) -> (String, String) {
    let id: i64 = repo.parse().unwrap();
    let (uuid, sealed): (Option<String>, Vec<u8>) = t
        .app
        .db
        .read(move |conn| {
            let rows =
                repos::table.inner_join(repo_hooks::table.on(repo_hooks::repo_id.eq(repos::id)));
            let row = rows
                .filter(repos::id.eq(id))
                .select((repos::external_id, repo_hooks::sealed_secret));
            Ok::<_, AppError>(row.first(conn)?)
        })
        .await
        .unwrap();
    let secret = t
        .app
        .sealer
        .open(&format!("repo_hook.secret:{repo}"), &sealed)
        .unwrap();
    (uuid.unwrap(), String::from_utf8(secret).unwrap())
}
