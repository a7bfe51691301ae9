//! The database locked, full, gone, cut off or taking no writes.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{Stage, assert_refused, count_deliveries, signed_push};
use crate::scene::Scene;
use crate::support::proxy::Proxy;
use crate::support::sdk::event_id;
use crate::support::world::World;
use crate::support::{Backend, Options, TestApp, fresh_database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_database_is_said_and_loses_nothing() {
    let s = Scene::start(Backend::Sqlite).await;
    let hook = signed_push(&s);
    let secrets = s.secrets().await;
    let World {
        t,
        bitbucket: _bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let stage = Stage::start(t, &tenant, secrets).await;
    stage.event_until_stored(&event_id()).await;

    let mut other =
        SqliteConnection::establish(stage.program.database_url.trim_start_matches("sqlite://"))
            .unwrap();
    other
        .batch_execute("PRAGMA busy_timeout = 5000; BEGIN EXCLUSIVE")
        .unwrap();
    let id = event_id();
    let (status, headers) = stage.event(&id).await;
    assert_refused(status, &headers);
    let refused = hook.try_clone().unwrap().send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    stage.assert_logged("database is locked");
    // Many at once: each of a batch is told, and each is stored once when it comes again.
    let many: Vec<String> = (0..30).map(|_| event_id()).collect();
    for answer in futures_util::future::join_all(many.iter().map(|id| stage.event(id))).await {
        assert_refused(answer.0, &answer.1);
    }
    other.batch_execute("ROLLBACK").unwrap();

    assert_eq!(stage.event_until_stored(&id).await, 0);
    for id in &many {
        stage.event_until_stored(id).await;
    }
    assert_eq!(hook.send().await.unwrap().status(), 204);
    assert_eq!(stage.stored().await, 32);
    assert_eq!(count_deliveries(&stage.program.database_url), 1);
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_loses_nothing() {
    let s = Scene::start(Backend::Sqlite).await;
    let mut hooks: Vec<_> = (0..50).map(|_| signed_push(&s)).collect();
    let secrets = s.secrets().await;
    let World {
        t,
        bitbucket: _bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let stage = Stage::start(t, &tenant, secrets).await;
    stage.event_until_stored(&event_id()).await;

    // No file may grow beyond what the write-ahead log has now; the program's own log is far smaller.
    let path = format!(
        "{}-wal",
        stage.program.database_url.trim_start_matches("sqlite://")
    );
    let size = std::fs::metadata(path).unwrap().len() + 100_000;
    let limit = |size: &str| {
        let pid = stage.running.id().to_string();
        let done = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={size}:unlimited")])
            .status();
        assert!(done.expect("prlimit of util-linux").success());
    };
    limit(&size.to_string());
    let (mut accepted, mut id) = (1, event_id());
    let mut delivered = 0;
    let hook = loop {
        let (status, headers) = stage.event(&id).await;
        if status == 200 {
            accepted += 1;
            id = event_id();
            assert!(accepted < 5_000, "it never fills");
            continue;
        }
        assert_refused(status, &headers);
        // Where an event has no room any more, a webhook may have.
        let hook = hooks.pop().expect("it never fills");
        let answer = hook.try_clone().unwrap().send().await.unwrap();
        if answer.status() == 204 {
            delivered += 1;
            continue;
        }
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        break hook;
    };
    let log = stage.program.log();
    assert!(
        log.contains("disk I/O error") || log.contains("disk is full"),
        "{log}"
    );

    limit("unlimited");
    stage.event_until_stored(&id).await;
    assert_eq!(hook.send().await.unwrap().status(), 204);
    assert_eq!(
        stage.stored().await,
        accepted + 1,
        "all that was accepted, and what was refused once"
    );
    let deliveries = count_deliveries(&stage.program.database_url);
    assert_eq!(deliveries, delivered + 1);
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_file_that_is_gone_or_another_one_is_said_and_loses_nothing() {
    let s = Scene::start(Backend::Sqlite).await;
    let hook = signed_push(&s);
    let secrets = s.secrets().await;
    let World {
        t,
        bitbucket: _bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let stage = Stage::start(t, &tenant, secrets).await;
    stage.event_until_stored(&event_id()).await;
    assert_eq!(stage.readiness().await, 200);

    let path = stage.program.database_url.trim_start_matches("sqlite://");
    let aside = format!("{path}.aside");
    std::fs::rename(path, &aside).unwrap();
    let id = event_id();
    for cause in ["is gone", "another file was put in the place of"] {
        let (status, headers) = stage.event(&id).await;
        assert_refused(status, &headers);
        let refused = hook.try_clone().unwrap().send().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(stage.readiness().await, 503);
        stage.assert_logged(cause);
        std::fs::copy(&aside, path).unwrap();
    }
    std::fs::rename(&aside, path).unwrap();

    assert_eq!(stage.event_until_stored(&id).await, 0);
    assert_eq!(hook.send().await.unwrap().status(), 204);
    assert_eq!(stage.readiness().await, 200);
    assert_eq!(stage.stored().await, 2);
    assert_eq!(count_deliveries(&stage.program.database_url), 1);
    stage.end();
}

/// A tenant on PostgreSQL as a user of its own, reached through a proxy that can be cut.
async fn behind_a_proxy() -> (Proxy, Stage, String) {
    let name = format!("u{}", event_id());
    let server = std::env::var("TEST_DATABASE_URL").unwrap();
    let (login, target) = server.rsplit_once('@').unwrap();
    let (target, database) = target.split_once('/').unwrap();
    let proxy = Proxy::to(target.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let password = login.rsplit_once(':').unwrap().1.to_owned();
    as_admin(format!(
        "CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{password}'"
    ))
    .await;
    let fresh = fresh_database(Backend::Postgres, folder.path());
    let schema = fresh.split_once("options=").unwrap().1;
    let url = format!(
        "postgres://{name}:{password}@{}/{database}?options={schema}",
        proxy.address
    );
    let options = Options {
        settings: vec![("database_url", url)],
        clock: None,
    };
    let t = TestApp::start_with(Backend::Postgres, options).await;
    let tenant = t.tenant("acme").await;
    let stage = Stage::start(t, &tenant, vec![password]).await;
    (proxy, stage, name)
}

async fn as_admin(statement: String) {
    let server = std::env::var("TEST_DATABASE_URL").unwrap();
    let done = tokio::task::spawn_blocking(move || {
        let mut conn = PgConnection::establish(&server).unwrap();
        conn.batch_execute(&statement).unwrap();
    });
    done.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_stopped_is_said_and_loses_nothing() {
    let (proxy, stage, _) = behind_a_proxy().await;
    stage.event_until_stored(&event_id()).await;
    assert_eq!(stage.readiness().await, 200);
    proxy.cut();
    let id = event_id();
    for _ in 0..3 {
        let (status, headers) = stage.event(&id).await;
        assert_refused(status, &headers);
    }
    assert_eq!(stage.readiness().await, 503);
    stage.assert_logged("cannot reconnect to the database");
    proxy.mend();
    stage.event_until_stored(&id).await;
    assert_eq!(stage.stored().await, 2);
    assert_eq!(stage.readiness().await, 200);
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_takes_no_writes_is_said_and_loses_nothing() {
    let (proxy, stage, name) = behind_a_proxy().await;
    stage.event_until_stored(&event_id()).await;
    // What a standby says after a failover.
    as_admin(format!(
        "ALTER ROLE {name} SET default_transaction_read_only = on"
    ))
    .await;
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.mend();
    let id = event_id();
    for _ in 0..3 {
        let (status, headers) = stage.event(&id).await;
        assert_refused(status, &headers);
    }
    stage.assert_logged("read-only transaction");
    assert_eq!(stage.stored().await, 1, "what is there can be read");
    as_admin(format!(
        "ALTER ROLE {name} SET default_transaction_read_only = off"
    ))
    .await;
    stage.event_until_stored(&id).await;
    assert_eq!(stage.stored().await, 2);
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_connections_that_are_cut_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("cut{}", event_id());
    let url = format!(
        "{}&application_name={name}",
        fresh_database(Backend::Postgres, folder.path())
    );
    let options = Options {
        settings: vec![("database_url", url)],
        clock: None,
    };
    let t = TestApp::start_with(Backend::Postgres, options).await;
    let tenant = t.tenant("acme").await;
    let server = std::env::var("TEST_DATABASE_URL").unwrap();
    let stage = Stage::start(t, &tenant, vec![]).await;
    let mut accepted = stage.event_until_stored(&event_id()).await + 1;
    for _ in 0..3 {
        let (server, name) = (server.clone(), name.clone());
        let cut = tokio::task::spawn_blocking(move || {
            let mut conn = PgConnection::establish(&server).unwrap();
            diesel::sql_query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1")
                .bind::<Text, _>(name)
                .execute(&mut conn)
                .unwrap()
        });
        assert!(cut.await.unwrap() > 0);
        stage.event_until_stored(&event_id()).await;
        accepted += 1;
    }
    assert_eq!(stage.stored().await, accepted);
    stage.assert_logged("a commit failed");
    stage.end();
}
