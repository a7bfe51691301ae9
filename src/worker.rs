//! Which jobs there are, and which follow which event: two tables.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::features::groups::jobs::{EraseGroup, Retention as EventRetention};
use crate::features::groups::{GroupRegressed, GroupResolved, GroupUnresolved};
use crate::features::{calls, deliveries, links, ops, tickets};
use crate::kit::jobs::{Followers, Registry, Runner, RunnerConfig};

/// One line per job kind.
#[must_use]
pub fn registry() -> Registry<App> {
    Registry::default()
        .job::<links::SyncRepos>()
        .job::<links::EnsureHook>()
        .job::<links::AddRepos>()
        .job::<links::RemoveHook>()
        .job::<links::ForgetCredential>()
        .job::<links::ProbeLink>()
        .periodic::<links::LookAfter>(links::LookAfter::EVERY)
        .periodic::<links::Digest>(links::Digest::EVERY)
        .drain("deliveries", deliveries::drain)
        .drain("calls", calls::drain)
        .periodic::<calls::Upkeep>(calls::Upkeep::EVERY)
        .periodic::<deliveries::Retention>(deliveries::Retention::EVERY)
        .periodic::<ops::Housekeeping>(ops::Housekeeping::EVERY)
        .periodic::<links::CheckHooks>(links::CheckHooks::EVERY)
        .job::<tickets::FinishCreate>()
        .job::<tickets::PostComment>()
        .job::<tickets::SyncStatus>()
        .periodic::<tickets::ResumePending>(tickets::ResumePending::EVERY)
        .job::<EraseGroup>()
        .periodic::<EventRetention>(Duration::from_secs(3_600))
}

/// One line per event and follower.
#[must_use]
pub fn followers() -> Followers {
    Followers::default()
        .on(|event: &GroupResolved| {
            Some(tickets::SyncStatus {
                org: event.org,
                group: event.group,
            })
        })
        .on(|event: &GroupUnresolved| {
            Some(tickets::SyncStatus {
                org: event.org,
                group: event.group,
            })
        })
        .on(|event: &GroupRegressed| {
            Some(tickets::SyncStatus {
                org: event.org,
                group: event.group,
            })
        })
}

/// A runner of this process.
#[must_use]
pub fn runner(app: &App) -> Runner<App> {
    let app = app.for_jobs();
    Runner::new(
        Arc::new(registry()),
        app.db.clone(),
        app.clock.clone(),
        app,
        RunnerConfig::default(),
    )
}
