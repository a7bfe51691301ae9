//! Claims jobs and runs them.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::job::{Attempt, Queue, Verdict};
use super::queue::{self, Claimed, Ending, JobId, Run};
use super::registry::{Registry, Stop};
use super::schedule::{postponed_for, wait_after};
use crate::kit::clock::Clock;
use crate::kit::crypto::token::random_hex;
use crate::kit::db::{Db, DbError};

/// Heartbeats in the time of one lease.
const BEATS: u32 = 3;
/// How often the tables are looked at without a wake-up.
const POLL: Duration = Duration::from_secs(1);

/// Slots per queue, and how long is waited for a silent process and for the last jobs.
#[derive(Debug, Clone, Copy)]
pub struct RunnerConfig {
    /// Jobs of [`Queue::Interactive`] at a time.
    pub interactive: usize,
    /// Jobs of [`Queue::Sync`] at a time.
    pub sync: usize,
    /// Jobs of [`Queue::Backfill`] at a time.
    pub backfill: usize,
    /// Others take a job back when its lease was not extended for this long.
    pub lease: Duration,
    /// How long running jobs may go on after the signal to stop.
    pub grace: Duration,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            interactive: 4,
            sync: 8,
            backfill: 2,
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

impl RunnerConfig {
    /// Slots of one queue.
    #[must_use]
    pub fn slots(&self, queue: Queue) -> usize {
        match queue {
            Queue::Interactive => self.interactive,
            Queue::Sync => self.sync,
            Queue::Backfill => self.backfill,
        }
    }
}

/// Runs the jobs of a registry. Clones share the owner name, so they are one process to the leases.
pub struct Runner<S> {
    registry: Arc<Registry<S>>,
    db: Db,
    clock: Clock,
    state: S,
    config: RunnerConfig,
    owner: Arc<str>,
    /// What runs here now: only this is kept alive, so that a claim whose answer was lost, or an ending that could
    /// not be recorded, is taken back like the job of a dead process.
    held: Arc<Mutex<HashSet<Run>>>,
}

impl<S: Clone> Clone for Runner<S> {
    fn clone(&self) -> Self {
        Self {
            registry: Arc::clone(&self.registry),
            db: self.db.clone(),
            clock: self.clock.clone(),
            state: self.state.clone(),
            config: self.config,
            owner: Arc::clone(&self.owner),
            held: Arc::clone(&self.held),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Runner<S> {
    /// A runner that has not started; `db` should be [`Db::for_jobs`].
    #[must_use]
    pub fn new(
        registry: Arc<Registry<S>>,
        db: Db,
        clock: Clock,
        state: S,
        config: RunnerConfig,
    ) -> Self {
        let owner = Arc::from(format!("{}-{}", std::process::id(), random_hex(8)));
        Self {
            registry,
            db,
            clock,
            state,
            config,
            owner,
            held: Arc::default(),
        }
    }

    /// Works until `stop` turns true, then waits for what is running ([`RunnerConfig::grace`]) and gives the rest
    /// back.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        if self.db.url().is_sqlite() {
            // One server per file: whatever is still marked running belongs to a process that is gone.
            self.reclaim(true).await;
        }
        let mut tasks = JoinSet::new();
        for queue in Queue::ALL {
            tasks.spawn(self.clone().work_queue(*queue, stop.clone()));
        }
        for (name, _) in &self.registry.drains {
            tasks.spawn(self.clone().work_drain(name, stop.clone()));
        }
        tasks.spawn(self.clone().keep_house(stop));
        while tasks.join_next().await.is_some() {}
        self.give_back().await;
    }

    /// What did not end in time is due again at once, for whoever runs next.
    async fn give_back(&self) {
        let held: Vec<Run> = self.held().drain().collect();
        if held.is_empty() {
            return;
        }
        let (owner, now) = (Arc::clone(&self.owner), self.clock.now());
        let given: Result<(), DbError> = self
            .db
            .write(move |tx| {
                for run in &held {
                    let ending = Ending::Later {
                        at: now,
                        message: "the server stopped before this was done".into(),
                    };
                    queue::finish(tx, *run, &owner, &ending, now)?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = given {
            tracing::warn!(error = %error, "cannot give jobs back; their leases end by themselves");
        }
    }

    /// Runs everything that is due now, and what that makes due, one after the other. For tests and tools.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_until_idle(&self) -> Result<usize, DbError> {
        let mut total = 0;
        loop {
            let mut count = 0;
            for (name, drain) in &self.registry.drains {
                match drain(self.state.clone(), Stop::never()).await {
                    Ok(done) => count += done,
                    Err(error) => tracing::error!(
                        drain = name,
                        error = format!("{error:#}"),
                        "a drain failed"
                    ),
                }
            }
            for queue in Queue::ALL {
                for job in self.claim(*queue, 16).await? {
                    self.run_one(job).await;
                    count += 1;
                }
            }
            if count == 0 {
                return Ok(total);
            }
            total += count;
        }
    }

    async fn work_queue(self, queue: Queue, mut stop: watch::Receiver<bool>) {
        let slots = self.config.slots(queue);
        let free = Arc::new(Semaphore::new(slots));
        let mut running = JoinSet::new();
        let bells = self.db.bells();
        while !*stop.borrow() {
            // Register for the wake-up before looking, so that none is lost in between.
            let woken = bells.jobs.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let available = free.available_permits();
            let claimed = if available == 0 {
                Vec::new()
            } else {
                self.claim(queue, available).await.unwrap_or_else(|error| {
                    tracing::warn!(queue = %queue, error = %error, "cannot claim jobs; will look again");
                    Vec::new()
                })
            };
            let more = !claimed.is_empty();
            for job in claimed {
                let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
                    return;
                };
                let runner = self.clone();
                running.spawn(async move {
                    runner.run_one(job).await;
                    drop(permit);
                });
            }
            while running.try_join_next().is_some() {}
            if more {
                continue;
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(POLL) => {}
                // A slot that becomes free may have a successor waiting (same key, same order key).
                Some(_) = running.join_next() => {}
                _ = stop.changed() => {}
            }
        }
        let _ = tokio::time::timeout(self.config.grace, async {
            while running.join_next().await.is_some() {}
        })
        .await;
    }

    async fn work_drain(self, name: &'static str, mut stop: watch::Receiver<bool>) {
        let Some(drain) = self
            .registry
            .drains
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, d)| Arc::clone(d))
        else {
            return;
        };
        let bells = self.db.bells();
        while !*stop.borrow() {
            let woken = bells.drains.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            match AssertUnwindSafe(drain(self.state.clone(), Stop(stop.clone())))
                .catch_unwind()
                .await
            {
                Ok(Ok(done)) if done > 0 => continue,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::error!(
                        drain = name,
                        error = format!("{error:#}"),
                        "a drain failed; will look again"
                    );
                }
                Err(_) => tracing::error!(drain = name, "a drain panicked; will look again"),
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(POLL) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Heartbeats, expired leases, periodic jobs.
    async fn keep_house(self, mut stop: watch::Receiver<bool>) {
        let mut beat = tokio::time::interval(self.config.lease / BEATS);
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    self.extend_leases().await;
                    self.reclaim(false).await;
                }
                _ = tick.tick() => self.start_periodic().await,
                _ = stop.changed() => return,
            }
        }
    }

    async fn extend_leases(&self) {
        let held: Vec<JobId> = self.held().iter().map(|run| run.id).collect();
        if held.is_empty() {
            return;
        }
        let owner = Arc::clone(&self.owner);
        let until = self.clock.now().plus(self.config.lease);
        let extended: Result<usize, DbError> = self
            .db
            .write(move |tx| Ok(queue::heartbeat(tx, &owner, &held, until)?))
            .await;
        if let Err(error) = extended {
            tracing::warn!(error = %error, "cannot extend the leases of running jobs");
        }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<Run>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reclaim(&self, all: bool) {
        let (owner, now) = (Arc::clone(&self.owner), self.clock.now());
        let reclaimed: Result<usize, DbError> = self
            .db
            .write(move |tx| Ok(queue::reclaim(tx, all.then_some(&*owner), now)?))
            .await;
        match reclaimed {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "took back jobs of a process that ended"),
            Err(error) => tracing::warn!(error = %error, "cannot take back jobs"),
        }
    }

    /// Enqueues the periodic jobs that are due.
    pub(super) async fn start_periodic(&self) {
        let registry = Arc::clone(&self.registry);
        let now = self.clock.now();
        if registry.periodic.is_empty() {
            return;
        }
        // A read first: most ticks have nothing to do and should not take the write door.
        let names: Vec<_> = registry.periodic.iter().map(|p| p.name).collect();
        let due: Result<bool, DbError> = self
            .db
            .read(move |conn| Ok(queue::any_periodic_due(conn, &names, now)?))
            .await;
        if !due.unwrap_or(true) {
            return;
        }
        let made: Result<(), DbError> = self
            .db
            .write(move |tx| {
                for periodic in &registry.periodic {
                    if queue::periodic_due(tx, periodic.name, periodic.every, now)? {
                        (periodic.enqueue)(tx, now)?;
                    }
                }
                Ok(())
            })
            .await;
        if let Err(error) = made {
            tracing::warn!(error = %error, "cannot enqueue periodic jobs");
        }
    }

    async fn claim(&self, queue: Queue, limit: usize) -> Result<Vec<Claimed>, DbError> {
        let (owner, now) = (Arc::clone(&self.owner), self.clock.now());
        let limit = i64::try_from(limit).unwrap_or(1);
        // Look before taking the write door: an idle queue then costs one read.
        let due: bool = self
            .db
            .read(move |conn| Ok::<_, DbError>(queue::any_due(conn, queue, now)?))
            .await?;
        if !due {
            return Ok(Vec::new());
        }
        let lease = self.config.lease;
        let claimed: Vec<Claimed> = self
            .db
            .write(move |tx| Ok::<_, DbError>(queue::claim(tx, queue, &owner, now, lease, limit)?))
            .await?;
        self.held().extend(claimed.iter().map(Claimed::run));
        Ok(claimed)
    }

    async fn run_one(&self, job: Claimed) {
        let span = tracing::info_span!("job", job.id = job.id.0, job.kind = %job.kind, job.attempt = job.attempts);
        let attempt = Attempt {
            number: job.attempts,
            last: job.attempts >= job.max_attempts,
        };
        let verdict = match self.registry.handlers.get(job.kind.as_str()) {
            None => Verdict::Dead(format!(
                "this version does not know the job kind {:?}",
                job.kind
            )),
            Some(handler) => {
                let future = handler(job.payload.clone(), self.state.clone(), attempt);
                let result =
                    AssertUnwindSafe(tracing::Instrument::instrument(future, span.clone()))
                        .catch_unwind()
                        .await;
                match result {
                    Ok(Ok(verdict)) => verdict,
                    Ok(Err(error)) => Verdict::Retry {
                        after: None,
                        reason: format!("{error:#}"),
                    },
                    Err(_) => Verdict::Retry {
                        after: None,
                        reason: "the job panicked".into(),
                    },
                }
            }
        };
        let _in_span = span.entered();
        let ending = self.ending(verdict, attempt);
        drop(_in_span);
        let (owner, now) = (Arc::clone(&self.owner), self.clock.now());
        let run = job.run();
        let finished: Result<bool, DbError> = self
            .db
            .write(move |tx| Ok(queue::finish(tx, run, &owner, &ending, now)?))
            .await;
        self.held().remove(&run);
        match finished {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                job.id = job.id.0,
                "the lease was lost before the job ended; its ending is ignored"
            ),
            // The lease ends by itself and the job runs again: at least once.
            Err(error) => {
                tracing::error!(job.id = job.id.0, error = %error, "cannot record the end of a job")
            }
        }
    }

    fn ending(&self, verdict: Verdict, attempt: Attempt) -> Ending {
        match verdict {
            Verdict::Done => Ending::Done { note: None },
            Verdict::Drop(reason) => {
                tracing::info!(reason, "job dropped");
                Ending::Done { note: Some(reason) }
            }
            Verdict::Dead(reason) => {
                tracing::error!(reason, "job is dead");
                Ending::Dead { message: reason }
            }
            Verdict::Postpone { after, reason } => {
                let [byte] = crate::kit::crypto::token::random_bytes::<1>();
                let wait = postponed_for(after, f64::from(byte) / 255.0);
                tracing::info!(reason, wait_ms = wait.as_millis(), "job is postponed");
                Ending::Later {
                    at: self.clock.now().plus(wait),
                    message: reason,
                }
            }
            Verdict::Retry { reason, .. } if attempt.last => {
                tracing::error!(reason, "job is dead: no attempts left");
                Ending::Dead { message: reason }
            }
            Verdict::Retry { after, reason } => {
                let [byte] = crate::kit::crypto::token::random_bytes::<1>();
                let wait = wait_after(attempt.number, after, f64::from(byte) / 255.0);
                tracing::warn!(
                    reason,
                    wait_ms = wait.as_millis(),
                    "job will be tried again"
                );
                Ending::Again {
                    at: self.clock.now().plus(wait),
                    message: reason,
                }
            }
        }
    }
}
