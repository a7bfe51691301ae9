//! The outbox: nothing lost, nothing twice at the same time, newer requests not swallowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tracebucket::error::AppError;
use tracebucket::kit::clock::Clock;
use tracebucket::kit::db::Db;
use tracebucket::kit::jobs::{self, Attempt, Job, Queue, Registry, Runner, RunnerConfig, Verdict};

use crate::support::{TestApp, both, until};

#[derive(Clone, Default)]
struct World {
    runs: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    overlaps: Arc<AtomicUsize>,
    clicks: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    gate: Arc<Notify>,
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
                let now = Clock::system().now();
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

/// Takes a slot of its queue until the gate opens; the first run waits, later ones do not.
#[derive(Serialize, Deserialize)]
struct Held {
    verdict: String,
}

impl Job for Held {
    type State = World;
    const KIND: &'static str = "test.held";
    const QUEUE: Queue = Queue::Backfill;
    async fn run(self, world: World, attempt: Attempt) -> anyhow::Result<Verdict> {
        world.runs.fetch_add(1, Ordering::SeqCst);
        if attempt.number == 1 {
            world.gate.notified().await;
        }
        world.ended.fetch_add(1, Ordering::SeqCst);
        Ok(match (self.verdict.as_str(), attempt.number) {
            ("dead at first", 1) => Verdict::Dead("a late word".into()),
            _ => Verdict::Done,
        })
    }
}

/// A click: nothing large may hold it up.
#[derive(Serialize, Deserialize)]
struct Click;

impl Job for Click {
    type State = World;
    const KIND: &'static str = "test.click";
    const QUEUE: Queue = Queue::Interactive;
    async fn run(self, world: World, _: Attempt) -> anyhow::Result<Verdict> {
        world.clicks.fetch_add(1, Ordering::SeqCst);
        Ok(Verdict::Done)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Tick;

impl Job for Tick {
    type State = World;
    const KIND: &'static str = "test.tick";
    async fn run(self, world: World, _: Attempt) -> anyhow::Result<Verdict> {
        world.runs.fetch_add(1, Ordering::SeqCst);
        Ok(Verdict::Done)
    }
}

const LEASE: Duration = Duration::from_millis(2_000);

fn runner(t: &TestApp, world: &World) -> Runner<World> {
    let registry = Registry::default()
        .job::<Count>()
        .job::<Held>()
        .job::<Click>();
    runner_of(t, world, registry, t.app.clock.clone())
}

fn runner_of(t: &TestApp, world: &World, registry: Registry<World>, clock: Clock) -> Runner<World> {
    let config = RunnerConfig {
        lease: LEASE,
        ..RunnerConfig::default()
    };
    Runner::new(
        Arc::new(registry),
        t.app.db.for_jobs(),
        clock,
        world.clone(),
        config,
    )
}

async fn put<J: Job<State = World>>(t: &TestApp, job: J) {
    let now = t.app.clock.now();
    t.app
        .db
        .write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &job, now)?))
        .await
        .unwrap();
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
        let (stop, stopped) = watch::channel(false);
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
        // Time stands still, so that no wait ends before it is looked at.
        let begun = t.app.clock.now();
        let runner = runner_of(&t, &world, Registry::default().job::<Count>(), Clock::fixed(begun));
        runner.run_until_idle().await.unwrap();
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

    async fn a_run_that_is_alive_is_not_taken_away(t) {
        let world = World::default();
        let (stop, stopped) = watch::channel(false);
        let tasks: Vec<_> = [runner(&t, &world), runner(&t, &world)].into_iter().map(|r| tokio::spawn(r.run(stopped.clone()))).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        put(&t, Held { verdict: "done".into() }).await;
        until("it runs", async || world.runs.load(Ordering::SeqCst) == 1).await;
        tokio::time::sleep(LEASE * 3).await;
        assert_eq!(states(&t).await.running, 1);
        world.gate.notify_one();
        until("it is done", async || states(&t).await.done == 1).await;
        stop.send(true).unwrap();
        for task in tasks { task.await.unwrap(); }
        assert_eq!(world.runs.load(Ordering::SeqCst), 1);
    }

    async fn a_run_that_fell_silent_is_taken_back_and_its_late_end_is_ignored(t) {
        let (silent, alive) = (World::default(), World::default());
        put(&t, Held { verdict: "dead at first".into() }).await;
        // Without its housekeeping a runner sends no heartbeats, as a process that hangs.
        let hangs = runner(&t, &silent);
        let late = tokio::spawn(async move { hangs.run_until_idle().await });
        until("it runs", async || silent.runs.load(Ordering::SeqCst) == 1).await;
        tokio::time::sleep(LEASE).await;
        let (stop, stopped) = watch::channel(false);
        let other = tokio::spawn(runner(&t, &alive).run(stopped));
        until("the other did it", async || states(&t).await.done == 1).await;
        assert_eq!((alive.runs.load(Ordering::SeqCst), silent.ended.load(Ordering::SeqCst)), (1, 0));
        silent.gate.notify_one();
        late.await.unwrap().unwrap();
        assert_eq!(silent.ended.load(Ordering::SeqCst), 1);
        assert_eq!(states(&t).await, jobs::JobCounts { done: 1, ..Default::default() });
        stop.send(true).unwrap();
        other.await.unwrap();
    }

    async fn a_full_queue_holds_up_no_other(t) {
        let world = World::default();
        for _ in 0..10 { put(&t, Held { verdict: "done".into() }).await; }
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(runner(&t, &world).run(stopped));
        until("its slots are taken", async || world.runs.load(Ordering::SeqCst) == 2).await;
        put(&t, Click).await;
        until("the click is done", async || world.clicks.load(Ordering::SeqCst) == 1).await;
        assert_eq!(world.runs.load(Ordering::SeqCst), 2, "no more than its slots");
        for _ in 0..10 {
            let before = world.ended.load(Ordering::SeqCst);
            world.gate.notify_one();
            until("one more ends", async || world.ended.load(Ordering::SeqCst) > before).await;
        }
        until("all are done", async || states(&t).await.done == 11).await;
        stop.send(true).unwrap();
        task.await.unwrap();
    }

    async fn a_periodic_job_is_made_once_per_period_by_all(t) {
        let world = World::default();
        let (stop, stopped) = watch::channel(false);
        let tasks: Vec<_> = (0..3).map(|_| {
            let registry = Registry::default().periodic::<Tick>(Duration::from_secs(3_600));
            tokio::spawn(runner_of(&t, &world, registry, t.app.clock.clone()).run(stopped.clone()))
        }).collect();
        until("it ran", async || world.runs.load(Ordering::SeqCst) >= 1).await;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(world.runs.load(Ordering::SeqCst), 1);
        stop.send(true).unwrap();
        for task in tasks { task.await.unwrap(); }
        assert_eq!(states(&t).await.done, 1);
    }
}
