//! The whole story in a real browser, with Bitbucket's stand-in, a real SDK and real git, while the workers run.

use std::time::Duration;

use serde_json::json;
use tracebucket::features::accounts;

use crate::support::world::bitbucket_and_app;
use crate::support::{Backend, PATIENCE, client};

/// How a person meets the console.
#[derive(Clone, Copy)]
struct Browser {
    script: bool,
    /// Judge every page with axe-core, and photograph it when `TRACEBUCKET_TEST_SHOTS` is set.
    look: bool,
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
            look: false,
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn with_script_off_on_sqlite() {
    story(
        Backend::Sqlite,
        Browser {
            script: false,
            look: false,
        },
    )
    .await;
}
