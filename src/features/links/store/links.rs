//! Links of organizations to workspaces.

use diesel::prelude::*;

use crate::features::accounts::{self, OrgId, UserId};
use crate::features::installs::InstallationId;
use crate::features::links::{CredentialKind, LinkId, LinkStatus, PROVIDER};
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
    pub kind: CredentialKind,
    pub installation_id: Option<InstallationId>,
    /// The `clientKey` of a Connect link, a word of our own for any other.
    pub external_id: String,
    /// In braces; what API paths name the workspace by. Of Data Center the address of the server.
    pub workspace_uuid: String,
    /// Id of the workspace in web addresses; of Data Center the name of the server.
    pub name: String,
    pub domain_name: String,
    pub account_type: String,
    pub icon: Option<String>,
    pub status: LinkStatus,
    /// Why it is disabled, or what Bitbucket holds against it while it is active.
    pub status_reason: Option<String>,
    pub(in crate::features::links) config: String,
    /// What people call the connection; empty is the name of the workspace.
    pub label: String,
    /// What it is for, in the words of who made it.
    pub purpose: String,
    /// Who answers for it.
    pub owner_id: Option<UserId>,
    /// Only its owner sees and uses it.
    pub private: bool,
    /// The last test as JSON.
    pub(in crate::features::links) last_check: Option<String>,
    /// When it was tested last.
    pub checked_at: Option<Micros>,
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

/// The links that an organization shares and that were not disconnected, oldest first.
///
/// # Errors
/// When the query fails.
pub fn list_links(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<Link>> {
    list_links_of(conn, org, None)
}

/// The same, with the private ones of a person.
///
/// # Errors
/// When the query fails.
pub(in crate::features::links) fn list_links_of(
    conn: &mut Conn,
    org: OrgId,
    person: Option<UserId>,
) -> QueryResult<Vec<Link>> {
    let all: Vec<Link> = links::table
        .filter(links::org_id.eq(org))
        .filter(links::status.ne(LinkStatus::Removed))
        .order(links::id)
        .select(Link::as_select())
        .load(conn)?;
    Ok(all
        .into_iter()
        .filter(|link| link.seen_by(person))
        .collect())
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

/// A link that works, for background work over all organizations.
#[derive(Debug, Clone)]
pub struct LinkInUse {
    /// Tenant.
    pub org: OrgId,
    /// The link.
    pub id: LinkId,
    /// When it changed last: what it did not let through before may go now.
    pub changed_at: Micros,
    /// Whether its tickets are told of the status of their errors.
    pub tells_status: bool,
}

/// The shared links of all organizations that work.
///
/// # Errors
/// When the query fails.
pub fn links_in_use(conn: &mut Conn) -> QueryResult<Vec<LinkInUse>> {
    let rows: Vec<(Link, Micros)> = links::table
        .filter(links::status.eq(LinkStatus::Active))
        .filter(links::private.eq(false))
        .order(links::id)
        .select((Link::as_select(), links::updated_at))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(link, changed_at)| LinkInUse {
            org: link.org_id,
            id: link.id,
            changed_at,
            tells_status: link.config().sync_status_forward,
        })
        .collect())
}

/// A link that the organization shares and that was not disconnected.
///
/// # Errors
/// When the query fails.
pub fn find_link(conn: &mut Conn, org: OrgId, id: LinkId) -> QueryResult<Option<Link>> {
    find_link_of(conn, org, id, None)
}

/// The same, or a private one of a person.
///
/// # Errors
/// When the query fails.
pub(in crate::features::links) fn find_link_of(
    conn: &mut Conn,
    org: OrgId,
    id: LinkId,
    person: Option<UserId>,
) -> QueryResult<Option<Link>> {
    Ok(find_any_link(conn, org, id)?
        .filter(|link| link.status != LinkStatus::Removed && link.seen_by(person)))
}

impl Link {
    fn seen_by(&self, person: Option<UserId>) -> bool {
        !self.private || (person.is_some() && self.owner_id == person)
    }

    /// What people call it.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.label.is_empty() {
            &self.name
        } else {
            &self.label
        }
    }
}

/// What a new named connection says.
pub(in crate::features::links) struct NamedFacts<'a> {
    pub(in crate::features::links) kind: CredentialKind,
    pub(in crate::features::links) external_id: &'a str,
    pub(in crate::features::links) workspace_uuid: &'a str,
    pub(in crate::features::links) name: &'a str,
    pub(in crate::features::links) domain_name: &'a str,
    pub(in crate::features::links) label: &'a str,
    pub(in crate::features::links) purpose: &'a str,
    pub(in crate::features::links) owner: Option<UserId>,
    pub(in crate::features::links) private: bool,
}

/// Makes a connection of its own name, whatever other connections to the workspace there are.
pub(in crate::features::links) fn insert_named_link(
    tx: &mut Tx<'_>,
    org: OrgId,
    facts: &NamedFacts<'_>,
    actor: &str,
    now: Micros,
) -> QueryResult<Link> {
    let id: LinkId = diesel::insert_into(links::table)
        .values((
            links::org_id.eq(org),
            links::provider.eq(facts.kind.provider()),
            links::kind.eq(facts.kind),
            links::external_id.eq(facts.external_id),
            links::workspace_uuid.eq(facts.workspace_uuid),
            links::name.eq(facts.name),
            links::domain_name.eq(facts.domain_name),
            links::account_type.eq("team"),
            links::status.eq(LinkStatus::Active),
            links::config.eq("{}"),
            links::label.eq(facts.label),
            links::purpose.eq(facts.purpose),
            links::owner_id.eq(facts.owner),
            links::private.eq(facts.private),
            links::created_by.eq(actor),
            links::created_at.eq(now),
            links::updated_at.eq(now),
        ))
        .returning(links::id)
        .get_result(tx.conn())?;
    find_any_link(tx, org, id)?.ok_or(diesel::result::Error::NotFound)
}

/// Says that Bitbucket refuses the credential of an active link. False when it was not active.
pub(in crate::features::links) fn break_link(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    reason: &str,
    now: Micros,
) -> QueryResult<bool> {
    move_link(
        tx,
        org,
        id,
        LinkStatus::Active,
        LinkStatus::Broken,
        Some(reason),
        now,
    )
}

/// Says that a broken link works again. False when it was not broken.
pub(in crate::features::links) fn mend_link(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    now: Micros,
) -> QueryResult<bool> {
    move_link(
        tx,
        org,
        id,
        LinkStatus::Broken,
        LinkStatus::Active,
        None,
        now,
    )
}

fn move_link(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    from: LinkStatus,
    to: LinkStatus,
    reason: Option<&str>,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::id.eq(id))
            .filter(links::status.eq(from)),
    )
    .set((
        links::status.eq(to),
        links::status_reason.eq(reason),
        links::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Keeps the result of a test.
pub(in crate::features::links) fn note_check(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    report: &str,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::id.eq(id)),
    )
    .set((
        links::last_check.eq(Some(report)),
        links::checked_at.eq(Some(now)),
    ))
    .execute(tx.conn())
    .map(drop)
}

/// The link signs with a new credential of this kind.
pub(in crate::features::links) fn set_link_kind(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    kind: CredentialKind,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::id.eq(id)),
    )
    .set((
        links::kind.eq(kind),
        // It tells of the credential that was.
        links::last_check.eq(None::<String>),
        links::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(drop)
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

/// A link, whatever its status, and nobody else changes the row before the transaction ends: for a write that depends
/// on its status.
pub(in crate::features::links) fn hold_link(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
) -> QueryResult<Option<Link>> {
    let row = links::table
        .filter(links::org_id.eq(org))
        .filter(links::id.eq(id));
    diesel::update(row)
        .set(links::status.eq(links::status))
        .execute(tx.conn())?;
    find_any_link(tx, org, id)
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
            links::kind.eq(CredentialKind::ConnectJwt),
            links::external_id.eq(facts.external_id),
            links::workspace_uuid.eq(facts.workspace_uuid),
            links::config.eq("{}"),
            links::label.eq(""),
            links::purpose.eq(""),
            links::private.eq(false),
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
    if before == LinkStatus::Removed {
        // Its tokens were forgotten with it.
        diesel::update(same())
            .set(links::kind.eq(CredentialKind::ConnectJwt))
            .execute(tx.conn())?;
    }
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

pub(in crate::features::links) fn describe_link(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    label: &str,
    purpose: &str,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        links::table
            .filter(links::org_id.eq(org))
            .filter(links::id.eq(id)),
    )
    .set((
        links::label.eq(label),
        links::purpose.eq(purpose),
        links::updated_at.eq(now),
    ))
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
