//! Bitbucket Data Center, from the form to the resolved error, on the same git repositories as Cloud.

use std::path::PathBuf;

use bitbucket_sandbox::model::Permission;
use bitbucket_sandbox::{NewCredential, NewMember, NewUser, Rule, Sandbox};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tracebucket::error::AppError;
use tracebucket::features::links::{self, Hook, Link, LinkId, Repo, RepoId};

use crate::support::world::{World, bitbucket_and_app, expect_violations, hidden};
use crate::support::{Backend, PATIENCE, Tenant, TestApp};

mod connecting;
mod door;
mod job;
mod tls;

const REPOS: &str = "/api/0/organizations/acme/repos/";
const FORM: &str = "/o/acme/connections/new/form/?kind=data_center";

/// Ada with a permission on the project ACME, and an HTTP access token of hers.
fn token(bitbucket: &Sandbox, nickname: &str, own: &str, of_token: Permission) -> String {
    let person = NewUser {
        display_name: "Ada Lind".into(),
        nickname: nickname.into(),
        email: Some(format!("{nickname}@acme.example")),
    };
    bitbucket.create_user(&person).unwrap();
    let member =
        json!({ "workspace": "acme", "user": nickname, "role": "member", "permission": own });
    bitbucket
        .add_member(&serde_json::from_value::<NewMember>(member).unwrap())
        .unwrap();
    token_of(bitbucket, nickname, of_token)
}

fn token_of(bitbucket: &Sandbox, nickname: &str, permission: Permission) -> String {
    let made = bitbucket.create_credential(&NewCredential::DataCenterToken {
        user: nickname.into(),
        permission,
        expires_in: None,
    });
    made.unwrap().secret.expose().to_owned()
}

struct Page {
    status: u16,
    location: String,
    text: String,
}

async fn page(request: RequestBuilder) -> Page {
    let response = request.send().await.unwrap();
    let location = response.headers().get("location");
    Page {
        status: response.status().as_u16(),
        location: location
            .map(|to| to.to_str().unwrap().to_owned())
            .unwrap_or_default(),
        text: response.text().await.unwrap(),
    }
}

async fn open(t: &TestApp, cookie: &str, path: &str) -> Page {
    let request = t.http.get(t.url(path)).header("cookie", cookie);
    page(request.header("accept", "text/html")).await
}

/// Fills the form at an address as the person of `cookie`.
async fn fill(t: &TestApp, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Page {
    let shown = open(t, cookie, path).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let csrf = hidden(&shown.text, "csrf");
    let form: Vec<(&str, &str)> = fields
        .iter()
        .copied()
        .chain([("csrf", csrf.as_str())])
        .collect();
    let request = t.http.post(t.url(path)).header("cookie", cookie);
    page(
        request
            .header("origin", &t.base)
            .header("accept", "text/html")
            .form(&form),
    )
    .await
}

/// Id of the connection that a form led to.
fn id_of(location: &str) -> String {
    location
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned()
}

/// Connected by the form and the repository added, with its hook.
async fn world(backend: Backend) -> World {
    let (bitbucket, t, folder) = bitbucket_and_app(backend).await;
    let tenant = t.tenant("acme").await;
    let secret = token(&bitbucket, "ada", "admin", Permission::Admin);
    let integration = connect(&t, &tenant, bitbucket.url(), &secret).await;
    let mut world = World {
        t,
        bitbucket,
        tenant,
        client_key: String::new(),
        integration,
        repo: String::new(),
        folder,
    };
    let repo = world.add_shop_of("ACME/shop", 201).await;
    world.repo = repo["id"].as_str().unwrap().to_owned();
    world.t.run_jobs().await;
    world
}

async fn connect(t: &TestApp, tenant: &Tenant, base: &str, secret: &str) -> String {
    let cookie = t.session(&tenant.owner).await;
    let fields = [
        ("workspace", base),
        ("secret", secret),
        ("label", "Our server"),
    ];
    let kept = fill(t, &cookie, FORM, &fields).await;
    assert_eq!(kept.status, 303, "{}", kept.text);
    t.run_jobs().await;
    id_of(&kept.location)
}

impl World {
    async fn add_shop_of(&self, name: &str, expected: u16) -> Value {
        let body = json!({
            "provider": "integrations:bitbucket_server", "installation": self.integration,
            "identifier": name,
        });
        let token = &self.tenant.token;
        self.t.send("POST", REPOS, token, body, expected).await
    }

    async fn link(&self) -> Link {
        let (org, id) = (
            self.tenant.org.id,
            LinkId(self.integration.parse().unwrap()),
        );
        let read = self
            .t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(links::find_link(conn, org, id)?));
        read.await.unwrap().unwrap()
    }

    async fn row(&self) -> (Repo, Hook) {
        let (org, id) = (self.tenant.org.id, RepoId(self.repo.parse().unwrap()));
        let read = self.t.app.db.read(move |conn| {
            let repo = links::find_repo(conn, org, id)?.unwrap();
            Ok::<_, AppError>((repo, links::find_hook(conn, org, id)?.unwrap()))
        });
        read.await.unwrap()
    }

    /// Webhooks of Data Center, secrets included.
    fn server_hooks(&self) -> Vec<Value> {
        let file = self.folder.path().join("bitbucket").join("state.json");
        let state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        state["dc_hooks"].as_array().unwrap().clone()
    }

    fn clone_shop(&self) -> PathBuf {
        self.clone_repo("dora")
    }

    async fn delivered(&self) {
        assert!(self.bitbucket.settle(PATIENCE).await);
        self.t.run_jobs().await;
    }
}

/// Writes one test for each database that begins with [`world`].
macro_rules! on_a_server {
    ($(async fn $name:ident($world:ident) $body:block)+) => {
        $(mod $name {
            #[allow(unused_imports, reason = "not every body needs the names around it")]
            use super::*;
            async fn story($world: World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                story(world(Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                story(world(Backend::Postgres).await).await;
            }
        })+
    };
}
use on_a_server;
