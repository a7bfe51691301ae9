//! Installing the app through the real handshake (sentry.md §1.6 and §15.4, bitbucket.md §1.4–1.7).
//!
//! Where we differ from the table of sentry.md §1.6 on purpose:
//! - a `kid` is refused like any other algorithm than HS256: Bitbucket has no asymmetric install keys;
//! - a redirect or 5xx in the proof call is 503 with `Retry-After` and not an uncaught error;
//! - a proof call answered by something that is no list is 503 too;
//! - hook secrets belong to repositories and survive a re-install;
//! - an uninstall forgets the shared secret, so the next install of that tenant is proven like a new one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bitbucket_sandbox::protocol::qsh;
use bitbucket_sandbox::{
    Action, Fault, InstallRequest, Installed, NewRepository, Sandbox, SandboxConfig,
};
use serde_json::{Value, json};
use tracebucket::error::AppError;
use tracebucket::features::accounts::Role;
use tracebucket::features::installs::{self, InstallStatus, Installation};
use tracebucket::features::links;
use tracebucket::kit::clock::Clock;
use tracebucket::kit::crypto::hmac_sha256;
use tracebucket::kit::jobs::JobState;

use crate::support::world::{World, bitbucket_and_app, hidden, install, link_by_hand};
use crate::support::{Backend, Options, TestApp};

const INSTALLED: &str = "/extensions/bitbucket/installed/";
const UNINSTALLED: &str = "/extensions/bitbucket/uninstalled/";
const SETUP: &str = "/extensions/bitbucket/setup/";
const CONFIRM: &str = "/extensions/bitbucket/setup/confirm/";

/// Writes one test for each database, with a Bitbucket beside the application.
macro_rules! with_bitbucket {
    ($(async fn $name:ident($bitbucket:ident, $t:ident) $body:block)+) => {
        $(mod $name {
            #[allow(unused_imports, reason = "not every body needs the names around it")]
            use super::*;
            async fn story($bitbucket: Sandbox, $t: TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let (bitbucket, t, _folder) = bitbucket_and_app(Backend::Sqlite).await;
                story(bitbucket, t).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let (bitbucket, t, _folder) = bitbucket_and_app(Backend::Postgres).await;
                story(bitbucket, t).await;
            }
        })+
    };
}

mod setup;

async fn try_install(
    t: &TestApp,
    bitbucket: &Sandbox,
    workspace: &str,
    client_key: Option<&str>,
) -> Installed {
    bitbucket
        .install(InstallRequest {
            workspace: workspace.into(),
            descriptor_uri: Some(t.url("/extensions/bitbucket/descriptor/")),
            client_key: client_key.map(str::to_owned),
            ..InstallRequest::default()
        })
        .await
        .unwrap()
}

async fn stored(t: &TestApp, client_key: &str) -> Option<Installation> {
    let key = client_key.to_owned();
    t.app
        .db
        .read(move |conn| Ok::<_, AppError>(installs::find_by_client_key(conn, &key)?))
        .await
        .unwrap()
}

async fn opens(t: &TestApp, id: installs::InstallationId) -> bool {
    let sealed = t
        .app
        .db
        .read(move |conn| Ok::<_, AppError>(installs::find_sealed(conn, id)?))
        .await
        .unwrap()
        .unwrap();
    sealed.credential(&t.app.sealer).unwrap().is_some()
}

#[derive(diesel::QueryableByName)]
struct Sealed {
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Binary>)]
    sealed_secret: Option<Vec<u8>>,
}

/// The column as it rests.
async fn sealed_secret(t: &TestApp) -> Option<Vec<u8>> {
    t.app
        .db
        .read(|conn| {
            use diesel::RunQueryDsl;
            let row: Sealed =
                diesel::sql_query("SELECT sealed_secret FROM installations").get_result(conn)?;
            Ok::<_, AppError>(row.sealed_secret)
        })
        .await
        .unwrap()
}

/// Status, body and a header of an answer.
struct Answer {
    status: u16,
    body: String,
    retry_after: Option<String>,
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        retry_after: response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned()),
        body: response.text().await.unwrap(),
    }
}

async fn post(
    t: &TestApp,
    path: &str,
    body: impl Into<reqwest::Body>,
    token: Option<&str>,
) -> Answer {
    let mut request = t.http.post(t.url(path)).body(body);
    if let Some(token) = token {
        request = request.header("authorization", format!("JWT {token}"));
    }
    send(request).await
}

/// A token with exactly these claims and this header, signed with HMAC-SHA256.
pub fn forge(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let tag = hmac_sha256(secret.as_bytes(), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn now() -> i64 {
    Clock::system().now().secs()
}

pub fn hs256() -> Value {
    json!({ "typ": "JWT", "alg": "HS256" })
}

fn claims(client_key: &str, method: &str, path: &str) -> Value {
    json!({ "iss": client_key, "iat": now(), "exp": now() + 180, "qsh": qsh::hash(method, path, "") })
}

fn good_token(bitbucket: &Sandbox, client_key: &str, method: &str, path: &str) -> String {
    let secret = bitbucket.shared_secret(client_key).unwrap();
    forge(&hs256(), &claims(client_key, method, path), secret.expose())
}

pub fn install_body(client_key: &str, secret: &str, uuid: &str) -> Value {
    json!({
        "key": "sentry-bitbucket", "eventType": "installed", "productType": "bitbucket",
        "baseUrl": "http://127.0.0.1:1", "baseApiUrl": "http://127.0.0.1:1", "publicKey": "123abcDEFg",
        "clientKey": client_key, "sharedSecret": secret,
        "principal": { "type": "team", "username": "sentryuser", "uuid": uuid },
        "user": { "type": "user", "display_name": "Sentry User" },
    })
}

const SOME_UUID: &str = "{e123f456-c789-4a10-b123-456789abcdef}";

with_bitbucket! {
    async fn the_real_handshake(bitbucket, t) {
        let (client_key, redirect) = install(&t, &bitbucket, "acme").await;
        let row = stored(&t, &client_key).await.unwrap();
        assert_eq!((row.status, row.principal_name.as_str(), row.principal_type.as_str()), (InstallStatus::Live, "acme", "team"));
        assert_eq!(row.domain_name, "bitbucket.org/acme");
        assert!(opens(&t, row.id).await);
        // Exactly one proof call, before anything else.
        let calls = bitbucket.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert!(calls[0].path.starts_with("/2.0/workspaces/%7B") && calls[0].path.ends_with("/hooks"));
        // The secret does not rest in the clear.
        let secret = bitbucket.shared_secret(&client_key).unwrap().expose().to_owned();
        let sealed = sealed_secret(&t).await.unwrap();
        assert!(!sealed.windows(secret.len()).any(|part| part == secret.as_bytes()));
        // The browser is welcome, and the address of the page is a claim and no session.
        let page = t.http.get(&redirect).header("accept", "text/html").send().await.unwrap();
        assert_eq!(page.status(), 200);
        assert!(page.headers().get("set-cookie").is_none());
        let html = page.text().await.unwrap();
        assert!(html.contains("Sign in to continue") && html.contains("acme"), "{html}");
        assert!(bitbucket.take_violations().is_empty());
        assert_eq!(t.app.db.read(|conn| Ok::<_, AppError>(tracebucket::kit::jobs::counts(conn)?)).await.unwrap().ready, 0);
    }

    async fn bodies_that_cannot_be_used(bitbucket, t) {
        let key = "connection:9";
        let mut rows: Vec<(&str, Vec<u8>, bool)> = vec![
            ("empty", Vec::new(), true),
            ("blank", b" \n".to_vec(), true),
            ("not JSON", b"{".to_vec(), true),
            ("not UTF-8", b"\xff\xfe{}".to_vec(), true),
            ("an array", b"[]".to_vec(), true),
            ("no clientKey", b"{}".to_vec(), true),
            ("empty clientKey", br#"{"clientKey":""}"#.to_vec(), true),
            ("number as clientKey", br#"{"clientKey":7}"#.to_vec(), true),
        ];
        for uuid in ["../hook_events?ignored=", "e123f456-c789-4a10-b123-456789abcdef", "{E123F456-C789-4A10-B123-456789ABCDEF}", ""] {
            rows.push(("uuid", install_body(key, "s", uuid).to_string().into_bytes(), false));
        }
        rows.push(("no secret", install_body(key, "", SOME_UUID).to_string().into_bytes(), false));
        for (what, body, is_empty) in rows {
            let answer = post(&t, INSTALLED, body, None).await;
            assert_eq!(answer.status, 400, "{what}: {}", answer.body);
            assert_eq!(answer.body.is_empty(), is_empty, "{what}: {}", answer.body);
        }
        let answer = post(&t, INSTALLED, vec![b' '; 70_000], None).await;
        assert_eq!(answer.status, 413);
        assert_eq!(send(t.http.get(t.url(INSTALLED))).await.status, 405);
        assert!(bitbucket.calls().is_empty(), "nobody was called");
        assert!(stored(&t, key).await.is_none());
    }

    async fn a_secret_that_bitbucket_refuses_is_not_stored(bitbucket, t) {
        let uuid = bitbucket.create_workspace("gamma").unwrap().uuid;
        // Nobody has installed anything: Bitbucket knows no such tenant.
        let body = install_body("connection:99", "made up", &uuid).to_string();
        let answer = post(&t, INSTALLED, body, None).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(stored(&t, "connection:99").await.is_none());
        let rules: Vec<_> = bitbucket.take_violations();
        assert_eq!(rules.len(), 1, "the proof call was judged: {rules:?}");
        // The body did not steer where we called: its base URLs lead to a closed port.
        assert_eq!(bitbucket.calls().len(), 1);
    }

    async fn what_the_proof_call_meets_decides(bitbucket, t) {
        let status = |status, retry_after| Action::Status { status, retry_after, body: None };
        let rows = [
            (status(400, None), 401, None),
            (status(401, None), 401, None),
            (status(403, None), 401, None),
            (status(404, None), 401, None),
            (status(410, None), 401, None),
            (status(418, None), 401, None),
            (status(429, Some(7)), 503, Some("7")),
            (status(429, None), 503, Some("30")),
            (status(500, None), 503, Some("30")),
            (status(503, Some(11)), 503, Some("11")),
            (status(555, None), 503, Some("30")),
            (Action::Redirect { url: "https://elsewhere.example/".into(), status: None }, 503, Some("30")),
            (Action::Garbage, 503, Some("30")),
            (Action::Half, 503, Some("30")),
            (Action::DropBefore, 503, Some("30")),
            (Action::Slow { ms: 8_500 }, 503, Some("30")),
        ];
        // A first install leaves nothing behind.
        for (action, expected) in [(status(403, None), 401), (status(500, None), 503), (Action::DropBefore, 503)] {
            bitbucket.add_fault(Fault::once("GET", "/hooks", action));
            let installed = try_install(&t, &bitbucket, "acme", None).await;
            assert_eq!(installed.status, expected, "{}", installed.body);
            assert!(stored(&t, &installed.client_key).await.is_none());
        }
        // And without a fault it is taken.
        let (client_key, _) = install(&t, &bitbucket, "acme").await;
        // The same proof for a tenant whose reset was allowed, so that this test can see the whole answer.
        let (key, at) = (client_key.clone(), t.app.clock.now());
        let before = t.app.db.write(move |tx| installs::allow_reset(tx, &key, at)).await.unwrap();
        let secret = bitbucket.shared_secret(&client_key).unwrap().expose().to_owned();
        let body = install_body(&client_key, &secret, &before.principal_uuid).to_string();
        for (action, expected, retry_after) in rows {
            let what = format!("{action:?}");
            bitbucket.add_fault(Fault::once("GET", "/hooks", action));
            let answer = post(&t, INSTALLED, body.clone(), None).await;
            assert_eq!((answer.status, answer.retry_after.as_deref()), (expected, retry_after), "{what}: {}", answer.body);
            assert_eq!(stored(&t, &client_key).await.unwrap(), before, "{what}");
        }
        assert_eq!(post(&t, INSTALLED, body, None).await.status, 200);
        assert!(bitbucket.take_violations().is_empty());
    }

    async fn a_tenant_that_lives_here_must_sign(bitbucket, t) {
        bitbucket.create_workspace("beta").unwrap();
        let (client_key, _) = install(&t, &bitbucket, "acme").await;
        let (other_key, _) = install(&t, &bitbucket, "beta").await;
        let before = stored(&t, &client_key).await.unwrap();
        let body = install_body(&client_key, "stolen", &before.principal_uuid).to_string();
        let secret = bitbucket.shared_secret(&client_key).unwrap().expose().to_owned();
        let other = bitbucket.shared_secret(&other_key).unwrap().expose().to_owned();
        bitbucket.clear_calls();
        let own = claims(&client_key, "POST", INSTALLED);
        let expired = { let mut c = own.clone(); c["exp"] = json!(now() - 61); c };
        let rows = [
            ("unsigned", None, 401),
            ("no token", Some("nonsense".to_owned()), 401),
            ("wrong secret", Some(forge(&hs256(), &own, "guess")), 401),
            ("another tenant's secret", Some(forge(&hs256(), &own, &other)), 401),
            ("unknown tenant", Some(forge(&hs256(), &claims("connection:0", "POST", INSTALLED), &secret)), 401),
            ("expired", Some(forge(&hs256(), &expired, &secret)), 401),
            ("another path", Some(forge(&hs256(), &claims(&client_key, "POST", UNINSTALLED), &secret)), 401),
            ("another method", Some(forge(&hs256(), &claims(&client_key, "GET", INSTALLED), &secret)), 401),
            ("another tenant's token", Some(good_token(&bitbucket, &other_key, "POST", INSTALLED)), 403),
        ];
        for (what, token, expected) in rows {
            let answer = post(&t, INSTALLED, body.clone(), token.as_deref()).await;
            assert_eq!(answer.status, expected, "{what}: {}", answer.body);
        }
        let after = stored(&t, &client_key).await.unwrap();
        assert_eq!(after, before, "nothing changed");
        assert!(bitbucket.calls().is_empty(), "no proof call either");
        let token = good_token(&bitbucket, &client_key, "GET", SETUP);
        assert_eq!(send(t.http.get(t.url(SETUP)).query(&[("jwt", token)])).await.status, 200, "the old secret still works");

        // Signed, it is taken: the new secret counts at once and the old one no more, without a proof call.
        let again = try_install(&t, &bitbucket, "acme", None).await;
        assert_eq!(again.status, 200, "{}", again.body);
        assert_eq!(again.client_key, client_key);
        assert!(bitbucket.calls().is_empty());
        let renewed = stored(&t, &client_key).await.unwrap();
        assert_eq!(renewed.generation, before.generation + 1);
        assert_eq!((renewed.principal_uuid, renewed.principal_name), (before.principal_uuid.clone(), before.principal_name.clone()));
        let old = forge(&hs256(), &claims(&client_key, "GET", SETUP), &secret);
        assert_eq!(send(t.http.get(t.url(SETUP)).query(&[("jwt", old)])).await.status, 401);
        let new = good_token(&bitbucket, &client_key, "GET", SETUP);
        assert_eq!(send(t.http.get(t.url(SETUP)).query(&[("jwt", new)])).await.status, 200);

        // A signed install without a principal leaves what is known; one without a secret is refused.
        let mut bare = install_body(&client_key, "the next one", "");
        bare.as_object_mut().unwrap().remove("principal");
        let token = good_token(&bitbucket, &client_key, "POST", INSTALLED);
        let answer = post(&t, INSTALLED, bare.to_string(), Some(&token)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.is_empty());
        let row = stored(&t, &client_key).await.unwrap();
        let row_uuid = row.principal_uuid.clone();
        assert_eq!((row.principal_uuid, row.principal_name), (before.principal_uuid, before.principal_name));
        // Nor does one without the id of the workspace put a display name into addresses.
        let mut nameless = install_body(&client_key, "the next one", &row_uuid);
        nameless["principal"].as_object_mut().unwrap().remove("username");
        nameless["principal"]["display_name"] = json!("Sentry User");
        let token = forge(&hs256(), &claims(&client_key, "POST", INSTALLED), "the next one");
        assert_eq!(post(&t, INSTALLED, nameless.to_string(), Some(&token)).await.status, 200);
        let row = stored(&t, &client_key).await.unwrap();
        assert_eq!((row.principal_name.as_str(), row.domain_name.as_str()), ("acme", "bitbucket.org/acme"));
        // The token belongs into `Authorization`.
        let token = forge(&hs256(), &claims(&client_key, "GET", SETUP), "the next one");
        let elsewhere = send(t.http.get(t.url(SETUP)).header("X-Authorization", format!("JWT {token}"))).await;
        assert_eq!((elsewhere.status, elsewhere.body.contains("jwt_missing")), (401, true));
        assert_eq!(send(t.http.get(t.url(SETUP)).header("Authorization", format!("JWT {token}"))).await.status, 200);
        bare.as_object_mut().unwrap().remove("sharedSecret");
        let token = forge(&hs256(), &claims(&client_key, "POST", INSTALLED), "the next one");
        assert_eq!(post(&t, INSTALLED, bare.to_string(), Some(&token)).await.status, 400);
    }

    // The naming rules of sentry.md §1.6 and bitbucket.md §1.6, from the first body to `/api/0`.
    async fn a_first_install_without_a_username_goes_by_what_it_has(bitbucket, t) {
        let acme = t.tenant("acme").await;
        let (client_key, _) = install(&t, &bitbucket, "acme").await;
        let uuid = stored(&t, &client_key).await.unwrap().principal_uuid;
        let secret = bitbucket.shared_secret(&client_key).unwrap().expose().to_owned();
        let picture = "https://pictures.example/acme.svg";
        let by_uuid = format!("bitbucket.org/{uuid}");
        let rows = [
            ("user", Some("Sentry User"), None, "Sentry User", "Sentry User"),
            ("team", None, None, uuid.as_str(), by_uuid.as_str()),
            ("team", Some("Sentry Team"), Some(picture), "Sentry Team", "bitbucket.org/Sentry Team"),
        ];
        for (kind, display, icon, name, domain) in rows {
            t.app.db.write(|tx| {
                use diesel::RunQueryDsl;
                Ok::<_, AppError>(diesel::sql_query("DELETE FROM installations").execute(tx.conn())?)
            }).await.unwrap();
            bitbucket.clear_calls();
            let mut body = install_body(&client_key, &secret, &uuid);
            body["principal"] = json!({ "type": kind, "uuid": uuid, "display_name": display, "links": { "avatar": { "href": icon } } });
            let answer = post(&t, INSTALLED, body.to_string(), None).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{kind}, {display:?}");
            assert_eq!(bitbucket.calls().len(), 1, "the proof");
            let row = stored(&t, &client_key).await.unwrap();
            let found = (row.principal_type.as_str(), row.principal_name.as_str(), row.domain_name.as_str(), row.icon.as_deref());
            assert_eq!(found, (kind, name, domain, icon));
        }
        let setup = t.url(&format!("{SETUP}?jwt={}", good_token(&bitbucket, &client_key, "GET", SETUP)));
        let cookie = t.session(&acme.owner).await;
        link_by_hand(&t, &setup, &cookie, "acme").await;
        t.run_jobs().await;
        let linked = t.get("/api/0/organizations/acme/integrations/", &acme.token, 200).await[0].clone();
        for (key, value) in [("name", "Sentry Team"), ("domainName", "bitbucket.org/Sentry Team"), ("icon", picture), ("accountType", "team")] {
            assert_eq!(linked[key], value, "{linked}");
        }
        let id = linked["id"].as_str().unwrap();
        let page = send(t.http.get(t.url(&format!("/o/acme/connections/{id}/"))).header("cookie", &cookie).header("accept", "text/html")).await;
        assert!(page.status == 200 && page.body.contains("Sentry Team"), "{}", page.body);
        // What is called goes by the uuid, so a name with a space in it is no address.
        let body = json!({ "provider": "integrations:bitbucket", "installation": id, "identifier": "acme/shop" });
        t.send("POST", "/api/0/organizations/acme/repos/", &acme.token, body, 201).await;
        t.run_jobs().await;
        assert!(bitbucket.take_violations().is_empty() && t.dead_jobs().await.is_empty());
    }

    async fn a_lost_secret_needs_the_operator(bitbucket, t) {
        let (client_key, _) = install(&t, &bitbucket, "acme").await;
        // Bitbucket forgets the install, and we did not hear of it: its token was too old.
        bitbucket.set_clock(Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(bitbucket.uninstall(&client_key).await.unwrap().0, 400);
        bitbucket.set_clock(None);
        let refused = try_install(&t, &bitbucket, "acme", None).await;
        assert_eq!((refused.status, refused.client_key.as_str()), (401, client_key.as_str()));
        let (key, at) = (client_key.clone(), t.app.clock.now());
        t.app.db.write(move |tx| installs::allow_reset(tx, &key, at)).await.unwrap();
        // Allowed is not believed: it must still be proven.
        let uuid = stored(&t, &client_key).await.unwrap().principal_uuid;
        let guess = install_body(&client_key, "guess", &uuid).to_string();
        assert_eq!(post(&t, INSTALLED, guess, None).await.status, 401);
        assert_eq!(bitbucket.take_violations().len(), 1);
        assert_eq!(try_install(&t, &bitbucket, "acme", None).await.status, 200);
        let row = stored(&t, &client_key).await.unwrap();
        assert!(!row.reset_allowed, "for one install");
        let guess = install_body(&client_key, "guess", &uuid).to_string();
        assert_eq!(post(&t, INSTALLED, guess, None).await.status, 401);
        assert!(bitbucket.take_violations().is_empty(), "no proof call any more");
    }
}

async fn uninstall_and_return(backend: Backend) {
    let world = World::new(backend).await;
    let (t, bitbucket, key) = (&world.t, &world.bitbucket, world.client_key.as_str());
    let integrations = "/api/0/organizations/acme/integrations/";
    let secrets_of = |fresh| async move {
        let repo = t
            .app
            .db
            .read(|conn| {
                Ok::<_, AppError>(links::list_repos(
                    conn,
                    tracebucket::features::accounts::OrgId(1),
                    &links::RepoFilter::default(),
                    0,
                    10,
                )?)
            })
            .await
            .unwrap();
        let uuid = repo[0].external_id.clone().unwrap();
        links::repo_secrets(&t.app, repo[0].org_id, &uuid, fresh)
            .await
            .unwrap()
    };
    let before = secrets_of(false)
        .await
        .expect("the repository has a secret");
    let installation = stored(t, key).await.unwrap();

    // Unsigned, or signed by somebody else, it is nothing.
    bitbucket.create_workspace("beta").unwrap();
    let (other, _) = install(t, bitbucket, "beta").await;
    let body = json!({ "clientKey": key }).to_string();
    let wrong = forge(&hs256(), &claims(key, "POST", UNINSTALLED), "guess");
    let of_installed = good_token(bitbucket, key, "POST", INSTALLED);
    let others = good_token(bitbucket, &other, "POST", UNINSTALLED);
    for (what, token) in [
        ("unsigned", None),
        ("wrong", Some(wrong)),
        ("path", Some(of_installed)),
        ("other", Some(others)),
    ] {
        let answer = post(t, UNINSTALLED, body.clone(), token.as_deref()).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.body);
    }
    assert_eq!(
        t.get(integrations, &world.tenant.token, 200).await[0]["status"],
        "active"
    );

    // Work that waits for the link is called off; the other organization's is not.
    let (org, link) = (
        world.tenant.org.id,
        links::LinkId(world.integration.parse().unwrap()),
    );
    let at = t.app.clock.now();
    t.app
        .db
        .write(move |tx| {
            Ok::<_, AppError>(tracebucket::kit::jobs::enqueue(
                tx,
                &links::SyncRepos { org, link },
                at,
            )?)
        })
        .await
        .unwrap();
    bitbucket.clear_calls();
    let (status, _) = bitbucket.uninstall(key).await.unwrap();
    assert_eq!(status, 200);
    let waiting = jobs(t, JobState::Ready).await;
    assert!(waiting.is_empty(), "{waiting:?}");
    assert!(!opens(t, installation.id).await, "the secret is forgotten");
    let link = &t.get(integrations, &world.tenant.token, 200).await[0];
    assert_eq!(
        (
            link["status"].as_str(),
            link["organizationIntegrationStatus"].as_str()
        ),
        (Some("disabled"), Some("disabled"))
    );
    let all = t
        .get(
            "/api/0/organizations/acme/repos/?status=",
            &world.tenant.token,
            200,
        )
        .await;
    assert_eq!(all[0]["status"], "disabled", "history stays");
    assert!(
        secrets_of(false).await.is_none(),
        "at once, although it was cached"
    );
    let found = t
        .get(
            &format!("{integrations}{}/repos/", world.integration),
            &world.tenant.token,
            200,
        )
        .await;
    assert_eq!(found, json!({ "repos": [] }));
    // Its token is worth nothing now.
    let answer = post(
        t,
        UNINSTALLED,
        body.clone(),
        Some(&good_token(bitbucket, key, "POST", UNINSTALLED)),
    )
    .await;
    assert_eq!(answer.status, 400);
    t.run_jobs().await;
    assert!(
        bitbucket.calls().is_empty(),
        "nobody calls for it: {:?}",
        bitbucket.calls()
    );

    // The tenant id comes back for another workspace: that is somebody else.
    assert_eq!(
        try_install(t, bitbucket, "beta", Some(key)).await.status,
        200
    );
    assert_eq!(
        t.get(integrations, &world.tenant.token, 200).await[0]["status"],
        "disabled"
    );
    assert!(secrets_of(true).await.is_none());
    assert_eq!(bitbucket.uninstall(key).await.unwrap().0, 200);

    // It comes back for the same workspace: everything is taken up, with the same hook secret.
    assert_eq!(
        try_install(t, bitbucket, "acme", Some(key)).await.status,
        200
    );
    t.run_jobs().await;
    assert_eq!(
        t.get(integrations, &world.tenant.token, 200).await[0]["status"],
        "active"
    );
    let all = t
        .get("/api/0/organizations/acme/repos/", &world.tenant.token, 200)
        .await;
    assert_eq!(
        (all[0]["id"].as_str(), all[0]["status"].as_str()),
        (Some(world.repo.as_str()), Some("active"))
    );
    let after = secrets_of(true).await.expect("in use again");
    assert_eq!(
        after.secrets[0].expose(),
        before.secrets[0].expose(),
        "hook secrets survive"
    );
    assert_eq!(
        bitbucket
            .call_counts()
            .get("PUT /2.0/repositories/{workspace}/{repo}/hooks/{uid}")
            .copied()
            .unwrap_or(0),
        1,
        "{:?}",
        bitbucket.call_counts()
    );
    world.finish().await;
}

async fn jobs(t: &TestApp, state: JobState) -> Vec<String> {
    let filter = tracebucket::kit::jobs::Filter {
        state: Some(state),
        ..tracebucket::kit::jobs::Filter::default()
    };
    let rows = t
        .app
        .db
        .read(move |conn| Ok::<_, AppError>(tracebucket::kit::jobs::list(conn, &filter, 100)?))
        .await
        .unwrap();
    rows.into_iter()
        .map(|job| job.kind)
        .filter(|kind| kind.starts_with("links.") && kind != "links.check_hooks")
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstall_and_return_on_sqlite() {
    uninstall_and_return(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstall_and_return_on_postgres() {
    uninstall_and_return(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_that_cannot_be_proven_says_when_to_come_back() {
    let (bitbucket, t, _folder) = bitbucket_and_app(Backend::Sqlite).await;
    let url = bitbucket.url().to_owned();
    bitbucket.stop();
    let body = install_body("connection:1", "secret", SOME_UUID).to_string();
    let answer = post(&t, INSTALLED, body, None).await;
    assert_eq!(
        (answer.status, answer.retry_after.as_deref()),
        (503, Some("30")),
        "{url} is gone: {}",
        answer.body
    );
    assert!(stored(&t, "connection:1").await.is_none());
}
