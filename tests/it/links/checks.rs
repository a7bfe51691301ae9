//! Testing a connection: each thing that can be wrong has its own advice; the probe looks after what was stored.

use bitbucket_sandbox::{NewCredential, Rule};
use serde_json::json;
use tracebucket::bitbucket::Credential;
use tracebucket::bitbucket::oauth::Consumer;
use tracebucket::error::AppError;
use tracebucket::features::audit;
use tracebucket::features::links::check::{self, Report};
use tracebucket::features::links::{
    self, CredentialKind, Given, Link, LinkError, LinkId, LinkStatus, LookAfter, NewConnection,
};
use tracebucket::kit::clock::Micros;
use tracebucket::kit::jobs;

use crate::support::world::{Way, World, expect_violations};
use crate::support::{Backend, TestApp};

async fn test(t: &TestApp, kind: CredentialKind, workspace: &str, signs: Credential) -> Report {
    let cloud = t.app.bitbucket.for_credential(signs);
    check::run(&cloud, kind, workspace, None, t.app.clock.now()).await
}

fn advice(report: &Report) -> String {
    let told = report.steps.iter().filter_map(|step| step.advice.clone());
    told.collect::<Vec<_>>().join("\n")
}

fn basic(token: &str) -> Credential {
    Credential::Basic {
        user: "ada@acme.example".into(),
        password: token.into(),
    }
}

async fn each_mistake_has_its_advice(backend: Backend) {
    let world = World::over(backend, Way::ApiToken).await;
    let (t, bitbucket) = (&world.t, &world.bitbucket);
    let token = |scopes: &[&str], expires_in: i64| {
        let new = NewCredential::ApiToken {
            user: "ada".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_in,
        };
        bitbucket
            .create_credential(&new)
            .unwrap()
            .secret
            .expose()
            .to_owned()
    };
    let all = links::features::wanted_scopes(CredentialKind::ApiToken);
    let kind = CredentialKind::ApiToken;

    let wrong = test(t, kind, "acme", basic("wrong")).await;
    assert!(!wrong.ok && wrong.refused && !wrong.undecided, "{wrong:#?}");
    assert!(
        advice(&wrong).contains("e-mail of the Atlassian account"),
        "{}",
        advice(&wrong)
    );

    let expired = test(t, kind, "acme", basic(&token(&all, -1))).await;
    assert!(!expired.ok && expired.refused);
    assert!(advice(&expired).contains("expired"), "{}", advice(&expired));

    let few: Vec<&str> = all
        .iter()
        .copied()
        .filter(|scope| !scope.contains("repository"))
        .collect();
    let blind = test(t, kind, "acme", basic(&token(&few, 900))).await;
    assert!(!blind.ok && !blind.refused);
    assert!(
        advice(&blind).contains("read:repository:bitbucket"),
        "{}",
        advice(&blind)
    );
    let off: Vec<&str> = blind
        .features
        .iter()
        .filter(|feature| feature.state == "off")
        .map(|feature| feature.key.as_str())
        .collect();
    assert_eq!(off, ["repositories", "pushes"], "{:#?}", blind.features);

    let good = token(&all, 900);
    let elsewhere = test(t, kind, "nowhere", basic(&good)).await;
    assert!(!elsewhere.ok);
    assert!(
        advice(&elsewhere).contains("There is no such workspace"),
        "{}",
        advice(&elsewhere)
    );

    let fine = test(t, kind, "acme", basic(&good)).await;
    assert!(fine.ok, "{fine:#?}");
    assert_eq!(fine.account.as_deref(), Some("Ada Lind"));
    assert_eq!(
        (fine.repositories, fine.more_repositories),
        (Some(1), false)
    );
    assert_eq!(fine.workspaces, ["acme"]);
    assert!(
        fine.skew.is_some_and(|skew| skew.abs() < 30),
        "{:?}",
        fine.skew
    );
    assert_eq!(advice(&fine), "");

    let consumer = Credential::Bearer("unknown".into());
    let bearer = test(t, CredentialKind::WorkspaceToken, "acme", consumer).await;
    assert!(
        advice(&bearer).contains("copy it again"),
        "{}",
        advice(&bearer)
    );
    expect_violations(
        bitbucket,
        &[Rule::BasicCredential, Rule::BearerToken, Rule::Scope],
    );
}

/// A connection by a workspace token that can be taken back.
async fn by_token(world: &World, private: bool) -> (Link, String) {
    let scopes = links::features::wanted_scopes(CredentialKind::WorkspaceToken);
    let made = world
        .bitbucket
        .create_credential(&NewCredential::WorkspaceAccessToken {
            workspace: "acme".into(),
            name: "second".into(),
            scopes: scopes.into_iter().map(str::to_owned).collect(),
            expires_in: None,
        })
        .unwrap();
    let org = world.tenant.org.id;
    let first = find(world, world.integration.parse().unwrap()).await;
    let new = NewConnection {
        kind: CredentialKind::WorkspaceToken,
        credential: Given::AccessToken {
            token: made.secret.expose().into(),
        },
        workspace_uuid: first.workspace_uuid,
        workspace: "acme".into(),
        label: "Second".into(),
        purpose: "Another way in".into(),
        owner: Some(world.tenant.owner.id),
        private,
        expires_at: None,
    };
    let link = links::connect_named(&world.t.app, org, new, "Olga Owner")
        .await
        .unwrap();
    (link, made.id)
}

async fn find(world: &World, id: LinkId) -> Link {
    let org = world.tenant.org.id;
    let found = world
        .t
        .app
        .db
        .read(move |conn| Ok::<_, AppError>(links::find_link(conn, org, id)?))
        .await;
    found.unwrap().expect("the connection is seen")
}

async fn look_after(t: &TestApp) {
    let now = t.app.clock.now();
    t.app
        .db
        .write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &LookAfter::default(), now)?))
        .await
        .unwrap();
    t.run_jobs().await;
}

async fn sql(t: &TestApp, text: String) {
    t.app
        .db
        .write(move |tx| {
            use diesel::prelude::*;
            assert!(diesel::sql_query(&text).execute(tx.conn())? > 0);
            Ok::<_, AppError>(())
        })
        .await
        .unwrap();
}

async fn the_probe_finds_a_dead_token_and_leaves_it_alone(backend: Backend) {
    let world = World::over(backend, Way::Oauth).await;
    let (t, org) = (&world.t, world.tenant.org.id);
    let (link, id) = by_token(&world, false).await;
    look_after(t).await;
    let fine = find(&world, link.id).await;
    assert_eq!(
        (fine.status, fine.last_report().unwrap().ok),
        (LinkStatus::Active, true)
    );
    // Two connections to one workspace; a repository moves from one to the other and stays the same row.
    let path = format!("/api/0/organizations/acme/repos/{}/", world.repo);
    let moved = json!({ "integrationId": link.id.to_string() });
    let moved = t.send("PUT", &path, &world.tenant.token, moved, 200).await;
    assert_eq!(moved["id"].as_str(), Some(world.repo.as_str()));
    assert_eq!(
        moved["integrationId"].as_str(),
        Some(link.id.to_string().as_str()),
        "{moved}"
    );
    t.run_jobs().await;

    world.bitbucket.revoke_credential(&id).unwrap();
    sql(
        t,
        format!("UPDATE links SET checked_at = 0 WHERE id = {}", link.id),
    )
    .await;
    look_after(t).await;
    let dead = find(&world, link.id).await;
    assert_eq!(dead.status, LinkStatus::Broken);
    assert!(
        dead.status_reason
            .as_deref()
            .unwrap()
            .contains("Re-authorise"),
        "{dead:?}"
    );
    world.bitbucket.clear_calls();
    look_after(t).await;
    let error = links::client_for_link(&t.app, org, link.id)
        .await
        .unwrap_err();
    assert!(matches!(error, LinkError::Broken(_)), "{error:?}");
    assert!(
        world.bitbucket.call_counts().is_empty(),
        "{:?}",
        world.bitbucket.call_counts()
    );

    // A new token in the same connection: the repository is still there, and works.
    let (_, other) = by_token(&world, false).await;
    let made = world
        .bitbucket
        .create_credential(&NewCredential::WorkspaceAccessToken {
            workspace: "acme".into(),
            name: "third".into(),
            scopes: vec!["repository".into(), "webhook".into(), "pullrequest".into()],
            expires_in: None,
        });
    let given = Given::AccessToken {
        token: made.unwrap().secret.expose().into(),
    };
    let kind = CredentialKind::WorkspaceToken;
    links::reauthorise(&t.app, org, link.id, None, (kind, given), None, "Olga")
        .await
        .unwrap();
    t.run_jobs().await;
    assert_eq!(find(&world, link.id).await.status, LinkStatus::Active);
    let repos = t
        .get("/api/0/organizations/acme/repos/", &world.tenant.token, 200)
        .await;
    assert_eq!(
        repos[0]["integrationId"].as_str(),
        Some(link.id.to_string().as_str())
    );
    world.bitbucket.revoke_credential(&other).unwrap();
    for violation in world.bitbucket.take_violations() {
        assert_eq!(violation.rule, Rule::BearerToken, "{violation:?}");
    }
}

async fn a_private_connection_is_its_owners_alone(backend: Backend) {
    let world = World::over(backend, Way::Oauth).await;
    let (t, org) = (&world.t, world.tenant.org.id);
    let (link, _) = by_token(&world, true).await;
    let listed = t
        .get(
            "/api/0/organizations/acme/integrations/",
            &world.tenant.token,
            200,
        )
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let search = format!("/api/0/organizations/acme/integrations/{}/repos/", link.id);
    t.get(&search, &world.tenant.token, 404).await;
    let error = links::client_for_link(&t.app, org, link.id)
        .await
        .unwrap_err();
    assert!(matches!(error, LinkError::NotFound), "{error:?}");
    let other = links::test_connection(&t.app, org, link.id, None, None).await;
    assert!(matches!(other, Err(LinkError::NotFound)), "{other:?}");
    let own = links::test_connection(&t.app, org, link.id, Some(world.tenant.owner.id), None).await;
    assert!(own.unwrap().ok);
    expect_violations(&world.bitbucket, &[]);
}

async fn the_write_probe_leaves_nothing_open(backend: Backend) {
    let world = World::over(backend, Way::Oauth).await;
    let (t, org) = (&world.t, world.tenant.org.id);
    let (link, repo) = (
        world.integration.parse().unwrap(),
        world.repo.parse().unwrap(),
    );
    let report = links::test_connection(&t.app, org, link, None, Some(repo))
        .await
        .unwrap();
    let states: Vec<(&str, &str)> = report
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.state.as_str()))
        .collect();
    assert!(
        states.contains(&("Webhook", "ok")) && states.contains(&("Issue", "ok")),
        "{report:#?}"
    );
    let issues = world.bitbucket.issues("acme/shop");
    assert_eq!((issues.len(), issues[0].state.as_str()), (1, "closed"));
    world.settle().await;
    world.finish().await;
}

async fn an_end_is_warned_of_once(backend: Backend) {
    let world = World::over(backend, Way::Oauth).await;
    let (t, org) = (&world.t, world.tenant.org.id);
    let soon = t
        .app
        .clock
        .now()
        .plus(std::time::Duration::from_secs(86_400 * 10));
    let Micros(soon) = soon;
    sql(t, format!("UPDATE credentials SET expires_at = {soon}")).await;
    look_after(t).await;
    look_after(t).await;
    let lines = t
        .app
        .db
        .read(move |conn| Ok::<_, AppError>(audit::list(conn, org, 50)?))
        .await
        .unwrap();
    let warned: Vec<_> = lines
        .iter()
        .filter(|line| line.action == "links.warn")
        .collect();
    assert_eq!(warned.len(), 1);
    assert!(warned[0].data.contains("two weeks"), "{:?}", warned[0]);
}

async fn a_digest_comes_once_a_day(backend: Backend) {
    let world = World::over(backend, Way::Oauth).await;
    let (t, org) = (&world.t, world.tenant.org.id);
    let digest = async || {
        let now = t.app.clock.now();
        let put = t
            .app
            .db
            .write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &links::Digest::default(), now)?));
        put.await.unwrap();
        t.run_jobs().await;
        let lines = t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(audit::list(conn, org, 50)?));
        let mut lines = lines.await.unwrap();
        lines.retain(|line| line.action == "links.digest");
        lines
    };
    let cookie = t.session(&world.tenant.owner).await;
    let page = async || {
        let request = t.http.get(t.url("/o/acme/connections/"));
        let request = request
            .header("cookie", &cookie)
            .header("accept", "text/html");
        request.send().await.unwrap().text().await.unwrap()
    };
    assert!(digest().await.is_empty(), "nothing needs anybody");
    assert!(!page().await.contains("Needs somebody today"));

    // The next day: one ends soon, one is broken, one has a webhook that was refused; a private one is its owner's.
    let (broken, _) = by_token(&world, false).await;
    let (private, _) = by_token(&world, true).await;
    let Micros(soon) = t
        .app
        .clock
        .now()
        .plus(std::time::Duration::from_secs(86_400 * 10));
    for statement in [
        format!(
            "UPDATE credentials SET expires_at = {soon} WHERE link_id = {}",
            world.integration
        ),
        format!(
            "UPDATE links SET status = 'broken', status_reason = 'It was revoked.' WHERE id = {}",
            broken.id
        ),
        format!(
            "UPDATE credentials SET expires_at = {soon} WHERE link_id = {}",
            private.id
        ),
        "UPDATE repo_hooks SET state = 'failed'".to_owned(),
        "UPDATE link_digests SET day = '2026-01-01'".to_owned(),
    ] {
        sql(t, statement).await;
    }
    let told = digest().await;
    assert_eq!(told.len(), 1, "{told:?}");
    for text in ["two weeks", "It was revoked.", "1 webhook needs repair"] {
        assert!(told[0].data.contains(text), "{text}: {}", told[0].data);
    }
    let entries: serde_json::Value = serde_json::from_str(&told[0].data).unwrap();
    assert_eq!(
        entries["concerns"].as_array().unwrap().len(),
        3,
        "{entries}"
    );
    let html = page().await;
    assert!(
        html.contains("Needs somebody today") && html.contains("It was revoked."),
        "{html}"
    );
    assert_eq!(digest().await.len(), 1, "once a day");
    // The doctor of the server says the same.
    let findings = links::check_connections(&t.app).await.unwrap();
    let of_all: Vec<String> = findings
        .into_iter()
        .flat_map(|finding| finding.concerns)
        .collect();
    assert!(
        of_all.iter().any(|text| text.contains("two weeks"))
            && of_all.iter().any(|text| text.contains("needs repair")),
        "{of_all:?}"
    );
    expect_violations(&world.bitbucket, &[]);
}

async fn kinds_that_cannot_work_are_refused_with_advice(backend: Backend) {
    let world = World::over(backend, Way::Oauth).await;
    let app = &world.t.app;
    links::check_kind(app, CredentialKind::DataCenter).unwrap();
    links::check_kind(app, CredentialKind::AppPassword).unwrap();
    let given = Given::ClientCredentials {
        consumer: Consumer {
            key: "k".into(),
            secret: "s".into(),
        },
    };
    let mixed = NewConnection {
        kind: CredentialKind::ApiToken,
        credential: given,
        workspace_uuid: "{x}".into(),
        workspace: "acme".into(),
        label: String::new(),
        purpose: String::new(),
        owner: None,
        private: false,
        expires_at: None,
    };
    let refused = links::connect_named(app, world.tenant.org.id, mixed, "Olga").await;
    assert!(refused.is_err());
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
    each_mistake_has_its_advice => advice_on_sqlite, advice_on_postgres;
    the_probe_finds_a_dead_token_and_leaves_it_alone => probe_on_sqlite, probe_on_postgres;
    a_private_connection_is_its_owners_alone => private_on_sqlite, private_on_postgres;
    the_write_probe_leaves_nothing_open => write_on_sqlite, write_on_postgres;
    a_digest_comes_once_a_day => digest_on_sqlite, digest_on_postgres;
    an_end_is_warned_of_once => warned_on_sqlite, warned_on_postgres;
    kinds_that_cannot_work_are_refused_with_advice => kinds_on_sqlite, kinds_on_postgres;
}
