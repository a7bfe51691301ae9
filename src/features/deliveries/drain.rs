//! Claiming stored deliveries and keeping them going, repositories side by side.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::jobs::work_on_repo;
use super::store::{self, Claimed};
use crate::app::App;
use crate::error::AppError;
use crate::features::links::RepoId;
use crate::kit::crypto::random_hex;
use crate::kit::jobs::Stop;

/// Deliveries that this process works on at a time.
const BATCH: usize = 64;
/// A claim ends when it was not extended for this long: then its process is gone.
const LEASE: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between two looks for more while some are being worked on: at once when there was news, else now and then.
const AFTER_NEWS: Duration = Duration::from_millis(50);
const WITHOUT_NEWS: Duration = Duration::from_secs(1);
/// How long a look is put off at most while a crowd of requests is being answered.
const GIVE_WAY: Duration = Duration::from_millis(100);
/// How long those being worked on may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(10);

/// This process as the holder of claims.
struct Holder {
    owner: String,
    has_started: AtomicBool,
}

impl Default for Holder {
    fn default() -> Self {
        Self {
            owner: format!("{}-{}", std::process::id(), random_hex(8)),
            has_started: AtomicBool::new(false),
        }
    }
}

/// Works on due deliveries until none is left; answers how many. A repository that takes long holds up itself
/// alone: its slots apart, others are claimed meanwhile.
///
/// # Errors
/// When the database fails and nothing is being worked on.
pub async fn drain(app: App, stop: Stop) -> anyhow::Result<usize> {
    let holder = app.cache::<Holder>();
    // One server per SQLite file: what another owner holds belongs to a process that is gone.
    if app.db.url().is_sqlite() && !holder.has_started.swap(true, Ordering::SeqCst) {
        let (owner, now) = (holder.owner.clone(), app.clock.now());
        app.db
            .write(move |tx| Ok::<_, AppError>(store::release_others(tx, &owner, now)?))
            .await?;
    }
    tokio::select! {
        done = work(&app, &holder.owner, stop) => done,
        never = extend_claims(&app, &holder.owner) => match never {},
    }
}

async fn work(app: &App, owner: &str, mut stop: Stop) -> anyhow::Result<usize> {
    let bells = app.db.bells();
    let mut running = FuturesUnordered::new();
    let (mut in_flight, mut done) = (0, 0);
    loop {
        // Before looking, so that no arrival is lost in between.
        let mut arrived = pin!(bells.drains.notified());
        arrived.as_mut().enable();
        app.db.give_way(GIVE_WAY).await;
        let claimed = match claim(app, owner, BATCH - in_flight).await {
            Err(error) if running.is_empty() => return Err(error),
            // What is being worked on must come to its end; then the failure is told, if it is still there.
            Err(error) => {
                tracing::warn!(error = ?error, "cannot claim deliveries; will look again");
                Vec::new()
            }
            Ok(claimed) => claimed,
        };
        in_flight += claimed.len();
        let is_full = in_flight >= BATCH;
        for queue in by_repository(claimed) {
            let count = queue.len();
            running.push(async move {
                work_on_repo(app, owner, queue).await;
                count
            });
        }
        if running.is_empty() {
            return Ok(done);
        }
        let looked = Instant::now();
        let (mut news, mut rung) = (false, false);
        loop {
            let pause = if news { AFTER_NEWS } else { WITHOUT_NEWS };
            tokio::select! {
                Some(count) = running.next() => {
                    (in_flight, done, news) = (in_flight - count, done + count, true);
                    if running.is_empty() || is_full && in_flight <= BATCH / 2 {
                        break;
                    }
                }
                () = &mut arrived, if !rung => (news, rung) = (true, true),
                () = tokio::time::sleep_until(looked + pause), if in_flight < BATCH => break,
                () = stop.signal() => {
                    let rest = async { while let Some(count) = running.next().await { done += count; } };
                    if tokio::time::timeout(GRACE, rest).await.is_err() {
                        give_back(app, owner).await;
                    }
                    return Ok(done);
                }
            }
        }
    }
}

/// Claims up to `limit` due deliveries and reads them.
async fn claim(app: &App, owner: &str, limit: usize) -> anyhow::Result<Vec<Claimed>> {
    let now = app.clock.now();
    let is_due = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::any_due(conn, now)?));
    if !is_due.await? {
        return Ok(Vec::new());
    }
    let owner = owner.to_owned();
    let ids = app
        .db
        .write(move |tx| Ok::<_, AppError>(store::claim(tx, &owner, now, LEASE, limit)?))
        .await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(app
        .db
        .read(move |conn| Ok::<_, AppError>(store::load_claimed(conn, &ids)?))
        .await?)
}

fn by_repository(claimed: Vec<Claimed>) -> impl Iterator<Item = Vec<Claimed>> {
    let mut queues: BTreeMap<RepoId, Vec<Claimed>> = BTreeMap::new();
    for delivery in claimed {
        queues.entry(delivery.repo_id).or_default().push(delivery);
    }
    queues.into_values()
}

/// Keeps the claims of this process for as long as it is polled.
async fn extend_claims(app: &App, owner: &str) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let (owner, until) = (owner.to_owned(), app.clock.now().plus(LEASE));
        let extended: Result<usize, AppError> = app
            .db
            .write(move |tx| Ok(store::extend(tx, &owner, until)?))
            .await;
        if let Err(error) = extended {
            tracing::warn!(error = ?error, "cannot extend the claims of deliveries");
        }
    }
}

/// What was not done in time is due again at once, for whoever works next.
async fn give_back(app: &App, owner: &str) {
    let (owner, now) = (owner.to_owned(), app.clock.now());
    let released: Result<usize, AppError> = app
        .db
        .write(move |tx| Ok(store::release(tx, &owner, now)?))
        .await;
    match released {
        Ok(count) => tracing::info!(count, "deliveries were given back at the stop"),
        Err(error) => {
            tracing::warn!(error = ?error, "cannot give deliveries back; their claims end by themselves")
        }
    }
}
