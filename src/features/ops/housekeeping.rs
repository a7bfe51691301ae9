//! What would otherwise only grow: done jobs and expired sessions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::AppError;
use crate::features::accounts;
use crate::kit::jobs::{self, Attempt, Job, Queue, Verdict};

/// Done jobs are kept this long for the dashboard; dead ones stay until a person decides.
const KEEP_DONE: Duration = Duration::from_secs(7 * 86_400);
/// Rows deleted in one transaction.
const SLICE: i64 = 1_000;

/// The hourly round.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Housekeeping {}

impl Housekeeping {
    /// How often it runs.
    pub const EVERY: Duration = Duration::from_secs(3_600);
}

impl Job for Housekeeping {
    type State = App;
    const KIND: &'static str = "ops.housekeeping";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some("round".to_owned())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let now = app.clock.now();
        loop {
            let gone = app
                .db
                .write(move |tx| Ok::<_, AppError>(jobs::prune(tx, now.minus(KEEP_DONE), SLICE)?))
                .await?;
            if i64::try_from(gone).unwrap_or(0) < SLICE {
                break;
            }
        }
        app.db
            .write(move |tx| {
                accounts::purge_invitations(tx, now)?;
                Ok::<_, AppError>(accounts::purge_sessions(tx, now)?)
            })
            .await?;
        Ok(Verdict::Done)
    }
}
