//! Sealed credentials, their lease, and the flows of browsers that are at Bitbucket.

use std::time::Duration;

use diesel::prelude::*;

use crate::features::accounts::{OrgId, UserId};
use crate::features::links::{LinkId, LinkStatus};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx};
use crate::schema::{credentials, links, oauth_flows};

/// The credential of a link, sealed.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = credentials)]
pub(in crate::features::links) struct SealedCredential {
    pub(in crate::features::links) link_id: LinkId,
    pub(in crate::features::links) org_id: OrgId,
    pub(in crate::features::links) sealed: Vec<u8>,
    /// Counts changes of `sealed`.
    pub(in crate::features::links) version: i64,
    /// When the credential itself ends, as far as anybody knows.
    pub(in crate::features::links) expires_at: Option<Micros>,
    /// When the secret was given or replaced by a person.
    pub(in crate::features::links) rotated_at: Micros,
}

pub(in crate::features::links) fn find_credential(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
) -> QueryResult<Option<SealedCredential>> {
    credentials::table
        .filter(credentials::org_id.eq(org))
        .filter(credentials::link_id.eq(link))
        .select(SealedCredential::as_select())
        .first(conn)
        .optional()
}

/// Stores what a person gave, in place of what was there.
pub(in crate::features::links) fn put_credential(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    sealed: &[u8],
    access_until: Option<Micros>,
    expires_at: Option<Micros>,
    now: Micros,
) -> QueryResult<()> {
    let content = || {
        (
            credentials::sealed.eq(sealed),
            credentials::lease_owner.eq(None::<String>),
            credentials::lease_until.eq(None::<Micros>),
            credentials::access_until.eq(access_until),
            credentials::expires_at.eq(expires_at),
            credentials::warned.eq(None::<String>),
            credentials::rotated_at.eq(now),
        )
    };
    let changed = diesel::update(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(link)),
    )
    .set((content(), credentials::version.eq(credentials::version + 1)))
    .execute(tx.conn())?;
    if changed == 1 {
        return Ok(());
    }
    diesel::insert_into(credentials::table)
        .values((
            credentials::link_id.eq(link),
            credentials::org_id.eq(org),
            credentials::version.eq(1_i64),
            credentials::created_at.eq(now),
            content(),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Takes the right to ask for a new access token, until the lease ends. False when the credential has changed, or
/// somebody else has the right.
pub(in crate::features::links) fn claim_refresh(
    tx: &mut Tx<'_>,
    org: OrgId,
    row: &SealedCredential,
    owner: &str,
    lease: Duration,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(row.link_id))
            .filter(credentials::version.eq(row.version))
            .filter(
                credentials::lease_until
                    .is_null()
                    .or(credentials::lease_until.le(now)),
            ),
    )
    .set((
        credentials::lease_owner.eq(Some(owner)),
        credentials::lease_until.eq(Some(now.plus(lease))),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Stores a renewed credential, if it is still the one that was renewed.
pub(in crate::features::links) fn save_refreshed(
    tx: &mut Tx<'_>,
    org: OrgId,
    row: &SealedCredential,
    sealed: &[u8],
    access_until: Option<Micros>,
) -> QueryResult<bool> {
    diesel::update(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(row.link_id))
            .filter(credentials::version.eq(row.version)),
    )
    .set((
        credentials::sealed.eq(sealed),
        credentials::version.eq(row.version + 1),
        credentials::access_until.eq(access_until),
        credentials::lease_owner.eq(None::<String>),
        credentials::lease_until.eq(None::<Micros>),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Gives the right back without a result.
pub(in crate::features::links) fn release_refresh(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    owner: &str,
) -> QueryResult<()> {
    diesel::update(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(link))
            .filter(credentials::lease_owner.eq(owner)),
    )
    .set((
        credentials::lease_owner.eq(None::<String>),
        credentials::lease_until.eq(None::<Micros>),
    ))
    .execute(tx.conn())
    .map(drop)
}

/// Whether the stored credential is still of this version, until the transaction ends.
pub(in crate::features::links) fn is_version(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    version: i64,
) -> QueryResult<bool> {
    // An update that changes nothing locks the row on PostgreSQL; SQLite has one writer.
    diesel::update(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(link))
            .filter(credentials::version.eq(version)),
    )
    .set(credentials::version.eq(version))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Notes the last warning about a credential; false when it was given before.
pub(in crate::features::links) fn set_warned(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    warned: &str,
) -> QueryResult<bool> {
    diesel::update(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(link))
            .filter(
                credentials::warned
                    .is_null()
                    .or(credentials::warned.ne(warned)),
            ),
    )
    .set(credentials::warned.eq(Some(warned)))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Changes when a credential ends; it is warned of anew.
pub(in crate::features::links) fn set_expiry(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    expires_at: Option<Micros>,
) -> QueryResult<()> {
    diesel::update(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(link)),
    )
    .set((
        credentials::expires_at.eq(expires_at),
        credentials::warned.eq(None::<String>),
    ))
    .execute(tx.conn())
    .map(drop)
}

pub(in crate::features::links) fn forget_credential(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
) -> QueryResult<()> {
    diesel::delete(
        credentials::table
            .filter(credentials::org_id.eq(org))
            .filter(credentials::link_id.eq(link)),
    )
    .execute(tx.conn())
    .map(drop)
}

/// Credentials of all organizations after a link, for the rotation of sealing keys.
pub(in crate::features::links) fn credentials_after(
    conn: &mut Conn,
    after: LinkId,
    limit: i64,
) -> QueryResult<Vec<SealedCredential>> {
    credentials::table
        .filter(credentials::link_id.gt(after))
        .order(credentials::link_id)
        .limit(limit)
        .select(SealedCredential::as_select())
        .load(conn)
}

/// Replaces the sealed value of the same content, if nobody has changed it meanwhile.
pub(in crate::features::links) fn replace_sealed_credential(
    tx: &mut Tx<'_>,
    row: &SealedCredential,
    sealed: &[u8],
) -> QueryResult<bool> {
    diesel::update(
        credentials::table
            .filter(credentials::link_id.eq(row.link_id))
            .filter(credentials::version.eq(row.version))
            .filter(credentials::sealed.eq(&row.sealed)),
    )
    .set(credentials::sealed.eq(sealed))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Links in use over all organizations that nobody has looked at since `before`, longest ago first.
pub(in crate::features::links) fn links_to_probe(
    conn: &mut Conn,
    before: Micros,
    limit: i64,
) -> QueryResult<Vec<(OrgId, LinkId)>> {
    links::table
        .filter(links::status.eq_any([LinkStatus::Active, LinkStatus::Broken]))
        .filter(links::checked_at.is_null().or(links::checked_at.lt(before)))
        .order((links::checked_at, links::id))
        .limit(limit)
        .select((links::org_id, links::id))
        .load(conn)
}

/// A browser that was sent to Bitbucket.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = oauth_flows)]
pub(in crate::features::links) struct Flow {
    pub(in crate::features::links) state_hash: Vec<u8>,
    pub(in crate::features::links) org_id: OrgId,
    pub(in crate::features::links) user_id: UserId,
    pub(in crate::features::links) session_hash: Vec<u8>,
    pub(in crate::features::links) link_id: Option<LinkId>,
    pub(in crate::features::links) sealed: Vec<u8>,
    pub(in crate::features::links) expires_at: Micros,
}

pub(in crate::features::links) fn insert_flow(tx: &mut Tx<'_>, flow: &Flow) -> QueryResult<()> {
    diesel::insert_into(oauth_flows::table)
        .values((
            oauth_flows::state_hash.eq(&flow.state_hash),
            oauth_flows::org_id.eq(flow.org_id),
            oauth_flows::user_id.eq(flow.user_id),
            oauth_flows::session_hash.eq(&flow.session_hash),
            oauth_flows::link_id.eq(flow.link_id),
            oauth_flows::sealed.eq(&flow.sealed),
            oauth_flows::expires_at.eq(flow.expires_at),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Ends a flow: who gets it is the only one.
pub(in crate::features::links) fn take_flow(
    tx: &mut Tx<'_>,
    state_hash: &[u8],
    user: UserId,
    session_hash: &[u8],
    now: Micros,
) -> QueryResult<Option<Flow>> {
    let found: Option<Flow> = oauth_flows::table
        .filter(oauth_flows::state_hash.eq(state_hash))
        .filter(oauth_flows::user_id.eq(user))
        .filter(oauth_flows::session_hash.eq(session_hash))
        .filter(oauth_flows::expires_at.gt(now))
        .select(Flow::as_select())
        .first(tx.conn())
        .optional()?;
    let gone = diesel::delete(
        oauth_flows::table
            .filter(oauth_flows::state_hash.eq(state_hash))
            .filter(oauth_flows::session_hash.eq(session_hash)),
    )
    .execute(tx.conn())?;
    Ok(found.filter(|_| gone == 1))
}

/// Forgets browsers that did not come back.
pub(in crate::features::links) fn purge_flows(tx: &mut Tx<'_>, now: Micros) -> QueryResult<usize> {
    diesel::delete(oauth_flows::table.filter(oauth_flows::expires_at.le(now))).execute(tx.conn())
}
