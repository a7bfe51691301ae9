//! Reading the table of events. Each function takes a group or project that was read for the caller's
//! organization: the value is the proof.

use diesel::prelude::*;

use super::Group;
use crate::error::AppResult;
use crate::features::accounts::{OrgId, Project, ProjectId};
use crate::features::groups::{EventRow, GroupId, StoredEvent};
use crate::kit::clock::Micros;
use crate::kit::db::Conn;
use crate::kit::web::cursor::KeyRange;
use crate::schema::events;
use crate::sentry::event_id::EventId;

/// A row with its packed body.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = events)]
pub(in crate::features::groups) struct EventData {
    pub(in crate::features::groups) id: EventRow,
    pub(in crate::features::groups) project_id: ProjectId,
    pub(in crate::features::groups) group_id: GroupId,
    pub(in crate::features::groups) event_id: Vec<u8>,
    pub(in crate::features::groups) received_at: Micros,
    pub(in crate::features::groups) occurred_at: Micros,
    pub(in crate::features::groups) body: Vec<u8>,
}

/// Which event of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The one that came last.
    Latest,
    /// The one that came first, of those that are kept.
    Oldest,
    /// The one with this id.
    Id(EventId),
    /// The one in this row.
    Row(EventRow),
}

/// An event of a group.
///
/// # Errors
/// When the query fails or the stored event is damaged.
pub fn event_of(conn: &mut Conn, group: &Group, pick: Pick) -> AppResult<Option<StoredEvent>> {
    let query = events::table
        .filter(events::group_id.eq(group.id))
        .select(EventData::as_select());
    let row = match pick {
        Pick::Latest => query.order(events::id.desc()).first(conn),
        Pick::Oldest => query.order(events::id.asc()).first(conn),
        Pick::Id(id) => query
            .filter(events::event_id.eq(id.0.to_vec()))
            .filter(events::project_id.eq(group.project_id))
            .first(conn),
        Pick::Row(row) => query.filter(events::id.eq(row)).first(conn),
    };
    row.optional()?
        .map(|row| StoredEvent::unpack(&row))
        .transpose()
}

/// The last event of a group of this organization.
///
/// # Errors
/// When a query fails or the stored event is damaged.
pub fn latest_event(conn: &mut Conn, org: OrgId, group: GroupId) -> AppResult<Option<StoredEvent>> {
    match super::find(conn, org, group)? {
        Some((group, _)) => event_of(conn, &group, Pick::Latest),
        None => Ok(None),
    }
}

/// An event of a project, whatever its group.
pub(in crate::features::groups) fn event_in(
    conn: &mut Conn,
    project: &Project,
    id: EventId,
) -> AppResult<Option<StoredEvent>> {
    let row = events::table
        .filter(events::event_id.eq(id.0.to_vec()))
        .filter(events::project_id.eq(project.id))
        .select(EventData::as_select())
        .first(conn)
        .optional()?;
    row.map(|row| StoredEvent::unpack(&row)).transpose()
}

/// Row and id of the older and the newer neighbour of an event within its group.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::features::groups) struct Neighbours {
    pub(in crate::features::groups) older: Option<(EventRow, EventId)>,
    pub(in crate::features::groups) newer: Option<(EventRow, EventId)>,
}

/// The neighbours of an event.
pub(in crate::features::groups) fn neighbours(
    conn: &mut Conn,
    event: &StoredEvent,
) -> QueryResult<Neighbours> {
    let query = events::table
        .filter(events::group_id.eq(event.group))
        .select((events::id, events::event_id));
    let older = query
        .filter(events::id.lt(event.row))
        .order(events::id.desc())
        .first(conn)
        .optional()?;
    let newer = query
        .filter(events::id.gt(event.row))
        .order(events::id.asc())
        .first(conn)
        .optional()?;
    let pair = |(row, id): (EventRow, Vec<u8>)| {
        (row, EventId(id.as_slice().try_into().unwrap_or_default()))
    };
    Ok(Neighbours {
        older: older.map(pair),
        newer: newer.map(pair),
    })
}

/// Whose events a list shows.
#[derive(Debug, Clone, Copy)]
pub(in crate::features::groups) enum EventsOf {
    Group(GroupId),
    Project(ProjectId),
}

/// Rows of one page of events.
pub(in crate::features::groups) fn page(
    conn: &mut Conn,
    of: EventsOf,
    range: KeyRange,
    limit: i64,
) -> QueryResult<Vec<EventRow>> {
    let mut query = events::table.select(events::id).limit(limit).into_boxed();
    query = match of {
        EventsOf::Group(group) => query.filter(events::group_id.eq(group)),
        EventsOf::Project(project) => query.filter(events::project_id.eq(project)),
    };
    query = match range {
        KeyRange::First => query.order(events::id.desc()),
        KeyRange::Below(key) => query.filter(events::id.lt(key)).order(events::id.desc()),
        KeyRange::Above(key) => query.filter(events::id.gt(key)).order(events::id.asc()),
    };
    query.load(conn)
}

/// A few events by their rows, in any order. Not many: each may be a megabyte.
pub(in crate::features::groups) fn load(
    conn: &mut Conn,
    rows: &[EventRow],
) -> AppResult<Vec<StoredEvent>> {
    let rows: Vec<EventData> = events::table
        .filter(events::id.eq_any(rows))
        .select(EventData::as_select())
        .load(conn)?;
    rows.iter().map(StoredEvent::unpack).collect()
}
