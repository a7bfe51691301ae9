//! The tables of tickets, their comments and last used form fields.

mod claims;
mod comments;
mod defaults;

use diesel::prelude::*;

use super::{BackendKind, TicketId, TicketStatus};
use crate::features::accounts::OrgId;
use crate::features::groups::GroupId;
use crate::features::links::{LinkId, RepoId};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{ticket_links, tickets};

pub(super) use claims::*;
pub(super) use comments::*;
pub(super) use defaults::*;

/// A ticket.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = tickets)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Ticket {
    pub id: TicketId,
    pub org_id: OrgId,
    pub group_id: GroupId,
    pub link_id: LinkId,
    /// The repository's row, when it was added here: its name may change.
    pub repo_id: Option<RepoId>,
    pub backend: BackendKind,
    pub client_key: String,
    pub marker: String,
    pub state: TicketStatus,
    pub ticket_key: Option<String>,
    pub repo_name: String,
    pub number: Option<i64>,
    pub url: Option<String>,
    pub title: String,
    pub description: String,
    pub draft: String,
    pub remote_state: Option<String>,
    pub synced: Option<String>,
    pub attempted_at: Option<Micros>,
    pub last_error: Option<String>,
    pub created_by: String,
    pub created_at: Micros,
    pub updated_at: Micros,
}

/// What a new row needs.
#[derive(Debug, Clone)]
pub(super) struct NewTicket {
    pub(super) org: OrgId,
    pub(super) group: GroupId,
    pub(super) link: LinkId,
    pub(super) repo: Option<RepoId>,
    pub(super) client_key: String,
    pub(super) marker: String,
    pub(super) state: TicketStatus,
    pub(super) repo_name: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) draft: String,
    pub(super) created_by: String,
}

/// What the tracker said about a ticket that now exists.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) key: String,
    pub(super) number: i64,
    pub(super) url: String,
    pub(super) title: String,
    /// As HTML where the tracker has it.
    pub(super) description: String,
    pub(super) state: Option<String>,
}

/// Inserts a row; `None` when the group has one of this client key already.
pub(super) fn insert(tx: &mut Tx<'_>, new: &NewTicket, now: Micros) -> QueryResult<Option<Ticket>> {
    let id: Option<TicketId> = on_both!(tx.conn(), |conn| diesel::insert_into(tickets::table)
        .values((
            tickets::org_id.eq(new.org),
            tickets::group_id.eq(new.group),
            tickets::link_id.eq(new.link),
            tickets::repo_id.eq(new.repo),
            tickets::backend.eq(BackendKind::BitbucketIssues),
            tickets::client_key.eq(&new.client_key),
            tickets::marker.eq(&new.marker),
            tickets::state.eq(new.state),
            tickets::repo_name.eq(&new.repo_name),
            tickets::title.eq(&new.title),
            tickets::description.eq(&new.description),
            tickets::draft.eq(&new.draft),
            tickets::created_by.eq(&new.created_by),
            tickets::created_at.eq(now),
            tickets::updated_at.eq(now),
        ))
        .on_conflict((
            tickets::org_id,
            tickets::group_id,
            tickets::backend,
            tickets::client_key
        ))
        .do_nothing()
        .returning(tickets::id)
        .get_result(conn)
        .optional())?;
    match id {
        Some(id) => find(tx, new.org, id),
        None => Ok(None),
    }
}

/// The row of a ticket, to read or to change.
#[diesel::dsl::auto_type(no_type_alias)]
fn row(org: OrgId, id: TicketId) -> _ {
    tickets::table
        .filter(tickets::org_id.eq(org))
        .filter(tickets::id.eq(id))
}

pub(super) fn find(conn: &mut Conn, org: OrgId, id: TicketId) -> QueryResult<Option<Ticket>> {
    row(org, id)
        .select(Ticket::as_select())
        .first(conn)
        .optional()
}

/// The same, and nobody else changes the row before the transaction ends: for a write that depends on its state.
pub(super) fn hold(tx: &mut Tx<'_>, org: OrgId, id: TicketId) -> QueryResult<Option<Ticket>> {
    diesel::update(row(org, id))
        .set(tickets::state.eq(tickets::state))
        .execute(tx.conn())?;
    find(tx, org, id)
}

pub(super) fn find_by_client_key(
    conn: &mut Conn,
    org: OrgId,
    group: GroupId,
    client_key: &str,
) -> QueryResult<Option<Ticket>> {
    tickets::table
        .filter(tickets::org_id.eq(org))
        .filter(tickets::group_id.eq(group))
        .filter(tickets::backend.eq(BackendKind::BitbucketIssues))
        .filter(tickets::client_key.eq(client_key))
        .select(Ticket::as_select())
        .first(conn)
        .optional()
}

pub(super) fn find_by_key(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
    key: &str,
) -> QueryResult<Option<Ticket>> {
    tickets::table
        .filter(tickets::org_id.eq(org))
        .filter(tickets::link_id.eq(link))
        .filter(tickets::ticket_key.eq(key))
        .select(Ticket::as_select())
        .first(conn)
        .optional()
}

/// Gives a ticket that was refused another chance with a new draft. False when it is not `failed`.
pub(super) fn revive(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    new: &NewTicket,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(row(org, id).filter(tickets::state.eq(TicketStatus::Failed)))
        .set((
            tickets::state.eq(TicketStatus::Pending),
            tickets::link_id.eq(new.link),
            tickets::repo_id.eq(new.repo),
            tickets::repo_name.eq(&new.repo_name),
            tickets::title.eq(&new.title),
            tickets::description.eq(&new.description),
            tickets::draft.eq(&new.draft),
            tickets::marker.eq(&new.marker),
            tickets::last_error.eq(None::<String>),
            tickets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(|count| count == 1)
}

/// Pending becomes linked. False when it was not pending any more.
pub(super) fn set_linked(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    made: &Made,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(row(org, id).filter(tickets::state.eq(TicketStatus::Pending)))
        .set((
            tickets::state.eq(TicketStatus::Linked),
            tickets::ticket_key.eq(Some(&made.key)),
            tickets::number.eq(Some(made.number)),
            tickets::url.eq(Some(&made.url)),
            tickets::title.eq(&made.title),
            tickets::description.eq(&made.description),
            tickets::remote_state.eq(made.state.as_deref()),
            tickets::last_error.eq(None::<String>),
            tickets::attempted_at.eq(None::<Micros>),
            tickets::busy_until.eq(None::<Micros>),
            tickets::busy_owner.eq(None::<String>),
            tickets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(|count| count == 1)
}

/// Sets a state with its reason; `from` is what it must be now. A call whose fate is unknown stays noted: whoever
/// tries again looks for its ticket first.
pub(super) fn set_state(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    from: TicketStatus,
    to: TicketStatus,
    reason: &str,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(row(org, id).filter(tickets::state.eq(from)))
        .set((
            tickets::state.eq(to),
            tickets::last_error.eq(Some(reason)),
            tickets::busy_until.eq(None::<Micros>),
            tickets::busy_owner.eq(None::<String>),
            tickets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(|count| count == 1)
}

/// Refreshes what the tracker says of a linked ticket.
pub(super) fn refresh(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    made: &Made,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(row(org, id))
        .set((
            tickets::title.eq(&made.title),
            tickets::description.eq(&made.description),
            tickets::remote_state.eq(made.state.as_deref()),
            tickets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Notes that the ticket was told of a change of its group.
pub(super) fn set_synced(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    synced: &str,
    remote_state: &str,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(row(org, id))
        .set((
            tickets::synced.eq(Some(synced)),
            tickets::remote_state.eq(Some(remote_state)),
            tickets::last_error.eq(None::<String>),
            tickets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Joins a group and a ticket. False when they are joined already.
pub(super) fn join(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    ticket: TicketId,
    now: Micros,
) -> QueryResult<bool> {
    on_both!(tx.conn(), |conn| diesel::insert_into(ticket_links::table)
        .values((
            ticket_links::group_id.eq(group),
            ticket_links::ticket_id.eq(ticket),
            ticket_links::org_id.eq(org),
            ticket_links::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(conn))
    .map(|count| count == 1)
}

/// Parts a group and a ticket; the ticket goes when no other group has it. False when they were not joined.
pub(super) fn part(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    ticket: &Ticket,
) -> QueryResult<bool> {
    let parted = diesel::delete(
        ticket_links::table
            .filter(ticket_links::org_id.eq(org))
            .filter(ticket_links::group_id.eq(group))
            .filter(ticket_links::ticket_id.eq(ticket.id)),
    )
    .execute(tx.conn())?;
    let others = ticket_links::table.filter(ticket_links::ticket_id.eq(ticket.id));
    let still: bool = diesel::select(diesel::dsl::exists(others)).get_result(tx.conn())?;
    let target = row(org, ticket.id);
    if still {
        // The key is free for a new ticket of this group; this row lives on for the others.
        if parted == 1 && ticket.group_id == group {
            diesel::update(target)
                .set(tickets::client_key.eq(&ticket.marker))
                .execute(tx.conn())?;
        }
    } else if parted == 1 || ticket.group_id == group {
        diesel::delete(target).execute(tx.conn())?;
    }
    Ok(parted == 1)
}

/// The tickets of a group: linked ones, and those that it asked for and that are pending or refused.
///
/// # Errors
/// When a query fails.
pub fn list_of_group(conn: &mut Conn, org: OrgId, group: GroupId) -> QueryResult<Vec<Ticket>> {
    let joined = ticket_links::table
        .filter(ticket_links::org_id.eq(org))
        .filter(ticket_links::group_id.eq(group))
        .select(ticket_links::ticket_id);
    let own = tickets::group_id
        .eq(group)
        .and(tickets::state.eq_any([TicketStatus::Pending, TicketStatus::Failed]));
    tickets::table
        .filter(tickets::org_id.eq(org))
        .filter(tickets::id.eq_any(joined).or(own))
        .order(tickets::id)
        .select(Ticket::as_select())
        .load(conn)
}

/// Linked tickets of a link, newest first.
///
/// # Errors
/// When the query fails.
pub fn list_of_link(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
    limit: i64,
) -> QueryResult<Vec<Ticket>> {
    tickets::table
        .filter(tickets::org_id.eq(org))
        .filter(tickets::link_id.eq(link))
        .order(tickets::id.desc())
        .limit(limit)
        .select(Ticket::as_select())
        .load(conn)
}

/// Group, state, key and remote state of a ticket.
pub type Badge = (GroupId, TicketStatus, Option<String>, Option<String>);

/// The tickets of several groups, for lists: linked ones first, then those that are pending or were refused.
///
/// # Errors
/// When a query fails.
pub fn badges_of(conn: &mut Conn, org: OrgId, groups: &[GroupId]) -> QueryResult<Vec<Badge>> {
    let mut badges: Vec<Badge> = ticket_links::table
        .inner_join(tickets::table.on(tickets::id.eq(ticket_links::ticket_id)))
        .filter(ticket_links::org_id.eq(org))
        .filter(ticket_links::group_id.eq_any(groups))
        .order(tickets::id)
        .select((
            ticket_links::group_id,
            tickets::state,
            tickets::ticket_key,
            tickets::remote_state,
        ))
        .load(conn)?;
    let open: Vec<Badge> = tickets::table
        .filter(tickets::org_id.eq(org))
        .filter(tickets::group_id.eq_any(groups))
        .filter(tickets::state.eq_any([TicketStatus::Pending, TicketStatus::Failed]))
        .order(tickets::id)
        .select((
            tickets::group_id,
            tickets::state,
            tickets::ticket_key,
            tickets::remote_state,
        ))
        .load(conn)?;
    badges.extend(open);
    Ok(badges)
}

/// Notes why a linked ticket could not be told of its group.
pub(super) fn set_error(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    error: &str,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(row(org, id))
        .set((
            tickets::last_error.eq(Some(error)),
            tickets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// A ticket that exists counts as in order again, whatever was said of it.
pub(super) fn clear_error(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        row(org, id).filter(tickets::state.eq_any([TicketStatus::Linked, TicketStatus::Gone])),
    )
    .set((
        tickets::state.eq(TicketStatus::Linked),
        tickets::last_error.eq(None::<String>),
        tickets::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(drop)
}

/// Pending tickets that nobody has touched since `before`.
pub(super) fn forgotten(
    conn: &mut Conn,
    before: Micros,
    limit: i64,
) -> QueryResult<Vec<(OrgId, TicketId, LinkId)>> {
    tickets::table
        .filter(tickets::state.eq(TicketStatus::Pending))
        .filter(tickets::updated_at.lt(before))
        .order(tickets::id)
        .limit(limit)
        .select((tickets::org_id, tickets::id, tickets::link_id))
        .load(conn)
}

/// Linked tickets of a link that were not told of something before the link changed last.
pub(super) fn refused_before(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
    changed_at: Micros,
    limit: i64,
) -> QueryResult<Vec<Ticket>> {
    tickets::table
        .filter(tickets::org_id.eq(org))
        .filter(tickets::link_id.eq(link))
        .filter(tickets::state.eq(TicketStatus::Linked))
        .filter(tickets::last_error.is_not_null())
        .filter(tickets::updated_at.lt(changed_at))
        .order(tickets::updated_at.desc())
        .limit(limit)
        .select(Ticket::as_select())
        .load(conn)
}

/// The groups that have a ticket.
pub(super) fn groups_of(
    conn: &mut Conn,
    org: OrgId,
    ticket: TicketId,
) -> QueryResult<Vec<GroupId>> {
    ticket_links::table
        .filter(ticket_links::org_id.eq(org))
        .filter(ticket_links::ticket_id.eq(ticket))
        .order(ticket_links::group_id)
        .select(ticket_links::group_id)
        .load(conn)
}
