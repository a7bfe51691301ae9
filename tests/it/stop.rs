//! The program is asked to end while Bitbucket keeps it waiting: it ends in time, and what it could not do is due at
//! once for whoever works next.

use std::time::{Duration, Instant};

use bitbucket_sandbox::{Action, Fault};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::json;
use tracebucket::kit::db::{Db, OpenAs};

use crate::support::program::Program;
use crate::support::world::{World, git};
use crate::support::{Backend, PATIENCE};

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = BigInt)]
    claimed: i64,
    #[diesel(sql_type = BigInt)]
    due: i64,
}

/// Jobs and deliveries that somebody holds, and those that anybody may take now.
fn counts(database_url: &str, now: i64) -> (i64, i64) {
    let db = Db::open(database_url, OpenAs::Beside, None).unwrap();
    let read = db.read(move |conn| {
        let row = diesel::sql_query(format!(
            "SELECT (SELECT COUNT(*) FROM jobs WHERE lease_owner IS NOT NULL) \
                  + (SELECT COUNT(*) FROM deliveries WHERE lease_owner IS NOT NULL) AS claimed, \
                    (SELECT COUNT(*) FROM jobs WHERE state = 'ready' AND run_at <= {now} AND kind = 'tickets.sync_status') \
                  + (SELECT COUNT(*) FROM deliveries WHERE state = 'ready' AND run_at <= {now}) AS due"
        ));
        Ok::<_, tracebucket::error::AppError>(row.get_result::<Counts>(conn)?)
    });
    let row = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(read));
    let row = row.unwrap();
    (row.claimed, row.due)
}

async fn what_is_not_done_at_the_stop_is_given_back(backend: Backend) {
    let world = World::new(backend).await;
    world.crash("StopError", "held", "stop").await;
    let group = world.newest_group().await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let form = json!({ "repo": "acme/shop", "title": "Held", "description": "x" });
    let path = world.ticket_path(&group);
    world
        .t
        .send("POST", &path, &world.tenant.token, form, 201)
        .await;
    world.t.run_jobs().await;
    let clone = world.clone_repo("held");
    let World {
        t,
        bitbucket,
        tenant,
        folder: _folder,
        ..
    } = world;
    let clock = t.app.clock.clone();
    let program = Program::instead_of(t).await;
    let running = program.start().await;

    let hold = Action::HoldAfter { ms: 60_000 };
    bitbucket.add_fault(Fault::always("GET", "/commits", hold.clone()));
    bitbucket.add_fault(Fault::always("GET", "/comments", hold.clone()));
    bitbucket.add_fault(Fault::always("PUT", "/issues/", hold));
    let url = format!("{}/api/0/organizations/acme/issues/{group}/", program.base);
    let resolve = reqwest::Client::new().put(url).bearer_auth(&tenant.token);
    let resolved = resolve.json(&json!({ "status": "resolved" })).send().await;
    assert_eq!(resolved.unwrap().status(), 200);
    for number in 1..=8 {
        git(
            &clone,
            &[
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                &format!("Step {number}"),
            ],
        );
    }
    git(&clone, &["push", "-q", "origin", "main"]);
    let begun = Instant::now();
    while bitbucket.held() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{}", bitbucket.held());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let (status, took) = running.terminate().await;
    assert!(status.success(), "{status}:\n{}", program.log());
    assert!(took < Duration::from_secs(25), "{took:?}");
    let now = clock.now().0;
    assert_eq!(
        counts(&program.database_url, now),
        (0, 2),
        "{}",
        program.log()
    );

    bitbucket.clear_faults();
    bitbucket.release_held();
    let _next = program.start().await;
    let begun = Instant::now();
    let done = || {
        bitbucket.issues("acme/shop")[0].state == "resolved"
            && counts(&program.database_url, now) == (0, 0)
    };
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{}", program.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    what_is_not_done_at_the_stop_is_given_back(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    what_is_not_done_at_the_stop_is_given_back(Backend::Postgres).await;
}
