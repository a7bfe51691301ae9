//! Comments that are written down before they are posted.

use diesel::prelude::*;

use crate::features::accounts::OrgId;
use crate::features::links::LinkId;
use crate::features::tickets::comments::BY_LINKING;
use crate::features::tickets::{TicketId, TicketStatus};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{ticket_comments, tickets};

/// A comment that we want to stand on a ticket, once per reason.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = ticket_comments)]
pub(in crate::features::tickets) struct Comment {
    pub(in crate::features::tickets) id: i64,
    pub(in crate::features::tickets) marker: String,
    pub(in crate::features::tickets) body: String,
    pub(in crate::features::tickets) remote_id: Option<String>,
    /// How long somebody has the right to post it. None: nobody has ever tried, so it stands nowhere.
    pub(in crate::features::tickets) busy_until: Option<Micros>,
}

/// The comment of a reason, written down when it is not there yet.
pub(in crate::features::tickets) fn put_comment(
    tx: &mut Tx<'_>,
    org: OrgId,
    ticket: TicketId,
    reason: &str,
    marker: &str,
    body: &str,
    now: Micros,
) -> QueryResult<Comment> {
    on_both!(tx.conn(), |conn| diesel::insert_into(
        ticket_comments::table
    )
    .values((
        ticket_comments::org_id.eq(org),
        ticket_comments::ticket_id.eq(ticket),
        ticket_comments::reason.eq(reason),
        ticket_comments::marker.eq(marker),
        ticket_comments::body.eq(body),
        ticket_comments::created_at.eq(now),
    ))
    .on_conflict((ticket_comments::ticket_id, ticket_comments::reason))
    .do_nothing()
    .execute(conn))?;
    ticket_comments::table
        .filter(ticket_comments::ticket_id.eq(ticket))
        .filter(ticket_comments::reason.eq(reason))
        .select(Comment::as_select())
        .first(tx.conn())
}

/// A comment that is written down.
pub(in crate::features::tickets) fn find_comment(
    conn: &mut Conn,
    org: OrgId,
    id: i64,
) -> QueryResult<Option<Comment>> {
    ticket_comments::table
        .filter(ticket_comments::org_id.eq(org))
        .filter(ticket_comments::id.eq(id))
        .select(Comment::as_select())
        .first(conn)
        .optional()
}

/// The comments of a ticket that have not arrived, of the reasons that begin with `prefix`; oldest first.
pub(in crate::features::tickets) fn unposted(
    conn: &mut Conn,
    org: OrgId,
    ticket: TicketId,
    prefix: &str,
) -> QueryResult<Vec<Comment>> {
    ticket_comments::table
        .filter(ticket_comments::org_id.eq(org))
        .filter(ticket_comments::ticket_id.eq(ticket))
        .filter(ticket_comments::reason.like(format!("{prefix}%")))
        .filter(ticket_comments::remote_id.is_null())
        .order(ticket_comments::id)
        .select(Comment::as_select())
        .load(conn)
}

/// Comments of linked tickets of a link that people wrote and that nobody has touched since `before`, with their
/// tickets. A ticket that refused something counts when the link has changed since.
pub(in crate::features::tickets) fn forgotten_comments(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
    changed_at: Micros,
    before: Micros,
    limit: i64,
) -> QueryResult<Vec<(TicketId, i64)>> {
    let calm = tickets::last_error
        .is_null()
        .or(tickets::updated_at.lt(changed_at));
    ticket_comments::table
        .inner_join(tickets::table.on(tickets::id.eq(ticket_comments::ticket_id)))
        .filter(tickets::org_id.eq(org))
        .filter(tickets::link_id.eq(link))
        .filter(tickets::state.eq(TicketStatus::Linked))
        .filter(calm)
        .filter(ticket_comments::reason.like(format!("{BY_LINKING}%")))
        .filter(ticket_comments::remote_id.is_null())
        .filter(ticket_comments::created_at.lt(before))
        .order(ticket_comments::id)
        .limit(limit)
        .select((ticket_comments::ticket_id, ticket_comments::id))
        .load(conn)
}

/// A comment that has not arrived.
#[diesel::dsl::auto_type(no_type_alias)]
fn missing(org: OrgId, id: i64) -> _ {
    ticket_comments::table
        .filter(ticket_comments::org_id.eq(org))
        .filter(ticket_comments::id.eq(id))
        .filter(ticket_comments::remote_id.is_null())
}

/// Takes the right to post a comment until `until`, for one at a time. False when somebody else has it, or the comment
/// has arrived.
pub(in crate::features::tickets) fn claim_comment(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: i64,
    owner: &str,
    until: Micros,
    now: Micros,
) -> QueryResult<bool> {
    let free = ticket_comments::busy_until
        .is_null()
        .or(ticket_comments::busy_until.le(Some(now)));
    diesel::update(missing(org, id).filter(free))
        .set((
            ticket_comments::busy_until.eq(Some(until)),
            ticket_comments::busy_owner.eq(Some(owner)),
        ))
        .execute(tx.conn())
        .map(|count| count == 1)
}

/// Changes how long the holder of a claim has it: longer before a call, `None` when it is certain that the comment
/// stands nowhere. False when the claim is another's by now.
pub(in crate::features::tickets) fn hold_comment(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: i64,
    owner: &str,
    until: Option<Micros>,
) -> QueryResult<bool> {
    diesel::update(missing(org, id).filter(ticket_comments::busy_owner.eq(owner)))
        .set(ticket_comments::busy_until.eq(until))
        .execute(tx.conn())
        .map(|count| count == 1)
}

/// Notes the id that a comment has on the other side.
pub(in crate::features::tickets) fn set_posted(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: i64,
    remote_id: &str,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        ticket_comments::table
            .filter(ticket_comments::org_id.eq(org))
            .filter(ticket_comments::id.eq(id)),
    )
    .set((
        ticket_comments::remote_id.eq(Some(remote_id)),
        ticket_comments::posted_at.eq(Some(now)),
    ))
    .execute(tx.conn())
    .map(drop)
}

/// The reason of the newest comment on its group's status that was written down for a ticket, posted or not.
pub(in crate::features::tickets) fn last_reason(
    conn: &mut Conn,
    org: OrgId,
    ticket: TicketId,
) -> QueryResult<Option<String>> {
    ticket_comments::table
        .filter(ticket_comments::org_id.eq(org))
        .filter(ticket_comments::ticket_id.eq(ticket))
        .filter(ticket_comments::reason.not_like(format!("{BY_LINKING}%")))
        .order(ticket_comments::id.desc())
        .select(ticket_comments::reason)
        .first(conn)
        .optional()
}
