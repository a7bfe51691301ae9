//! Statements of the hot path that ask: once per new group and per regression, not per event.

use diesel::dsl::exists;
use diesel::prelude::*;

use crate::features::accounts::ProjectId;
use crate::features::groups::{GroupId, GroupStatus, NewEvent};
use crate::kit::db::{Tx, on_both};
use crate::schema::{events, group_hashes, group_unfixed, groups};
use crate::sentry::event_id::EventId;
use crate::sentry::grouping::GroupingKey;

/// The group of a hash, and where it stands.
pub(in crate::features::groups) fn lookup(
    tx: &mut Tx<'_>,
    project: ProjectId,
    hash: GroupingKey,
) -> QueryResult<Option<(GroupId, GroupStatus)>> {
    group_hashes::table
        .inner_join(groups::table.on(groups::id.eq(group_hashes::group_id)))
        .filter(group_hashes::project_id.eq(project))
        .filter(group_hashes::hash.eq(hash.0.to_vec()))
        .select((groups::id, groups::status))
        .first(tx.conn())
        .optional()
}

/// Whether an event has come before.
pub(in crate::features::groups) fn event_exists(
    tx: &mut Tx<'_>,
    project: ProjectId,
    event: EventId,
) -> QueryResult<bool> {
    let same = events::table
        .filter(events::event_id.eq(event.0.to_vec()))
        .filter(events::project_id.eq(project));
    diesel::select(exists(same)).get_result(tx.conn())
}

/// Makes the group of an event, without counting the event.
pub(in crate::features::groups) fn insert_group(
    tx: &mut Tx<'_>,
    event: &NewEvent,
    short_no: i64,
) -> QueryResult<GroupId> {
    let id: GroupId = diesel::insert_into(groups::table)
        .values((
            groups::org_id.eq(event.org),
            groups::project_id.eq(event.project),
            groups::short_no.eq(short_no),
            groups::title.eq(&event.title),
            groups::search_text.eq(event.search_text()),
            groups::culprit.eq(&event.culprit),
            groups::kind.eq(event.kind),
            groups::metadata.eq(&event.metadata),
            groups::level.eq(event.level),
            groups::platform.eq(&event.platform),
            groups::logger.eq(&event.logger),
            groups::top_path.eq(&event.top_path),
            groups::environment.eq(&event.environment),
            (
                groups::status.eq(GroupStatus::Unresolved),
                groups::substatus.eq(Some("new")),
                groups::status_details.eq("{}"),
                groups::first_seen.eq(event.received_at),
                groups::last_seen.eq(event.received_at),
                groups::times_seen.eq(0),
                groups::user_count.eq(0),
                groups::first_release.eq(&event.release),
                groups::last_release.eq(&event.release),
                groups::num_comments.eq(0),
                groups::created_at.eq(event.received_at),
            ),
        ))
        .returning(groups::id)
        .get_result(tx.conn())?;
    diesel::insert_into(group_hashes::table)
        .values((
            group_hashes::project_id.eq(event.project),
            group_hashes::hash.eq(event.hash.0.to_vec()),
            group_hashes::group_id.eq(id),
        ))
        .execute(tx.conn())?;
    Ok(id)
}

/// Opens a resolved group after a regression. True when it was resolved.
pub(in crate::features::groups) fn reopen(tx: &mut Tx<'_>, group: GroupId) -> QueryResult<bool> {
    let reopened = diesel::update(
        groups::table
            .filter(groups::id.eq(group))
            .filter(groups::status.eq(GroupStatus::Resolved)),
    )
    .set((
        groups::status.eq(GroupStatus::Unresolved),
        groups::substatus.eq(Some("regressed")),
        groups::status_details.eq("{}"),
        groups::resolved_at.eq(None::<i64>),
    ))
    .execute(tx.conn())?;
    if reopened == 1 {
        forget_unfixed(tx, group)?;
    }
    Ok(reopened == 1)
}

/// Whether a release is known not to hold the fix of a group.
pub(in crate::features::groups) fn is_unfixed(
    tx: &mut Tx<'_>,
    group: GroupId,
    release: &str,
) -> QueryResult<bool> {
    let known = group_unfixed::table
        .filter(group_unfixed::group_id.eq(group))
        .filter(group_unfixed::release.eq(release));
    diesel::select(exists(known)).get_result(tx.conn())
}

/// Forgets which releases do not hold the fix.
pub(in crate::features::groups) fn forget_unfixed(
    tx: &mut Tx<'_>,
    group: GroupId,
) -> QueryResult<()> {
    diesel::delete(group_unfixed::table.filter(group_unfixed::group_id.eq(group)))
        .execute(tx.conn())
        .map(drop)
}

/// Remembers that a release does not hold the fix.
pub(in crate::features::groups) fn insert_unfixed(
    tx: &mut Tx<'_>,
    group: GroupId,
    release: &str,
) -> QueryResult<()> {
    on_both!(tx.conn(), |conn| diesel::insert_into(group_unfixed::table)
        .values((
            group_unfixed::group_id.eq(group),
            group_unfixed::release.eq(release)
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .map(drop))
}
