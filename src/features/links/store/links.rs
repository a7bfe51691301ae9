//! Links of organizations to workspaces.

use diesel::prelude::*;

use crate::features::accounts::{self, OrgId};
use crate::features::installs::InstallationId;
use crate::features::links::{LinkId, LinkStatus, PROVIDER};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::links;

/// An organization's connection to a workspace.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = links)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Link {
    pub id: LinkId,
    pub org_id: OrgId,
    pub installation_id: Option<InstallationId>,
    /// The `clientKey`.
    pub external_id: String,
    /// In braces; what API paths name the workspace by.
    pub workspace_uuid: String,
    /// Id of the workspace in web addresses.
    pub name: String,
    pub domain_name: String,
    pub account_type: String,
    pub icon: Option<String>,
    pub status: LinkStatus,
    /// Why it is disabled, or what Bitbucket holds against it while it is active.
    pub status_reason: Option<String>,
    pub(in crate::features::links) config: String,
    pub created_by: String,
    pub created_at: Micros,
}

/// What a new or renewed link says.
pub(in crate::features::links) struct LinkFacts<'a> {
    pub(in crate::features::links) installation_id: InstallationId,
    pub(in crate::features::links) external_id: &'a str,
    pub(in crate::features::links) workspace_uuid: &'a str,
    pub(in crate::features::links) name: &'a str,
    pub(in crate::features::links) domain_name: &'a str,
    pub(in crate::features::links) account_type: &'a str,
    pub(in crate::features::links) icon: Option<&'a str>,
}

/// The links of an organization that were not disconnected, oldest first.
///
/// # Errors
/// When the query fails.
pub fn list_links(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<Link>> {
    links::table
        .filter(links::org_id.eq(org))
        .filter(links::status.ne(LinkStatus::Removed))
        .order(links::id)
        .select(Link::as_select())
        .load(conn)
}

/// The links of all organizations that were not disconnected, each with its organization's slug; for the operator's
/// doctor, which asks for no organization.
pub(in crate::features::links) fn every_link(conn: &mut Conn) -> QueryResult<Vec<(String, Link)>> {
    let rows: Vec<Link> = links::table
        .filter(links::status.ne(LinkStatus::Removed))
        .order(links::id)
        .select(Link::as_select())
        .load(conn)?;
    rows.into_iter()
        .map(|link| {
            let org = accounts::org_by_id(conn, link.org_id)?;
            Ok((
                org.map_or_else(|| link.org_id.to_string(), |org| org.slug),
                link,
            ))
        })
        .collect()
}

/// A link that was not disconnected.
///
/// # Errors
/// When the query fails.
pub fn find_link(conn: &mut Conn, org: OrgId, id: LinkId) -> QueryResult<Option<Link>> {
    Ok(find_any_link(conn, org, id)?.filter(|link| link.status != LinkStatus::Removed))
}

pub(in crate::features::links) fn find_any_link(
    conn: &mut Conn,
    org: OrgId,
    id: LinkId,
) -> QueryResult<Option<Link>> {
    links::table
        .filter(links::org_id.eq(org))
        .filter(links::id.eq(id))
        .select(Link::as_select())
        .first(conn)
        .optional()
}

/// Links of an installation over all organizations, for what happens to the installation itself.
pub(in crate::features::links) fn links_of_installation(
    conn: &mut Conn,
    id: InstallationId,
) -> QueryResult<Vec<Link>> {
    links::table
        .filter(links::installation_id.eq(id))
        .filter(links::status.ne(LinkStatus::Removed))
        .order(links::id)
        .select(Link::as_select())
        .load(conn)
}

/// Makes a link, or takes the one of the same tenant and workspace. True when it was not active before.
pub(in crate::features::links) fn put_link(
    tx: &mut Tx<'_>,
    org: OrgId,
    facts: &LinkFacts<'_>,
    actor: &str,
    now: Micros,
) -> QueryResult<(Link, bool)> {
    let same = || {
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::provider.eq(PROVIDER))
            .filter(links::external_id.eq(facts.external_id))
            .filter(links::workspace_uuid.eq(facts.workspace_uuid))
    };
    let content = || {
        (
            links::installation_id.eq(Some(facts.installation_id)),
            links::name.eq(facts.name),
            links::domain_name.eq(facts.domain_name),
            links::account_type.eq(facts.account_type),
            links::icon.eq(facts.icon),
            links::status.eq(LinkStatus::Active),
            links::status_reason.eq(None::<String>),
            links::updated_at.eq(now),
        )
    };
    let inserted = on_both!(tx.conn(), |conn| diesel::insert_into(links::table)
        .values((
            links::org_id.eq(org),
            links::provider.eq(PROVIDER),
            links::external_id.eq(facts.external_id),
            links::workspace_uuid.eq(facts.workspace_uuid),
            links::config.eq("{}"),
            links::created_by.eq(actor),
            links::created_at.eq(now),
            content(),
        ))
        .on_conflict((
            links::org_id,
            links::provider,
            links::external_id,
            links::workspace_uuid
        ))
        .do_nothing()
        .execute(conn))?;
    if inserted == 1 {
        return Ok((same().select(Link::as_select()).first(tx.conn())?, true));
    }
    let before: LinkStatus = same().select(links::status).first(tx.conn())?;
    diesel::update(same()).set(content()).execute(tx.conn())?;
    Ok((
        same().select(Link::as_select()).first(tx.conn())?,
        before != LinkStatus::Active,
    ))
}

pub(in crate::features::links) fn set_link_status(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    status: LinkStatus,
    reason: Option<&str>,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::id.eq(id)),
    )
    .set((
        links::status.eq(status),
        links::status_reason.eq(reason),
        links::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Notes what Bitbucket holds against an active link, or that it is content again.
pub(in crate::features::links) fn set_link_reason(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    reason: Option<&str>,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::id.eq(id))
            .filter(links::status.eq(LinkStatus::Active)),
    )
    .set((links::status_reason.eq(reason), links::updated_at.eq(now)))
    .execute(tx.conn())
    .map(drop)
}

pub(in crate::features::links) fn set_link_config(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    config: &str,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::id.eq(id)),
    )
    .set((links::config.eq(config), links::updated_at.eq(now)))
    .execute(tx.conn())
    .map(drop)
}
