//! Nothing that Bitbucket or we gave out as a secret is in the database or in a log, in clear, base64 or hex.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tracebucket::features::links::{self, LinkId};

use crate::support::program::Program;
use crate::support::world::{Way, World};
use crate::support::{Backend, answer};
use crate::tenants::dump::Dump;

/// How a secret may be written. Without the last characters of base64, which depend on what follows.
fn forms(secret: &str) -> BTreeSet<String> {
    let bytes = secret.as_bytes();
    let whole = bytes.get(..bytes.len() / 3 * 3).unwrap();
    let encoded = [
        secret.to_owned(),
        STANDARD_NO_PAD.encode(whole),
        URL_SAFE_NO_PAD.encode(whole),
    ];
    // A dump shows binary columns in hex, whatever is in them.
    let mut forms: BTreeSet<String> = encoded.iter().map(hex::encode).collect();
    forms.extend(encoded.iter().map(hex::encode_upper));
    forms.extend(encoded);
    forms
}

fn holds(text: &str, secret: &str) -> bool {
    forms(secret).iter().any(|form| text.contains(form))
}

#[test]
fn each_form_is_found() {
    let secret = "planted-secret-1";
    for form in forms(secret) {
        assert!(holds(&format!("x{form}y"), secret), "{form}");
    }
    let inside = STANDARD_NO_PAD.encode(format!("{secret}:and more"));
    assert!(holds(&inside, secret) && !holds("planted-secret", secret));
}

async fn nothing_is_planted(backend: Backend, way: Option<Way>) {
    let world = match way {
        Some(way) => World::over(backend, way).await,
        None => World::new(backend).await,
    };
    let (org, id) = (
        world.tenant.org.id,
        LinkId(world.integration.parse().unwrap()),
    );
    world
        .crash("PlantedError", "division by zero", "total")
        .await;
    let group = world.newest_group().await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let repo = world.repo.parse().unwrap();
    let report = links::test_connection(&world.t.app, org, id, None, Some(repo))
        .await
        .unwrap();
    assert!(report.ok, "{report:#?}");
    let cookie = world.t.session(&world.tenant.owner).await;
    let mut secrets: Vec<String> = world
        .bitbucket
        .every_secret()
        .iter()
        .map(|secret| secret.expose().to_owned())
        .collect();
    secrets.push(world.tenant.token.clone());
    secrets.push(cookie.split_once('=').unwrap().1.to_owned());
    let keys = world.t.app.config.secret_keys.as_ref().unwrap().expose();
    secrets.push(keys.split_once(':').unwrap().1.to_owned());
    assert!(
        secrets.len() >= 5 && secrets.iter().all(|s| s.len() >= 16),
        "what is looked for: {}",
        secrets.len()
    );

    let rows = Dump::new(&world.t).await.rows(&world.t).await;
    let rows: Vec<_> = rows.into_iter().collect();
    let mut stored = rows.join("\n");
    if backend == Backend::Sqlite {
        // Also what was deleted or overwritten there.
        let path = world.t.app.config.database_url.expose().to_owned();
        let path = path.trim_start_matches("sqlite://");
        for file in [path.to_owned(), format!("{path}-wal")] {
            stored.push_str(&String::from_utf8_lossy(&std::fs::read(file).unwrap()));
        }
    }
    assert!(holds(&stored, "acme/shop"), "what is there is found");
    for secret in &secrets {
        assert!(!holds(&stored, secret), "{way:?}: a secret is stored");
    }

    // The same connection in a program that logs all it can, before and after its credential is taken back.
    let World {
        t,
        bitbucket,
        tenant,
        folder: _folder,
        ..
    } = world;
    let mut program = Program::instead_of(t).await;
    program.set("LOG", "trace");
    let running = program.start().await;
    let http = reqwest::Client::new();
    let search = format!(
        "{}/api/0/organizations/acme/integrations/{id}/repos/",
        program.base
    );
    let ask = || http.get(&search).bearer_auth(&tenant.token);
    let found = answer(ask(), 200).await;
    assert!(found["repos"].as_array().is_some_and(|r| !r.is_empty()));
    let ticket = format!(
        "{}/api/0/organizations/acme/issues/{group}/integrations/{id}/",
        program.base
    );
    let form = serde_json::json!({ "repo": "acme/shop", "title": "Planted", "description": "x" });
    let _ = http
        .post(ticket)
        .bearer_auth(&tenant.token)
        .json(&form)
        .send()
        .await
        .unwrap();
    let page = format!("{}/o/acme/connections/{id}/", program.base);
    let shown = http.get(page).header("cookie", &cookie).send().await;
    let html = shown.unwrap().text().await.unwrap();
    bitbucket.add_fault(bitbucket_sandbox::Fault::always(
        "GET",
        "/2.0/",
        super::status(401),
    ));
    assert_ne!(ask().send().await.unwrap().status(), 200);
    running.kill();
    let violations = bitbucket.take_violations();
    assert!(violations.is_empty(), "{violations:#?}");
    let log = program.log();
    assert!(
        log.contains("bitbucket call failed") && log.lines().count() > 50,
        "{log}"
    );
    for secret in &secrets {
        assert!(!holds(&log, secret), "{way:?}: a secret is logged\n{log}");
        assert!(!holds(&html, secret), "{way:?}: a secret is shown");
    }
}

macro_rules! ways {
    ($($name:ident: $way:expr,)+) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                nothing_is_planted(Backend::Sqlite, $way).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                nothing_is_planted(Backend::Postgres, $way).await;
            }
        })+
    };
}

ways! {
    connect: None,
    oauth: Some(Way::Oauth),
    api_token: Some(Way::ApiToken),
    workspace_token: Some(Way::WorkspaceToken),
}
