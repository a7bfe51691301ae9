//! What people chose last in a form.

use diesel::prelude::*;

use crate::features::accounts::{OrgId, ProjectId};
use crate::features::links::LinkId;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::ticket_defaults;

/// The last used value of a form field, per project.
pub(in crate::features::tickets) fn default_of(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
    project: ProjectId,
    field: &str,
) -> QueryResult<Option<String>> {
    ticket_defaults::table
        .filter(ticket_defaults::org_id.eq(org))
        .filter(ticket_defaults::link_id.eq(link))
        .filter(ticket_defaults::project_id.eq(project))
        .filter(ticket_defaults::field.eq(field))
        .select(ticket_defaults::value)
        .first(conn)
        .optional()
}

/// Remembers the value of a form field.
pub(in crate::features::tickets) fn set_default(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    project: ProjectId,
    field: &str,
    value: &str,
) -> QueryResult<()> {
    on_both!(tx.conn(), |conn| diesel::insert_into(
        ticket_defaults::table
    )
    .values((
        ticket_defaults::org_id.eq(org),
        ticket_defaults::link_id.eq(link),
        ticket_defaults::project_id.eq(project),
        ticket_defaults::field.eq(field),
        ticket_defaults::value.eq(value),
    ))
    .on_conflict((
        ticket_defaults::link_id,
        ticket_defaults::project_id,
        ticket_defaults::field
    ))
    .do_update()
    .set(ticket_defaults::value.eq(value))
    .execute(conn))
    .map(drop)
}
