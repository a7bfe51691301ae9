//! Access tokens: one renewal whoever asks, saved before it is used; what cannot be renewed waits for a person.

use std::time::Duration;

use bitbucket_sandbox::{Action, ChangeConsumer, Fault, Rule, Sandbox};
use diesel::prelude::*;
use tracebucket::app::App;
use tracebucket::bitbucket::oauth::{Consumer, Grant, Granted};
use tracebucket::error::AppError;
use tracebucket::features::accounts::OrgId;
use tracebucket::features::links::{
    self, CredentialKind, Given, LinkError, LinkId, LinkStatus, NewConnection,
};
use tracebucket::kit::clock::Clock;

use super::status;
use crate::support::world::{
    allow, bitbucket_and_app, consumer, expect_violations, install, link_by_hand,
};
use crate::support::{Backend, TestApp};

const TOKENS: &str = "POST /site/oauth2/access_token";

/// A connection by OAuth whose access token has just ended.
struct Scene {
    bitbucket: Sandbox,
    t: TestApp,
    org: OrgId,
    link: LinkId,
    consumer: Consumer,
    /// The refresh token that is stored.
    refresh: String,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn start(backend: Backend, grace: Option<i64>) -> Self {
        let (bitbucket, t, folder) = bitbucket_and_app(backend).await;
        let org = t.tenant("acme").await.org.id;
        let consumer = consumer(&bitbucket, false, grace);
        let granted = allow(&t.app, &bitbucket, &consumer).await;
        let refresh = granted.refresh.as_ref().unwrap().expose().to_owned();
        let new = NewConnection {
            kind: CredentialKind::OauthCode,
            credential: Given::OauthCode {
                consumer: consumer.clone(),
                granted: Granted {
                    life: Duration::ZERO,
                    ..granted
                },
            },
            workspace_uuid: t
                .app
                .bitbucket
                .for_credential(tracebucket::bitbucket::Credential::Bearer(
                    allow(&t.app, &bitbucket, &consumer).await.access,
                ))
                .workspace("acme")
                .await
                .unwrap()
                .uuid
                .unwrap(),
            workspace: "acme".into(),
            label: "Shop team".into(),
            purpose: "Errors of the shop".into(),
            owner: None,
            private: false,
            expires_at: None,
        };
        let link = links::connect_named(&t.app, org, new, "Olga Owner")
            .await
            .unwrap()
            .id;
        bitbucket.clear_calls();
        Self {
            bitbucket,
            t,
            org,
            link,
            consumer,
            refresh,
            _folder: folder,
        }
    }

    /// Calls that asked for a token.
    fn asked(&self) -> u64 {
        self.bitbucket
            .call_counts()
            .get(TOKENS)
            .copied()
            .unwrap_or(0)
    }

    async fn call(&self) -> Result<(), LinkError> {
        call(&self.t.app, self.org, self.link).await
    }

    async fn link(&self) -> links::Link {
        let (org, link) = (self.org, self.link);
        self.t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(links::find_link(conn, org, link)?))
            .await
            .unwrap()
            .unwrap()
    }

    /// A process that claimed the renewal, got its answer, and died before it could save it.
    async fn crash_in_between(&self, lease: Duration) {
        let until = self.t.app.clock.now().plus(lease).0;
        let sql = format!("UPDATE credentials SET lease_owner = 'gone', lease_until = {until}");
        self.t
            .app
            .db
            .write(move |tx| Ok::<_, AppError>(diesel::sql_query(&sql).execute(tx.conn())?))
            .await
            .unwrap();
        let token = self.refresh.as_str().into();
        let grant = Grant::Refresh {
            consumer: &self.consumer,
            token: &token,
        };
        self.t.app.bitbucket.exchange(&grant).await.unwrap();
        self.bitbucket.clear_calls();
    }
}

async fn call(app: &App, org: OrgId, link: LinkId) -> Result<(), LinkError> {
    let connected = links::client_for_link(app, org, link).await?;
    connected.cloud()?.workspace("acme").await?;
    Ok(())
}

async fn fifty_callers(scene: &Scene, apps: &[App]) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (app, org, link) = (apps[number % apps.len()].clone(), scene.org, scene.link);
        tasks.spawn(async move { call(&app, org, link).await });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    assert_eq!(scene.asked(), 1, "{:?}", scene.bitbucket.call_counts());
    assert_eq!(scene.link().await.status, LinkStatus::Active);
    let violations = scene.bitbucket.take_violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

async fn callers_share_one_renewal(backend: Backend) {
    let scene = Scene::start(backend, None).await;
    fifty_callers(&scene, std::slice::from_ref(&scene.t.app)).await;
}

async fn a_crash_after_the_refresh_needs_a_person_once(backend: Backend) {
    let scene = Scene::start(backend, None).await;
    scene.crash_in_between(Duration::from_secs(1)).await;
    let started = std::time::Instant::now();
    let error = scene.call().await.unwrap_err();
    assert!(
        started.elapsed() > Duration::from_millis(500),
        "the lease is respected"
    );
    assert!(error.to_string().contains("Re-authorise"), "{error}");
    assert!(!error.is_temporary());
    assert_eq!(scene.asked(), 1);
    // From now on nothing is sent.
    scene.bitbucket.clear_calls();
    for _ in 0..5 {
        let error = scene.call().await.unwrap_err();
        assert!(matches!(&error, LinkError::Broken(_)), "{error:?}");
    }
    assert_eq!(scene.bitbucket.call_counts().len(), 0);
    let link = scene.link().await;
    assert_eq!(link.status, LinkStatus::Broken);
    // A new consent mends the same link.
    let granted = allow(&scene.t.app, &scene.bitbucket, &scene.consumer).await;
    let given = Given::OauthCode {
        consumer: scene.consumer.clone(),
        granted,
    };
    let kind = CredentialKind::OauthCode;
    let mended = links::reauthorise(
        &scene.t.app,
        scene.org,
        scene.link,
        None,
        (kind, given),
        None,
        "Olga",
    )
    .await
    .unwrap();
    assert_eq!(
        (mended.id, mended.status, mended.label.as_str()),
        (link.id, LinkStatus::Active, "Shop team")
    );
    scene.call().await.unwrap();
    expect_violations(&scene.bitbucket, &[Rule::RefreshToken]);
}

async fn a_crash_within_the_grace_is_not_noticed(backend: Backend) {
    let scene = Scene::start(backend, Some(60)).await;
    scene.crash_in_between(Duration::from_millis(300)).await;
    scene.call().await.unwrap();
    assert_eq!(scene.asked(), 1);
    assert_eq!(scene.link().await.status, LinkStatus::Active);
}

async fn trouble_is_not_a_refusal(backend: Backend) {
    let scene = Scene::start(backend, None).await;
    scene.bitbucket.add_fault(Fault::always(
        "POST",
        "/site/oauth2/access_token",
        status(503),
    ));
    let error = scene.call().await.unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    assert_eq!(scene.asked(), 1, "a grant is not repeated in place");
    assert_eq!(scene.link().await.status, LinkStatus::Active);
    scene.bitbucket.clear_faults();
    scene.call().await.unwrap();
    assert_eq!(scene.link().await.status, LinkStatus::Active);
}

async fn a_token_that_was_taken_back_is_renewed_or_breaks(backend: Backend) {
    let scene = Scene::start(backend, None).await;
    let connected = links::client_for_link(&scene.t.app, scene.org, scene.link)
        .await
        .unwrap();
    connected.cloud().unwrap().workspace("acme").await.unwrap();
    scene
        .bitbucket
        .change_consumer(&ChangeConsumer {
            key: scene.consumer.key.clone(),
            revoke: true,
            ..ChangeConsumer::default()
        })
        .unwrap();
    scene.bitbucket.clear_calls();
    // The very client that has the dead token: Bitbucket says 401, and there is no way to another one.
    let error = connected
        .cloud()
        .unwrap()
        .workspace("acme")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), tracebucket::bitbucket::Kind::Unauthorized);
    assert_eq!(scene.link().await.status, LinkStatus::Broken);
    expect_violations(&scene.bitbucket, &[Rule::BearerToken]);
}

/// An installation that uses access tokens, and the clocks that make them end.
async fn an_installation_uses_access_tokens(backend: Backend) {
    let clock = Clock::fixed(Clock::system().now());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bitbucket");
    let bitbucket = tokio::task::spawn_blocking(move || {
        Sandbox::start(bitbucket_sandbox::SandboxConfig {
            strict: true,
            ..bitbucket_sandbox::SandboxConfig::new(data)
        })
    })
    .await
    .unwrap()
    .unwrap();
    bitbucket.create_workspace("acme").unwrap();
    let settings = vec![
        ("bitbucket_api_url", bitbucket.url().to_owned()),
        ("bitbucket_web_url", bitbucket.url().to_owned()),
    ];
    let options = crate::support::Options {
        settings,
        clock: Some(clock.clone()),
    };
    let t = TestApp::start_with(backend, options).await;
    let acme = t.tenant("acme").await;
    let (client_key, redirect) = install(&t, &bitbucket, "acme").await;
    let cookie = t.session(&acme.owner).await;
    link_by_hand(&t, &redirect, &cookie, "acme").await;
    t.run_jobs().await;
    let (org, link) = (acme.org.id, LinkId(1));
    let asked = || bitbucket.call_counts().get(TOKENS).copied().unwrap_or(0);
    let used = |how: &str| {
        let calls = bitbucket.calls();
        let by = |call: &bitbucket_sandbox::CallRecord| {
            call.credential.as_deref().unwrap_or_default().contains(how)
        };
        calls
            .iter()
            .filter(|call| call.path.starts_with("/2.0/") && by(call))
            .count()
    };

    // Bitbucket has no time: nothing is changed.
    bitbucket.add_fault(Fault::always(
        "POST",
        "/site/oauth2/access_token",
        status(503),
    ));
    let bearer = CredentialKind::ConnectBearer;
    let error = links::sign_by(&t.app, org, link, bearer, "Olga")
        .await
        .unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    bitbucket.clear_faults();
    bitbucket.clear_calls();
    call(&t.app, org, link).await.unwrap();
    assert_eq!(asked(), 0, "each call is signed");

    links::sign_by(&t.app, org, link, bearer, "Olga")
        .await
        .unwrap();
    for _ in 0..5 {
        call(&t.app, org, link).await.unwrap();
    }
    assert_eq!(asked(), 1, "kept until it ends");
    assert_eq!(used("token"), 5, "{:?}", bitbucket.calls());

    // It ends, and fifty ask at once.
    clock.advance(Duration::from_secs(3 * 3_600));
    bitbucket.set_clock(Some(clock.now().to_rfc3339().parse().unwrap()));
    bitbucket.clear_calls();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let app = t.app.clone();
        tasks.spawn(async move { call(&app, org, link).await });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    assert_eq!(asked(), 1, "{:?}", bitbucket.call_counts());

    // Nobody else may change it, and it is no way for a connection by a token.
    let rival = t.tenant("rival").await.org.id;
    let other = links::sign_by(&t.app, rival, link, bearer, "Rita").await;
    assert!(matches!(other, Err(LinkError::NotFound)), "{other:?}");
    let odd = links::sign_by(&t.app, org, link, CredentialKind::ApiToken, "Olga").await;
    assert!(matches!(odd, Err(LinkError::Off(_))), "{odd:?}");

    // Back to signatures, then once more; the workspace removes the app: the connection says so.
    let jwt = CredentialKind::ConnectJwt;
    links::sign_by(&t.app, org, link, jwt, "Olga")
        .await
        .unwrap();
    bitbucket.clear_calls();
    call(&t.app, org, link).await.unwrap();
    assert_eq!((asked(), used("token")), (0, 0));
    links::sign_by(&t.app, org, link, bearer, "Olga")
        .await
        .unwrap();
    assert!(bitbucket.take_violations().is_empty());
    bitbucket.uninstall(&client_key).await.unwrap();
    let gone = call(&t.app, org, link).await.unwrap_err();
    assert!(gone.to_string().contains("removed the app"), "{gone}");
    assert!(
        links::sign_by(&t.app, org, link, bearer, "Olga")
            .await
            .is_err()
    );
    expect_violations(&bitbucket, &[]);
}

macro_rules! on_both {
    ($($story:ident => $sqlite:ident, $postgres:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $sqlite() {
            $story(Backend::Sqlite).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $postgres() {
            $story(Backend::Postgres).await;
        }
    )+};
}

on_both! {
    an_installation_uses_access_tokens => installation_on_sqlite, installation_on_postgres;
    callers_share_one_renewal => one_renewal_on_sqlite, one_renewal_on_postgres;
    a_crash_after_the_refresh_needs_a_person_once => crash_on_sqlite, crash_on_postgres;
    a_crash_within_the_grace_is_not_noticed => grace_on_sqlite, grace_on_postgres;
    trouble_is_not_a_refusal => trouble_on_sqlite, trouble_on_postgres;
    a_token_that_was_taken_back_is_renewed_or_breaks => taken_back_on_sqlite, taken_back_on_postgres;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_grant_is_repeated_when_the_exchange_breaks_off_and_no_other() {
    let (bitbucket, t, _folder) = bitbucket_and_app(Backend::Sqlite).await;
    let consumer = consumer(&bitbucket, true, None);
    let lasting = Grant::ClientCredentials {
        consumer: &consumer,
    };
    let token = "no-such-token".into();
    let once = Grant::Refresh {
        consumer: &consumer,
        token: &token,
    };
    let asked = |bitbucket: &Sandbox| bitbucket.call_counts().get(TOKENS).copied();
    for (grant, asks) in [(&lasting, 2), (&once, 1)] {
        bitbucket.clear_calls();
        let dropped = Fault::once("POST", "/site/oauth2/access_token", Action::DropBefore);
        bitbucket.add_fault(dropped);
        let made = t.app.bitbucket.exchange(grant).await;
        assert_eq!(made.is_ok(), asks == 2, "{:?}", made.err());
        assert_eq!(asked(&bitbucket), Some(asks));
    }
    // A breaking connection that does not get better is said.
    let dropped = Fault::always("POST", "/site/oauth2/access_token", Action::DropBefore);
    bitbucket.add_fault(dropped);
    assert!(t.app.bitbucket.exchange(&lasting).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_renewal() {
    let scene = Scene::start(Backend::Postgres, None).await;
    let other = scene.t.another_app().await;
    fifty_callers(&scene, &[scene.t.app.clone(), other]).await;
}
