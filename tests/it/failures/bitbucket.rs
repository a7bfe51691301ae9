//! Bitbucket failing in each way.

use std::time::{Duration, Instant};

use bitbucket_sandbox::{Action, Fault};
use diesel::prelude::*;
use serde_json::json;
use tracebucket::error::AppError;
use tracebucket::kit::db::Tx;
use tracebucket::schema::deliveries;

use super::Stage;
use crate::scene::{REPO, Scene, group, scenes};
use crate::support::world::{World, git};
use crate::support::{Backend, PATIENCE, TestApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_bitbucket_does_a_ticket_is_made_once() {
    let s = Scene::start(Backend::Sqlite).await;
    let status = |status| Action::Status {
        status,
        retry_after: None,
        body: None,
    };
    let faults = [
        (status(401), 400, "401"),
        (status(403), 400, "403"),
        (status(404), 400, "404"),
        (status(410), 400, "410"),
        (status(429), 503, "429"),
        (status(500), 503, "500"),
        (status(555), 503, "555"),
        (Action::Half, 503, "broke off"),
        (Action::DropBefore, 503, "broke off"),
        (Action::Slow { ms: 30_000 }, 503, "time"),
        (
            Action::Redirect {
                url: "https://elsewhere.example/2.0/".into(),
                status: None,
            },
            400,
            "redirect",
        ),
    ];
    let mut paths = Vec::new();
    for number in 0..faults.len() {
        let (id, _) = group(&s, &format!("Fault{number}Error")).await;
        paths.push(s.t.url(&s.ticket_path(&id.to_string())));
    }
    let secrets = s.secrets().await;
    let World {
        t,
        bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let stage = Stage::start(t, &tenant, secrets).await;
    let mut odd = Vec::new();
    for (number, ((action, expected, cause), path)) in faults.into_iter().zip(&paths).enumerate() {
        let form = json!({"repo": REPO, "title": format!("Fault {number}"), "description": "It broke.", "issue_type": "bug", "priority": "major"});
        let create = || {
            stage
                .http
                .post(path)
                .bearer_auth(&stage.token)
                .header("Idempotency-Key", "k")
                .json(&form)
                .send()
        };
        let before = stage.program.log().len();
        bitbucket.clear_faults();
        bitbucket.add_fault(Fault::once("POST", "/issues", action.clone()));
        let refused = create().await.unwrap();
        let (got, text) = (refused.status().as_u16(), refused.text().await.unwrap());
        let log = stage.program.log()[before..].to_owned();
        if got != expected || !log.contains(cause) || !log.contains("bitbucket call failed") {
            odd.push(format!("{action:?}: {got} {text}\n{log}"));
        }
        bitbucket.clear_faults();
        // The breaker may want a moment of peace first.
        let begun = Instant::now();
        loop {
            let made = create().await.unwrap();
            let title = format!("Fault {number}");
            let there = bitbucket
                .issues(REPO)
                .iter()
                .any(|issue| issue.title == title);
            match made.status().as_u16() {
                201 if there => break,
                // 201 is also the answer while the ticket is pending.
                201 | 400 | 503 if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(500)).await
                }
                other => panic!(
                    "{action:?}: {other} {}\n{}",
                    made.text().await.unwrap(),
                    stage.program.log()
                ),
            }
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n\n"));
    let mut titles: Vec<_> = bitbucket
        .issues(REPO)
        .into_iter()
        .map(|issue| issue.title)
        .collect();
    titles.sort();
    titles.dedup();
    assert_eq!(
        (titles.len(), bitbucket.issues(REPO).len()),
        (paths.len(), paths.len()),
        "each once"
    );
    stage.end();
}

/// The wait before the next attempt is over.
async fn make_due(t: &TestApp) {
    let made = |tx: &mut Tx<'_>| {
        let later = deliveries::table.filter(deliveries::state.eq("ready"));
        Ok::<_, AppError>(
            diesel::update(later)
                .set(deliveries::run_at.eq(0))
                .execute(tx.conn())?,
        )
    };
    t.app.db.write(made).await.unwrap();
    // The breaker may want a moment of peace.
    tokio::time::sleep(Duration::from_millis(200)).await;
    t.forgive_pauses().await;
}

scenes! {
    async fn whatever_bitbucket_does_a_push_is_completed_once(s) {
        let status = |status| Action::Status { status, retry_after: None, body: None };
        let elsewhere = Action::Redirect { url: "https://elsewhere.example/2.0/".into(), status: None };
        let faults = [
            (status(401), "401"), (status(403), "403"), (status(429), "429"), (status(500), "500"), (status(555), "555"),
            (Action::Half, "broke off"), (Action::DropBefore, "broke off"), (Action::Slow { ms: 30_000 }, "in time"), (elsewhere, "elsewhere.example"),
        ];
        s.commit("", "Start").await;
        let clone = s.checkout();
        for (number, (action, cause)) in faults.into_iter().enumerate() {
            let (id, short) = group(s, &format!("Push{number}Error")).await;
            // More commits than a webhook holds: the first must be fetched.
            for step in 1..=7 {
                let message = if step == 1 { format!("Fixes {short}") } else { format!("Step {step}") };
                git(&clone, &["commit", "-q", "--allow-empty", "-m", &message]);
            }
            s.bitbucket.add_fault(Fault::always("GET", "/commits", action.clone()));
            git(&clone, &["push", "-q", "origin", "main"]);
            s.settle().await;
            let (_, state, error, _) = s.deliveries().await.pop().unwrap();
            assert_eq!(state, "ready", "{action:?}");
            assert!(error.as_ref().unwrap().contains(cause), "{action:?}: {error:?}");
            assert_eq!(s.group_status(id).await, "unresolved");
            s.bitbucket.clear_faults();
            let begun = Instant::now();
            while s.deliveries().await.pop().unwrap().1 != "done" {
                assert!(begun.elapsed() < PATIENCE, "{action:?}: {:?}", s.deliveries().await.pop());
                make_due(&s.t).await;
                s.t.run_jobs().await;
            }
            assert_eq!(s.group_status(id).await, "resolved", "{action:?}");
        }
    }
}

scenes! {
    async fn commits_that_bitbucket_does_not_have_are_said_to_be_missing(s) {
        s.commit("", "Start").await;
        let clone = s.checkout();
        for code in [404, 410] {
            let (id, short) = group(s, &format!("Gone{code}Error")).await;
            for step in 1..=7 {
                let message = if step == 1 { "Refactor".to_owned() } else { format!("Fixes {short}, step {step}") };
                git(&clone, &["commit", "-q", "--allow-empty", "-m", &message]);
            }
            s.bitbucket.add_fault(Fault::always("GET", "/commits", Action::Status { status: code, retry_after: None, body: None }));
            git(&clone, &["push", "-q", "origin", "main"]);
            s.settle().await;
            s.bitbucket.clear_faults();
            let (_, state, error, outcome) = s.deliveries().await.pop().unwrap();
            assert_eq!(state, "done", "{code}: asking again would not help, {error:?}");
            let outcome = outcome.unwrap();
            assert!(outcome.contains("could not be fetched") && outcome.contains(&code.to_string()), "{outcome}");
            assert_eq!(s.group_status(id).await, "resolved", "what came with the webhook counts");
        }
    }
}
