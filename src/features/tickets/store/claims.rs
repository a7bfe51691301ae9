//! The right to finish a pending ticket, for one at a time.

use std::time::Duration;

use diesel::prelude::*;

use super::{Ticket, find, row};
use crate::features::accounts::OrgId;
use crate::features::tickets::{TicketId, TicketStatus};
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::schema::tickets;

/// Puts a refused ticket back to pending as it was.
pub(in crate::features::tickets) fn reopen(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(row(org, id).filter(tickets::state.eq(TicketStatus::Failed)))
        .set((
            tickets::state.eq(TicketStatus::Pending),
            tickets::last_error.eq(None::<String>),
            tickets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(|count| count == 1)
}

/// Takes the right to finish a pending ticket until `now + lease`, for one at a time. `process` is given where
/// only one process can be alive: claims of others are then void at once. Answers the row as it was before; `None`
/// when somebody else has it or it is not pending.
pub(in crate::features::tickets) fn claim(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    owner: &str,
    process: Option<&str>,
    lease: Duration,
    now: Micros,
) -> QueryResult<Option<Ticket>> {
    let Some(before) = find(tx, org, id)?.filter(|ticket| ticket.state == TicketStatus::Pending)
    else {
        return Ok(None);
    };
    let pending = tickets::table
        .filter(tickets::id.eq(id))
        .filter(tickets::state.eq(TicketStatus::Pending));
    let free = tickets::busy_until
        .is_null()
        .or(tickets::busy_until.lt(Some(now)));
    let set = (
        tickets::busy_until.eq(Some(now.plus(lease))),
        tickets::busy_owner.eq(Some(owner)),
        tickets::updated_at.eq(now),
    );
    let taken = match process {
        Some(process) => {
            let dead = tickets::busy_owner.not_like(format!("{process}:%"));
            diesel::update(pending.filter(free.or(dead)))
                .set(set)
                .execute(tx.conn())?
        }
        None => diesel::update(pending.filter(free))
            .set(set)
            .execute(tx.conn())?,
    };
    // Read again: an attempt may have been noted between the first look and the claim.
    if taken == 1 {
        find(tx, org, id).map(|now| now.or(Some(before)))
    } else {
        Ok(None)
    }
}

/// Notes when a call that may make the ticket is sent, or (`None`) that it certainly made nothing.
pub(in crate::features::tickets) fn note_attempt(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    owner: &str,
    attempted_at: Option<Micros>,
) -> QueryResult<bool> {
    diesel::update(
        row(org, id)
            .filter(tickets::state.eq(TicketStatus::Pending))
            .filter(tickets::busy_owner.eq(owner)),
    )
    .set(tickets::attempted_at.eq(attempted_at))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Renews the right to finish. False when it is lost, or the ticket is not pending any more.
pub(in crate::features::tickets) fn extend(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    owner: &str,
    until: Micros,
) -> QueryResult<bool> {
    diesel::update(
        row(org, id)
            .filter(tickets::state.eq(TicketStatus::Pending))
            .filter(tickets::busy_owner.eq(owner)),
    )
    .set(tickets::busy_until.eq(Some(until)))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Gives the right to finish back.
pub(in crate::features::tickets) fn release(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: TicketId,
    owner: &str,
    error: Option<&str>,
) -> QueryResult<()> {
    diesel::update(row(org, id).filter(tickets::busy_owner.eq(owner)))
        .set((
            tickets::busy_until.eq(None::<Micros>),
            tickets::busy_owner.eq(None::<String>),
            tickets::last_error.eq(error),
        ))
        .execute(tx.conn())
        .map(drop)
}
