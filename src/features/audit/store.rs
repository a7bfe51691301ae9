//! The audit table.

use diesel::prelude::*;

use crate::features::accounts::OrgId;
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx};
use crate::schema::audit_log;

/// One line of the audit log.
#[derive(Debug, Clone, Queryable, Selectable, serde::Serialize)]
#[diesel(table_name = audit_log)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Entry {
    pub id: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub data: String,
    pub created_at: Micros,
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    org: Option<OrgId>,
    actor: &str,
    action: &str,
    target: &str,
    data: &str,
    now: Micros,
) -> QueryResult<()> {
    diesel::insert_into(audit_log::table)
        .values((
            audit_log::org_id.eq(org),
            audit_log::actor.eq(actor),
            audit_log::action.eq(action),
            audit_log::target.eq(target),
            audit_log::data.eq(data),
            audit_log::created_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// The newest lines of an organization.
///
/// # Errors
/// When the query fails.
pub fn list(conn: &mut Conn, org: OrgId, limit: i64) -> QueryResult<Vec<Entry>> {
    audit_log::table
        .filter(audit_log::org_id.eq(org))
        .order(audit_log::id.desc())
        .limit(limit)
        .select(Entry::as_select())
        .load(conn)
}
