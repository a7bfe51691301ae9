//! What would otherwise only grow: the log, the kept answers, the slots of hours that are over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::slots::{first_counted, slot_of};
use super::{log, store};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::kit::jobs::{Attempt, Job, Queue, Stop, Verdict};

/// How long calls are kept, and how many of one connection.
const KEEP_CALLS: Duration = Duration::from_secs(7 * 86_400);
const MOST_CALLS: i64 = 2_000;
/// A credential that nobody has used for so long is forgotten.
const KEEP_BUDGETS: Duration = Duration::from_secs(30 * 86_400);
/// Rows deleted in one transaction.
const SLICE: i64 = 500;

/// The round that keeps every table within its bounds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Upkeep {}

impl Upkeep {
    /// How often it runs; a process that stores much asks for a round of its own.
    pub const EVERY: Duration = Duration::from_secs(600);
}

impl Job for Upkeep {
    type State = App;
    const KIND: &'static str = "calls.upkeep";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some("round".to_owned())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        evict(&app).await?;
        trim(&app).await?;
        let now = app.clock.now();
        app.db
            .write(move |tx| {
                let slot = first_counted(slot_of(now));
                Ok::<_, AppError>(store::prune_budgets(tx, slot, now.minus(KEEP_BUDGETS))?)
            })
            .await?;
        Ok(Verdict::Done)
    }
}

/// Lets the answers go that were not used for longest, until nine tenths of the room are taken.
async fn evict(app: &App) -> AppResult<()> {
    let room = i64::try_from(app.config.bitbucket_cache).unwrap_or(i64::MAX);
    let kept = app
        .db
        .read(|conn| Ok::<_, AppError>(store::kept_bytes(conn)?))
        .await?;
    if kept <= room {
        return Ok(());
    }
    let mut surplus = kept.saturating_sub(room / 10 * 9);
    while surplus > 0 {
        let freed = app
            .db
            .write(move |tx| Ok::<_, AppError>(store::evict_answers(tx, surplus, SLICE)?))
            .await?;
        if freed == 0 {
            break;
        }
        surplus = surplus.saturating_sub(freed);
    }
    Ok(())
}

async fn trim(app: &App) -> AppResult<()> {
    let before = app.clock.now().minus(KEEP_CALLS);
    loop {
        let gone = app
            .db
            .write(move |tx| Ok::<_, AppError>(store::prune_calls(tx, before, SLICE)?))
            .await?;
        if i64::try_from(gone).unwrap_or(0) < SLICE {
            break;
        }
    }
    let crowded = app
        .db
        .read(|conn| Ok::<_, AppError>(store::crowded_links(conn, MOST_CALLS)?))
        .await?;
    for (org, link) in crowded {
        app.db
            .write(move |tx| Ok::<_, AppError>(store::trim_calls(tx, org, link, MOST_CALLS)?))
            .await?;
    }
    Ok(())
}

/// Writes down the calls of this process; the runner asks about once a second. It never finds work for another round.
///
/// # Errors
/// When the database fails.
pub async fn drain(app: App, _: Stop) -> anyhow::Result<usize> {
    log::flush_old(&app).await?;
    Ok(0)
}
