//! The table of activities.

use diesel::prelude::*;

use crate::features::accounts::{OrgId, UserId};
use crate::features::groups::{ActivityId, ActivityKind, GroupId};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::activities;

/// An activity, as lists show it.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = activities)]
pub(in crate::features::groups) struct ActivityRow {
    pub(in crate::features::groups) id: ActivityId,
    pub(in crate::features::groups) kind: ActivityKind,
    pub(in crate::features::groups) user_id: Option<UserId>,
    pub(in crate::features::groups) actor: String,
    pub(in crate::features::groups) data: String,
    pub(in crate::features::groups) created_at: Micros,
}

/// What a new row holds.
pub(in crate::features::groups) struct NewActivity<'a> {
    pub(in crate::features::groups) group: GroupId,
    pub(in crate::features::groups) kind: ActivityKind,
    pub(in crate::features::groups) ident: Option<&'a str>,
    pub(in crate::features::groups) user: Option<UserId>,
    pub(in crate::features::groups) actor: &'a str,
    pub(in crate::features::groups) data: &'a str,
}

/// Inserts a row, unless one of the same group, kind and ident is there.
pub(in crate::features::groups) fn insert(
    tx: &mut Tx<'_>,
    org: OrgId,
    new: &NewActivity<'_>,
    now: Micros,
) -> QueryResult<Option<ActivityId>> {
    on_both!(tx.conn(), |conn| diesel::insert_into(activities::table)
        .values((
            activities::org_id.eq(org),
            activities::group_id.eq(new.group),
            activities::kind.eq(new.kind),
            activities::ident.eq(new.ident),
            activities::user_id.eq(new.user),
            activities::actor.eq(new.actor),
            activities::data.eq(new.data),
            activities::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .returning(activities::id)
        .get_result(conn)
        .optional())
}

/// The activities of a group, newest first; of one kind or of all.
pub(in crate::features::groups) fn list(
    conn: &mut Conn,
    org: OrgId,
    group: GroupId,
    kind: Option<ActivityKind>,
    limit: i64,
) -> QueryResult<Vec<ActivityRow>> {
    let mut query = activities::table
        .filter(activities::org_id.eq(org))
        .filter(activities::group_id.eq(group))
        .order(activities::id.desc())
        .limit(limit)
        .select(ActivityRow::as_select())
        .into_boxed();
    if let Some(kind) = kind {
        query = query.filter(activities::kind.eq(kind));
    }
    query.load(conn)
}

/// One note of a group.
pub(in crate::features::groups) fn find_note(
    conn: &mut Conn,
    org: OrgId,
    group: GroupId,
    note: ActivityId,
) -> QueryResult<Option<ActivityRow>> {
    activities::table
        .filter(activities::org_id.eq(org))
        .filter(activities::group_id.eq(group))
        .filter(activities::id.eq(note))
        .filter(activities::kind.eq(ActivityKind::Note))
        .select(ActivityRow::as_select())
        .first(conn)
        .optional()
}

/// Replaces the data of a note.
pub(in crate::features::groups) fn set_note(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    note: ActivityId,
    data: &str,
) -> QueryResult<()> {
    diesel::update(
        activities::table
            .filter(activities::org_id.eq(org))
            .filter(activities::group_id.eq(group))
            .filter(activities::id.eq(note))
            .filter(activities::kind.eq(ActivityKind::Note)),
    )
    .set(activities::data.eq(data))
    .execute(tx.conn())
    .map(drop)
}

/// Deletes a note. True when it was there.
pub(in crate::features::groups) fn delete_note(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    note: ActivityId,
) -> QueryResult<bool> {
    diesel::delete(
        activities::table
            .filter(activities::org_id.eq(org))
            .filter(activities::group_id.eq(group))
            .filter(activities::id.eq(note))
            .filter(activities::kind.eq(ActivityKind::Note)),
    )
    .execute(tx.conn())
    .map(|count| count == 1)
}
