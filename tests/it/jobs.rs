//! The outbox: nothing lost, nothing twice at the same time, newer requests not swallowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracebucket::error::AppError;
use tracebucket::kit::db::Db;
use tracebucket::kit::jobs::{self, Attempt, Job, Registry, Runner, RunnerConfig, Verdict};

use crate::support::{TestApp, both};

#[derive(Clone, Default)]
struct World {
    runs: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    overlaps: Arc<AtomicUsize>,
    db: Option<Db>,
}

#[derive(Serialize, Deserialize)]
struct Count {
    key: Option<String>,
    verdict: String,
}

impl Job for Count {
    type State = World;
    const KIND: &'static str = "test.count";
    const MAX_ATTEMPTS: i32 = 3;
    fn dedupe_key(&self) -> Option<String> {
        self.key.clone()
    }
    async fn run(self, world: World, _: Attempt) -> anyhow::Result<Verdict> {
        world.runs.fetch_add(1, Ordering::SeqCst);
        if self.key.is_some() && world.running.fetch_add(1, Ordering::SeqCst) > 0 {
            world.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        match self.verdict.as_str() {
            "slow" => tokio::time::sleep(Duration::from_millis(300)).await,
            "fail" => anyhow::bail!("on purpose"),
            "panic" => panic!("on purpose"),
            "dead" => return Ok(Verdict::Dead("it can never work".into())),
            "again" => {
                // A change made while its own job is in flight asks for the same job again.
                let db = world.db.clone().unwrap();
                let now = tracebucket::kit::clock::Clock::system().now();
                db.write(move |tx| {
                    let next = Count {
                        key: Some("again".into()),
                        verdict: "done".into(),
                    };
                    Ok::<_, AppError>(jobs::enqueue(tx, &next, now)?)
                })
                .await?;
            }
            _ => {}
        }
        if self.key.is_some() {
            world.running.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(Verdict::Done)
    }
}

fn runner(t: &TestApp, world: &World) -> Runner<World> {
    let registry = Registry::default().job::<Count>();
    Runner::new(
        Arc::new(registry),
        t.app.db.for_jobs(),
        t.app.clock.clone(),
        world.clone(),
        RunnerConfig::default(),
    )
}

async fn enqueue(t: &TestApp, key: Option<&str>, verdict: &str) {
    let (key, verdict, now) = (
        key.map(str::to_owned),
        verdict.to_owned(),
        t.app.clock.now(),
    );
    t.app
        .db
        .write(move |tx| {
            let job = Count {
                key: key.clone(),
                verdict: verdict.clone(),
            };
            Ok::<_, AppError>(jobs::enqueue(tx, &job, now)?)
        })
        .await
        .unwrap();
}

async fn states(t: &TestApp) -> jobs::JobCounts {
    t.app
        .db
        .read(|conn| Ok::<_, AppError>(jobs::counts(conn)?))
        .await
        .unwrap()
}

both! {
    async fn waiting_twins_are_one_and_a_running_one_does_not_swallow_the_next(t) {
        let world = World { db: Some(t.app.db.clone()), ..World::default() };
        enqueue(&t, Some("a"), "done").await;
        enqueue(&t, Some("a"), "done").await;
        assert_eq!(states(&t).await.ready, 1);
        enqueue(&t, Some("again"), "again").await;
        assert_eq!(runner(&t, &world).run_until_idle().await.unwrap(), 3, "a, again, and what again asked for");
        assert_eq!(states(&t).await, jobs::JobCounts { done: 3, ..Default::default() });
    }

    async fn two_processes_share_four_hundred_jobs_without_doubles(t) {
        let world = World::default();
        for number in 0..400 {
            enqueue(&t, None, if number % 50 == 0 { "slow" } else { "done" }).await;
        }
        let (one, two) = (runner(&t, &world), runner(&t, &world));
        let (one, two) = tokio::join!(one.run_until_idle(), two.run_until_idle());
        assert_eq!(one.unwrap() + two.unwrap(), 400);
        assert_eq!(world.runs.load(Ordering::SeqCst), 400);
        assert_eq!(states(&t).await.done, 400);
    }

    async fn jobs_of_one_key_never_run_together(t) {
        let world = World::default();
        let runners = [runner(&t, &world), runner(&t, &world)];
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let tasks: Vec<_> = runners.into_iter().map(|r| tokio::spawn(r.run(stopped.clone()))).collect();
        for _ in 0..4 {
            enqueue(&t, Some("one"), "slow").await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        for _ in 0..100 {
            let now = states(&t).await;
            if now.ready + now.running == 0 { break; }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stop.send(true).unwrap();
        for task in tasks { task.await.unwrap(); }
        assert_eq!(world.overlaps.load(Ordering::SeqCst), 0);
        assert!(world.runs.load(Ordering::SeqCst) >= 2);
        assert_eq!(states(&t).await.dead, 0);
    }

    async fn failures_wait_and_the_hopeless_are_kept_until_redriven(t) {
        let world = World::default();
        enqueue(&t, None, "fail").await;
        enqueue(&t, None, "panic").await;
        enqueue(&t, None, "dead").await;
        let begun = t.app.clock.now();
        runner(&t, &world).run_until_idle().await.unwrap();
        assert_eq!(states(&t).await, jobs::JobCounts { ready: 2, dead: 1, ..Default::default() });
        let dead = t.dead_jobs().await.remove(0);
        assert_eq!(dead.last_error.as_deref(), Some("it can never work"));
        let now = t.app.clock.now();
        let again = t.app.db.write(move |tx| Ok::<_, AppError>(jobs::redrive(tx, None, dead.id, now)?)).await.unwrap();
        assert!(again);
        assert_eq!(states(&t).await.ready, 3);
        let waiting = t.app.db.read(|c| Ok::<_, AppError>(jobs::list(c, &jobs::Filter { state: Some(jobs::JobState::Ready), ..Default::default() }, 9)?)).await.unwrap();
        let failed = waiting.iter().find(|job| job.last_error.as_deref() == Some("on purpose")).unwrap();
        assert!(failed.run_at >= begun.plus(Duration::from_millis(1_600)) && failed.attempts == 1);
    }

    async fn an_unknown_kind_and_an_unreadable_payload_are_dead_not_a_loop(t) {
        enqueue(&t, None, "done").await;
        let world = World::default();
        let empty: Registry<World> = Registry::default();
        let nobody = Runner::new(Arc::new(empty), t.app.db.for_jobs(), t.app.clock.clone(), world, RunnerConfig::default());
        nobody.run_until_idle().await.unwrap();
        let dead = t.dead_jobs().await;
        assert_eq!(dead.len(), 1);
        assert!(dead[0].last_error.as_deref().unwrap().contains("test.count"));
    }
}
