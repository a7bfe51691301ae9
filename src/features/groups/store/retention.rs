//! Deleting what is old, a few rows per statement, so that nobody waits long behind it.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::features::accounts::OrgId;
use crate::features::groups::{EventRow, GroupId, GroupStatus};
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::schema::{events, group_hashes, groups};

/// Deletes the oldest events that arrived before `before`, `limit` at most. Rows are in the order of arrival, so
/// looking at the first ones is enough.
pub(in crate::features::groups) fn old_events(
    tx: &mut Tx<'_>,
    before: Micros,
    limit: i64,
) -> QueryResult<usize> {
    let oldest: Vec<(EventRow, Micros)> = events::table
        .order(events::id)
        .limit(limit)
        .select((events::id, events::received_at))
        .load(tx.conn())?;
    let old: Vec<EventRow> = oldest
        .into_iter()
        .filter(|(_, at)| *at < before)
        .map(|(row, _)| row)
        .collect();
    if old.is_empty() {
        return Ok(0);
    }
    diesel::delete(events::table.filter(events::id.eq_any(old))).execute(tx.conn())
}

/// Takes away groups without events that were last seen before `before`; their rows are erased by a job.
pub(in crate::features::groups) fn old_groups(
    tx: &mut Tx<'_>,
    before: Micros,
    limit: i64,
) -> QueryResult<Vec<(OrgId, GroupId)>> {
    let empty: Vec<GroupId> = groups::table
        .filter(groups::last_seen.lt(before))
        .filter(groups::status.ne(GroupStatus::Deleting))
        .filter(not(exists(
            events::table.filter(events::group_id.eq(groups::id)),
        )))
        .order(groups::id)
        .limit(limit)
        .select(groups::id)
        .load(tx.conn())?;
    // Asked again: on PostgreSQL an event may have come in between.
    let still = groups::table
        .filter(groups::id.eq_any(empty))
        .filter(groups::last_seen.lt(before));
    let doomed: Vec<(OrgId, GroupId)> = diesel::update(still)
        .set(groups::status.eq(GroupStatus::Deleting))
        .returning((groups::org_id, groups::id))
        .get_results(tx.conn())?;
    let ids: Vec<GroupId> = doomed.iter().map(|(_, group)| *group).collect();
    diesel::delete(group_hashes::table.filter(group_hashes::group_id.eq_any(ids)))
        .execute(tx.conn())?;
    Ok(doomed)
}

/// Deletes hours and facets that ended before `before`.
pub(in crate::features::groups) fn old_counters(
    tx: &mut Tx<'_>,
    before: Micros,
    limit: i64,
) -> QueryResult<usize> {
    let hours = diesel::sql_query(
        "DELETE FROM group_hours WHERE (group_id, hour) IN \
         (SELECT group_id, hour FROM group_hours WHERE hour < $1 LIMIT $2)",
    )
    .bind::<BigInt, _>(before.secs().div_euclid(3_600))
    .bind::<BigInt, _>(limit)
    .execute(tx.conn())?;
    let facets = diesel::sql_query(
        "DELETE FROM group_facets WHERE (group_id, kind, value) IN \
         (SELECT group_id, kind, value FROM group_facets WHERE last_seen < $1 LIMIT $2)",
    )
    .bind::<BigInt, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(tx.conn())?;
    Ok(hours.max(facets))
}

/// Deletes events and users of a group that is being deleted, `limit` at most; the group itself once it has none.
/// Answers 0 when nothing is left.
pub(in crate::features::groups) fn erase(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    limit: i64,
) -> QueryResult<usize> {
    let doomed = groups::table
        .filter(groups::org_id.eq(org))
        .filter(groups::id.eq(group))
        .filter(groups::status.eq(GroupStatus::Deleting));
    if doomed
        .select(groups::id)
        .first::<GroupId>(tx.conn())
        .optional()?
        .is_none()
    {
        return Ok(0);
    }
    let rows: Vec<EventRow> = events::table
        .filter(events::group_id.eq(group))
        .order(events::id)
        .limit(limit)
        .select(events::id)
        .load(tx.conn())?;
    if !rows.is_empty() {
        return diesel::delete(events::table.filter(events::id.eq_any(rows))).execute(tx.conn());
    }
    let users = diesel::sql_query(
        "DELETE FROM group_users WHERE group_id = $1 AND user_hash IN \
         (SELECT user_hash FROM group_users WHERE group_id = $2 LIMIT $3)",
    )
    .bind::<BigInt, _>(group)
    .bind::<BigInt, _>(group)
    .bind::<BigInt, _>(limit)
    .execute(tx.conn())?;
    if users == 0 {
        diesel::delete(doomed).execute(tx.conn())?;
    }
    Ok(users)
}
