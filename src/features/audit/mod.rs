//! Who did what, append-only: written in the same transaction as the change it tells of.

mod store;

use diesel::QueryResult;

use crate::features::accounts::OrgId;
use crate::kit::clock::Micros;
use crate::kit::db::Tx;

pub use store::{Entry, list};

/// Adds one line: `actor` is a readable name of a user, token or system part, `action` is `feature.verb`.
/// `data` must hold no secret.
///
/// # Errors
/// When the row cannot be inserted.
pub fn record(
    tx: &mut Tx<'_>,
    org: Option<OrgId>,
    actor: &str,
    action: &'static str,
    target: &str,
    data: &serde_json::Value,
    now: Micros,
) -> QueryResult<()> {
    store::insert(tx, org, actor, action, target, &data.to_string(), now)
}
