//! Integrations and repositories on `/api/0` and in the console, against a Bitbucket that judges (sentry.md §8).
//!
//! Where we differ from the tables of sentry.md §8.3 and §8.4 on purpose:
//! - trouble at Bitbucket that may pass (429, 5xx, no answer, a broken one) is 503 with `Retry-After`, whatever the
//!   text says; only a refusal is 400;
//! - the hook is registered by a job after the answer, so adding a repository never waits for it twice;
//! - a removed repository keeps its row, name, commits and tickets for good; adding it again takes the row up;
//! - hiding a repository removes its hook and nothing else;
//! - a repository can only be put under an integration whose workspace really has it.

use std::time::Duration;

use bitbucket_sandbox::{Action, Fault, NewRepository, NewToken, Rule, Sandbox};
use serde_json::{Value, json};
use tracebucket::error::AppError;
use tracebucket::features::accounts::{OrgId, Role};
use tracebucket::features::links::{self, HookState, Repo, RepoId, RepoStatus};
use tracebucket::kit::crypto::{Sealer, hmac_sha256};

use crate::support::world::{
    World, bitbucket_and_app, expect_violations, hidden, install, link_by_hand,
};
use crate::support::{Backend, TestApp};

const REPOS: &str = "/api/0/organizations/acme/repos/";
const INTEGRATIONS: &str = "/api/0/organizations/acme/integrations/";

/// Writes one test for each database that begins with a linked workspace and one repository.
macro_rules! in_a_world {
    ($(async fn $name:ident($world:ident) $body:block)+) => {
        $(mod $name {
            #[allow(unused_imports, reason = "not every body needs the names around it")]
            use super::*;
            async fn story($world: World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                story(World::new(Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                story(World::new(Backend::Postgres).await).await;
            }
        })+
    };
}

mod api;
mod bulk;
mod checks;
mod connecting;
mod console;
mod hooks;
mod planted;
mod tokens;

impl World {
    /// What Bitbucket has on disk, secrets included.
    fn state(&self) -> Value {
        let file = self.folder.path().join("bitbucket").join("state.json");
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }

    /// Hooks at Bitbucket, oldest first.
    fn hooks(&self) -> Vec<Value> {
        self.state()["hooks"].as_array().unwrap().clone()
    }

    async fn repo(&self, id: &str) -> Repo {
        let (org, id) = (self.tenant.org.id, RepoId(id.parse().unwrap()));
        let found = self
            .t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(links::find_repo(conn, org, id)?))
            .await;
        found.unwrap().expect("the repository is there")
    }

    async fn hook(&self, id: &str) -> Option<links::Hook> {
        let (org, id) = (self.tenant.org.id, RepoId(id.parse().unwrap()));
        self.t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(links::find_hook(conn, org, id)?))
            .await
            .unwrap()
    }

    /// Secrets that the webhook door would accept, as text.
    async fn secrets(&self, id: &str) -> Vec<String> {
        let uuid = self.repo(id).await.external_id.unwrap();
        let found = links::repo_secrets(&self.t.app, self.tenant.org.id, &uuid, true)
            .await
            .unwrap();
        found
            .map(|found| {
                found
                    .secrets
                    .iter()
                    .map(|secret| secret.expose().to_owned())
                    .collect()
            })
            .unwrap_or_default()
    }

    async fn known_from_release(&self, name: &str, url: Option<&str>) -> String {
        known_from_release(&self.t, self.tenant.org.id, name, url).await
    }

    async fn add(&self, name: &str, expected: u16) -> Value {
        let body = json!({ "provider": "integrations:bitbucket", "installation": self.integration, "identifier": name });
        self.t
            .send("POST", REPOS, &self.tenant.token, body, expected)
            .await
    }

    async fn get(&self, path: &str) -> Value {
        self.t.get(path, &self.tenant.token, 200).await
    }
}

async fn known_from_release(t: &TestApp, org: OrgId, name: &str, url: Option<&str>) -> String {
    let (name, url, now) = (name.to_owned(), url.map(str::to_owned), t.app.clock.now());
    let repo = t
        .app
        .db
        .write(move |tx| links::repo_for_release(tx, org, &name, url.as_deref(), now))
        .await
        .unwrap();
    repo.id.to_string()
}

/// Status, headers and body of a call.
async fn raw(request: reqwest::RequestBuilder) -> (u16, reqwest::header::HeaderMap, Value) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    (
        status,
        headers,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

fn status(status: u16) -> Action {
    Action::Status {
        status,
        retry_after: None,
        body: None,
    }
}

/// A call to Bitbucket by somebody else with a token of the workspace.
async fn by_hand(bitbucket: &Sandbox, method: &str, path: &str, body: Option<Value>) -> Value {
    let new = NewToken {
        workspace: "acme".into(),
        scopes: ["webhook", "repository", "pullrequest", "issue"]
            .map(str::to_owned)
            .into(),
        expires_in: None,
    };
    let token = bitbucket.create_token(&new).unwrap();
    let mut request = reqwest::Client::new()
        .request(
            method.parse().unwrap(),
            format!("{}{path}", bitbucket.url()),
        )
        .bearer_auth(token.expose());
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    assert!(
        response.status().is_success(),
        "{method} {path}: {}",
        response.status()
    );
    serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null)
}

async fn delete_hooks_by_hand(bitbucket: &Sandbox, repo: &str) {
    let list = by_hand(
        bitbucket,
        "GET",
        &format!("/2.0/repositories/{repo}/hooks"),
        None,
    )
    .await;
    for hook in list["values"].as_array().unwrap() {
        let uuid = hook["uuid"]
            .as_str()
            .unwrap()
            .replace('{', "%7B")
            .replace('}', "%7D");
        by_hand(
            bitbucket,
            "DELETE",
            &format!("/2.0/repositories/{repo}/hooks/{uuid}"),
            None,
        )
        .await;
    }
}
