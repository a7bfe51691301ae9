//! The whole story in a real browser, with Bitbucket's stand-in, a real SDK and real git, while the workers run; and the
//! main job alone over the other credentials.

use std::time::Duration;

use bitbucket_sandbox::{NewCredential, Sandbox};
use serde_json::{Value, json};
use tracebucket::features::accounts;
use tracebucket::features::links::{CredentialKind, features};

use crate::support::world::{bitbucket_and_app, consumer_at};
use crate::support::{Backend, PATIENCE, TestApp, client};

/// How a person meets the console.
#[derive(Clone, Copy, Default)]
struct Browser {
    script: bool,
    /// Judge every page with axe-core, and photograph it when `TRACEBUCKET_TEST_SHOTS` is set.
    look: bool,
    /// What the workspace is connected by; the app when nothing is said.
    connection: Option<fn(&Sandbox, &TestApp) -> Value>,
}

/// A consumer, and what a person agrees to at Bitbucket.
fn by_consent(bitbucket: &Sandbox, t: &TestApp) -> Value {
    let callback = t.url("/extensions/bitbucket/oauth/callback/");
    let consumer = consumer_at(bitbucket, true, None, &callback);
    json!({
        "kind": "oauth_code", "tickets": true, "clicks": ["main a.button-primary", "button[value=grant]"],
        "fields": { "workspace": "acme", "user": consumer.key, "secret": consumer.secret.expose() },
    })
}

/// An access token cannot have the scope of issues (bitbucket.md §6): everything but tickets.
fn by_access_token(bitbucket: &Sandbox, _: &TestApp) -> Value {
    let scopes = features::wanted_scopes(CredentialKind::RepositoryToken);
    let made = bitbucket.create_credential(&NewCredential::RepositoryAccessToken {
        repo: "acme/shop".into(),
        name: "Tracebucket".into(),
        scopes: scopes.into_iter().map(str::to_owned).collect(),
        expires_in: None,
    });
    let secret = made.unwrap().secret;
    json!({
        "kind": "repository_token", "tickets": false, "clicks": [],
        "fields": { "workspace": "acme", "secret": secret.expose() },
    })
}

async fn story(backend: Backend, browser: Browser) {
    let (bitbucket, t, folder) = bitbucket_and_app(backend).await;
    let _workers = t.start_workers();
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/sandbox/demo");
    let config = json!({
        "base": t.base, "bitbucket": bitbucket.url(), "clone_url": bitbucket.clone_url("acme/shop"),
        "code": accounts::first_owner_code(&t.app).await.unwrap().expect("no user yet"),
        "python": client::setting("TRACEBUCKET_TEST_PYTHON"), "crash": client::script("python/crash.py"),
        "demo": demo, "folder": scratch, "script": browser.script, "look": browser.look,
        "connection": browser.connection.map(|by| by(&bitbucket, &t)),
    })
    .to_string();
    let said = client::run(
        client::node("browser/story.mjs", &[config]),
        "",
        Duration::from_secs(600),
    )
    .await;
    assert_eq!(said.last().expect("a last word")["done"], true, "{said:?}");

    assert!(bitbucket.settle(PATIENCE).await, "webhooks were delivered");
    let violations = bitbucket.take_violations();
    assert!(violations.is_empty(), "{violations:#?}");
    let dead = t.dead_jobs().await;
    assert!(dead.is_empty(), "{dead:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn with_pictures_on_sqlite() {
    story(
        Backend::Sqlite,
        Browser {
            script: true,
            look: true,
            ..Browser::default()
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn on_postgres() {
    story(
        Backend::Postgres,
        Browser {
            script: true,
            ..Browser::default()
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn with_script_off_on_sqlite() {
    story(Backend::Sqlite, Browser::default()).await;
}

async fn main_job(by: fn(&Sandbox, &TestApp) -> Value) {
    let browser = Browser {
        script: true,
        look: true,
        connection: Some(by),
    };
    story(Backend::Sqlite, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn over_oauth_on_sqlite() {
    main_job(by_consent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn over_an_access_token_on_sqlite() {
    main_job(by_access_token).await;
}
