//! What stands behind every call that a connection makes at Bitbucket: a budget, a store of answers, and a log.
//!
//! The **budget** is what Bitbucket counts by (an account, a token, a consumer, an installation), so two connections
//! may share one. Every process takes slices of it from the database, a few calls at a time, and no process ever
//! waits for another. Backfill stops first, then the work that keeps the two sides in step; a person may use the hour
//! to its end. Who is told to wait (429) waits in every process, and who is told that little is left leaves it to
//! people. An **answer** that belongs to a full hash is kept and not asked for again; any other is kept if Bitbucket
//! marked it, and asked for with its mark. Kept answers belong to one connection. The **log** has the calls of the last
//! days without anything that came in or went out; it is written once a second, not once a call.

mod budget;
mod cache;
mod jobs;
mod log;
mod slots;
mod store;
mod view;

use std::sync::Arc;

use crate::app::App;
use crate::bitbucket::Behind;
use crate::bitbucket::behind::AnswerCache;
use crate::features::accounts::OrgId;
use crate::kit::crypto::sha256;

pub use jobs::{Upkeep, drain};
pub use log::flush;
pub use view::{Calls, calls_of};

/// Who is charged: a digest of what Bitbucket counts by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BudgetKey {
    digest: String,
    /// Whether calls are counted by the hour. Data Center may limit them, by rules of its administrator that no answer
    /// tells (bitbucket.md §7): there a pause that it asks for holds for every process, and nothing else.
    counted: bool,
}

impl BudgetKey {
    /// `counted_by` names the account, token, consumer or installation; it may be a secret.
    #[must_use]
    pub fn of(counted_by: &str) -> Self {
        let digest = hex::encode(sha256(counted_by.as_bytes()));
        Self {
            digest: digest.chars().take(32).collect(),
            counted: true,
        }
    }

    /// The same, of a host that has no hourly limit.
    #[must_use]
    pub fn uncounted(self) -> Self {
        Self {
            counted: false,
            ..self
        }
    }

    fn as_str(&self) -> &str {
        &self.digest
    }
}

/// What the calls of one connection have behind them. `link` is the row id of the connection.
#[must_use]
pub fn behind(app: &App, org: OrgId, link: i64, budget: BudgetKey) -> Behind {
    let cache: Option<Arc<dyn AnswerCache>> = (app.config.bitbucket_cache > 0)
        .then(|| Arc::new(cache::LinkCache::new(app, org, link)) as Arc<dyn AnswerCache>);
    Behind {
        budget: Arc::new(budget::LinkBudget::new(app, budget)),
        cache,
        log: Arc::new(log::LinkLog::new(app, org, link)),
    }
}
