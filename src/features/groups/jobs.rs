//! Background work: erasing deleted groups, and forgetting what is older than the retention.

use serde::{Deserialize, Serialize};

use super::GroupId;
use super::store::retention;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::kit::db::Tx;
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, enqueue};

/// Rows deleted in one transaction at most: inbound requests wait for one of these, never for the whole.
const SLICE: i64 = 500;
/// Groups that retention gives to [`EraseGroup`] in one transaction at most.
const GROUP_SLICE: i64 = 50;

/// Runs `step` in a write of its own until it has nothing left to do.
async fn repeat(
    app: &App,
    step: impl Fn(&mut Tx<'_>) -> AppResult<usize> + Clone + Send + 'static,
) -> AppResult<usize> {
    let mut total = 0;
    loop {
        let done = app.db.write(step.clone()).await?;
        total += done;
        if done == 0 {
            return Ok(total);
        }
    }
}

/// Removes the rows of a group that was deleted.
#[derive(Debug, Serialize, Deserialize)]
pub struct EraseGroup {
    pub(super) org: OrgId,
    pub(super) group: GroupId,
}

impl Job for EraseGroup {
    type State = App;
    const KIND: &'static str = "groups.erase";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some(self.group.to_string())
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let Self { org, group } = self;
        repeat(&app, move |tx| Ok(retention::erase(tx, org, group, SLICE)?)).await?;
        Ok(Verdict::Done)
    }
}

/// Forgets events older than the retention, and groups without events after twice that time: until then their
/// counts, history and tickets can still be read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Retention {}

impl Job for Retention {
    type State = App;
    const KIND: &'static str = "groups.retention";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let now = app.clock.now();
        let events_end = now.minus(app.config.retention);
        let groups_end = events_end.minus(app.config.retention);
        let events = repeat(&app, move |tx| {
            Ok(retention::old_events(tx, events_end, SLICE)?)
        })
        .await?;
        let counters = repeat(&app, move |tx| {
            Ok(retention::old_counters(tx, events_end, SLICE)?)
        })
        .await?;
        let groups = repeat(&app, move |tx| {
            let old = retention::old_groups(tx, groups_end, GROUP_SLICE)?;
            for (org, group) in &old {
                enqueue(
                    tx,
                    &EraseGroup {
                        org: *org,
                        group: *group,
                    },
                    now,
                )?;
            }
            Ok::<_, AppError>(old.len())
        })
        .await?;
        tracing::info!(
            events,
            counters,
            groups,
            "forgot what is older than the retention"
        );
        Ok(Verdict::Done)
    }
}
