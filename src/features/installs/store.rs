//! The table of installations. An installation belongs to a workspace, not to an organization, so nothing here
//! takes one: the tenant is the client key.

use diesel::prelude::*;

use super::lifecycle::PendingInstall;
use super::{InstallStatus, InstallationId};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::installations;

/// One Connect install, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = installations)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Installation {
    pub id: InstallationId,
    pub client_key: String,
    pub app_key: String,
    pub principal_uuid: String,
    pub principal_name: String,
    pub principal_type: String,
    pub domain_name: String,
    pub icon: Option<String>,
    pub status: InstallStatus,
    pub reset_allowed: bool,
    /// Counts installs and uninstalls: what was made under another number is not valid any more.
    pub generation: i64,
    pub installed_by: Option<String>,
    pub created_at: Micros,
    pub uninstalled_at: Option<Micros>,
}

/// An installation with its secret as it rests.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = installations)]
pub struct SealedInstall {
    /// The row.
    #[diesel(embed)]
    pub installation: Installation,
    pub(super) sealed_secret: Option<Vec<u8>>,
}

/// The installation of an id.
///
/// # Errors
/// When the query fails.
pub fn find(conn: &mut Conn, id: InstallationId) -> QueryResult<Option<Installation>> {
    installations::table
        .filter(installations::id.eq(id))
        .select(Installation::as_select())
        .first(conn)
        .optional()
}

/// The installation of an id with its sealed secret, for a feature that is about to call Bitbucket.
///
/// # Errors
/// When the query fails.
pub fn find_sealed(conn: &mut Conn, id: InstallationId) -> QueryResult<Option<SealedInstall>> {
    installations::table
        .filter(installations::id.eq(id))
        .select(SealedInstall::as_select())
        .first(conn)
        .optional()
}

/// The installation of a tenant.
///
/// # Errors
/// When the query fails.
pub fn find_by_client_key(conn: &mut Conn, client_key: &str) -> QueryResult<Option<Installation>> {
    Ok(sealed_by_client_key(conn, client_key)?.map(|sealed| sealed.installation))
}

pub(super) fn sealed_by_client_key(
    conn: &mut Conn,
    client_key: &str,
) -> QueryResult<Option<SealedInstall>> {
    installations::table
        .filter(installations::client_key.eq(client_key))
        .select(SealedInstall::as_select())
        .first(conn)
        .optional()
}

/// Inserts a new tenant, or overwrites the known one if its generation is still the expected one.
pub(super) fn put(
    tx: &mut Tx<'_>,
    install: &PendingInstall,
    sealed: &[u8],
    now: Micros,
) -> QueryResult<Option<Installation>> {
    let principal = &install.principal;
    let content = (
        installations::app_key.eq(&install.app_key),
        installations::principal_uuid.eq(&principal.uuid),
        installations::principal_name.eq(&principal.name),
        installations::principal_type.eq(&principal.kind),
        installations::domain_name.eq(&principal.domain_name),
        installations::icon.eq(principal.icon.as_deref()),
        installations::status.eq(InstallStatus::Live),
        installations::sealed_secret.eq(Some(sealed)),
        installations::reset_allowed.eq(false),
        installations::installed_by.eq(install.installed_by.as_deref()),
        installations::updated_at.eq(now),
        installations::uninstalled_at.eq(None::<Micros>),
    );
    let stored = match install.replaces {
        Some((id, generation)) => diesel::update(
            installations::table
                .filter(installations::id.eq(id))
                .filter(installations::generation.eq(generation)),
        )
        .set((content, installations::generation.eq(generation + 1)))
        .execute(tx.conn())?,
        None => on_both!(tx.conn(), |conn| diesel::insert_into(installations::table)
            .values((
                installations::client_key.eq(&install.client_key),
                installations::generation.eq(1_i64),
                installations::created_at.eq(now),
                content,
            ))
            .on_conflict(installations::client_key)
            .do_nothing()
            .execute(conn))?,
    };
    if stored == 1 {
        find_by_client_key(tx, &install.client_key)
    } else {
        Ok(None)
    }
}

pub(super) fn mark_uninstalled(
    tx: &mut Tx<'_>,
    id: InstallationId,
    generation: i64,
    now: Micros,
) -> QueryResult<Option<Installation>> {
    let changed = diesel::update(
        installations::table
            .filter(installations::id.eq(id))
            .filter(installations::generation.eq(generation))
            .filter(installations::status.eq(InstallStatus::Live)),
    )
    .set((
        installations::status.eq(InstallStatus::Uninstalled),
        installations::sealed_secret.eq(None::<Vec<u8>>),
        installations::reset_allowed.eq(false),
        installations::generation.eq(generation + 1),
        installations::updated_at.eq(now),
        installations::uninstalled_at.eq(Some(now)),
    ))
    .execute(tx.conn())?;
    if changed == 1 { find(tx, id) } else { Ok(None) }
}

pub(super) fn allow_reset(
    tx: &mut Tx<'_>,
    client_key: &str,
    now: Micros,
) -> QueryResult<Option<Installation>> {
    diesel::update(installations::table.filter(installations::client_key.eq(client_key)))
        .set((
            installations::reset_allowed.eq(true),
            installations::updated_at.eq(now),
        ))
        .execute(tx.conn())?;
    find_by_client_key(tx, client_key)
}

/// The next secrets in the order of their rows.
pub(super) fn sealed_after(
    conn: &mut Conn,
    after: InstallationId,
    limit: i64,
) -> QueryResult<Vec<(InstallationId, String, Vec<u8>)>> {
    installations::table
        .filter(installations::id.gt(after))
        .filter(installations::sealed_secret.is_not_null())
        .order(installations::id)
        .limit(limit)
        .select((
            installations::id,
            installations::client_key,
            installations::sealed_secret.assume_not_null(),
        ))
        .load(conn)
}

/// Puts a newly sealed form in the place of the old one, unless the secret has changed in between.
pub(super) fn replace_sealed(
    tx: &mut Tx<'_>,
    fresh: &[(InstallationId, Vec<u8>, Vec<u8>)],
) -> QueryResult<usize> {
    let mut changed = 0;
    for (id, old, new) in fresh {
        changed += diesel::update(
            installations::table
                .filter(installations::id.eq(*id))
                .filter(installations::sealed_secret.eq(Some(old))),
        )
        .set(installations::sealed_secret.eq(Some(new)))
        .execute(tx.conn())?;
    }
    Ok(changed)
}
