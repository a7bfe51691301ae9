//! The hot path: an event finds its group.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::QueryResult;
use serde_json::json;

use super::store::{Tally, hot};
use super::{
    Activity, ActivityKind, Actor, GroupCreated, GroupId, GroupRegressed, GroupStatus, NewEvent,
    log,
};
use crate::features::accounts::{self, ProjectId};
use crate::kit::db::Tx;
use crate::kit::jobs::emit;
use crate::sentry::grouping::GroupingKey;

/// Groups remembered at most; some 50 bytes each.
const REMEMBERED: usize = 20_000;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is in this group, and the next one of its hash may go there without asking.
    Counted(GroupId),
    /// It is in this group; the next one must ask again.
    CountedOnce(GroupId),
    /// It had come before.
    Duplicate,
    /// Its project is gone.
    NoProject,
}

/// Which hash belongs to which group, as far as this process has seen: a hint, which the counting of the commit
/// checks. A wrong hint fails that commit, and [`record`] runs again without it.
#[derive(Default)]
pub struct Known(Mutex<HashMap<(ProjectId, GroupingKey), GroupId>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<(ProjectId, GroupingKey), GroupId>> {
        // Every change is one call on the map: a panic elsewhere cannot leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the last event of this hash went.
    #[must_use]
    pub fn hint(&self, event: &NewEvent) -> Option<GroupId> {
        self.lock().get(&(event.project, event.hash)).copied()
    }

    /// Takes in what [`record`] answered.
    pub fn learn(&self, event: &NewEvent, outcome: Recorded) {
        let key = (event.project, event.hash);
        let mut known = self.lock();
        match outcome {
            Recorded::Counted(group) if known.get(&key) == Some(&group) => {}
            Recorded::Counted(group) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(key, group);
            }
            Recorded::CountedOnce(_) | Recorded::NoProject => {
                known.remove(&key);
            }
            Recorded::Duplicate => {}
        }
    }
}

/// Puts an event into the group of its hash. The insert and the counting happen just before COMMIT, together for
/// all events of that commit; an event that is there already is then not counted.
///
/// With a `hint` no query is made here. A hint that no longer holds (the group was resolved or deleted) fails the
/// commit as a whole, so a closure that is run again must not give it again.
///
/// # Errors
/// When a statement fails.
pub fn record(
    tx: &mut Tx<'_>,
    event: &Arc<NewEvent>,
    hint: Option<GroupId>,
) -> QueryResult<Recorded> {
    if let Some(group) = hint {
        tx.fold::<Tally>(|tally| tally.add(group, event, true));
        return Ok(Recorded::Counted(group));
    }
    let outcome = match hot::lookup(tx, event.project, event.hash)? {
        Some((group, GroupStatus::Resolved)) => after_resolve(tx, event, group)?,
        Some((group, _)) => Recorded::Counted(group),
        None => first_of_its_kind(tx, event)?,
    };
    if let Recorded::Counted(group) | Recorded::CountedOnce(group) = outcome {
        tx.fold::<Tally>(|tally| tally.add(group, event, false));
    }
    Ok(outcome)
}

fn first_of_its_kind(tx: &mut Tx<'_>, event: &NewEvent) -> QueryResult<Recorded> {
    // One at a time per project, so that two processes do not both make the group; the unique hash would refuse
    // the second, at the price of its whole commit.
    tx.lock_key(&format!("groups:{}", event.project))?;
    if let Some((group, status)) = hot::lookup(tx, event.project, event.hash)? {
        return match status {
            GroupStatus::Resolved => after_resolve(tx, event, group),
            _ => Ok(Recorded::Counted(group)),
        };
    }
    if hot::event_exists(tx, event.project, event.event_id)? {
        return Ok(Recorded::Duplicate);
    }
    let Some(short_no) = accounts::take_short_no(tx, event.org, event.project)? else {
        return Ok(Recorded::NoProject);
    };
    let group = hot::insert_group(tx, event, short_no)?;
    let created = GroupCreated {
        org: event.org,
        group,
        project: event.project,
    };
    emit(tx, &created, event.received_at)?;
    Ok(Recorded::Counted(group))
}

/// An event after the fix is a regression, unless its release is known to be without the fix.
fn after_resolve(tx: &mut Tx<'_>, event: &NewEvent, group: GroupId) -> QueryResult<Recorded> {
    if hot::event_exists(tx, event.project, event.event_id)? {
        return Ok(Recorded::Duplicate);
    }
    if let Some(release) = &event.release
        && hot::is_unfixed(tx, group, release)?
    {
        return Ok(Recorded::CountedOnce(group));
    }
    if hot::reopen(tx, group)? {
        let now = event.received_at;
        let data = json!({ "version": event.release.as_deref().unwrap_or_default(), "event_id": event.event_id });
        let system = Actor::system("");
        log(
            tx,
            event.org,
            group,
            &Activity::new(ActivityKind::SetRegression, &system, data),
            now,
        )?;
        emit(
            tx,
            &GroupRegressed {
                org: event.org,
                group,
                release: event.release.clone(),
            },
            now,
        )?;
    }
    Ok(Recorded::Counted(group))
}
