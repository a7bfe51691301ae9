//! Which jobs there are, and which follow which event: two tables.

use std::sync::Arc;

use crate::app::App;
use crate::features::{links, ops};
use crate::kit::jobs::{Followers, Registry, Runner, RunnerConfig};

/// One line per job kind.
#[must_use]
pub fn registry() -> Registry<App> {
    Registry::default()
        .job::<links::SyncRepos>()
        .job::<links::EnsureHook>()
        .job::<links::RemoveHook>()
        .periodic::<ops::Housekeeping>(ops::Housekeeping::EVERY)
        .periodic::<links::CheckHooks>(links::CheckHooks::EVERY)
}

/// One line per event and follower.
#[must_use]
pub fn followers() -> Followers {
    Followers::default()
}

/// A runner of this process.
#[must_use]
pub fn runner(app: &App) -> Runner<App> {
    let app = app.for_jobs();
    Runner::new(Arc::new(registry()), app.db.clone(), app.clock.clone(), app, RunnerConfig::default())
}
