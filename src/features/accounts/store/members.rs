//! The tables of memberships and invitations.

use diesel::prelude::*;

use crate::features::accounts::{OrgId, Role, UserId};
use crate::kit::clock::Micros;
use crate::kit::crypto::TokenHash;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{invitations, memberships, users};

/// A member of an organization, for lists.
#[derive(Debug, Clone, Queryable)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct MemberRow {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub since: Micros,
}

/// An open invitation; its code is stored only as a hash.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = invitations)]
pub(in super::super) struct InvitationRow {
    pub id: i64,
    pub org_id: OrgId,
    pub email: String,
    pub role: Role,
    pub invited_by: String,
    pub expires_at: Micros,
}

/// Gives a user a role in an organization, or changes it.
pub(in super::super) fn set_member(
    tx: &mut Tx<'_>,
    org: OrgId,
    user: UserId,
    role: Role,
    now: Micros,
) -> QueryResult<()> {
    on_both!(tx.conn(), |conn| diesel::insert_into(memberships::table)
        .values((
            memberships::org_id.eq(org),
            memberships::user_id.eq(user),
            memberships::role.eq(role),
            memberships::created_at.eq(now),
        ))
        .on_conflict((memberships::org_id, memberships::user_id))
        .do_update()
        .set(memberships::role.eq(role))
        .execute(conn))
    .map(drop)
}

/// The role of a user in an organization.
///
/// # Errors
/// When the query fails.
pub fn find_member(conn: &mut Conn, org: OrgId, user: UserId) -> QueryResult<Option<Role>> {
    memberships::table
        .filter(memberships::org_id.eq(org))
        .filter(memberships::user_id.eq(user))
        .select(memberships::role)
        .first(conn)
        .optional()
}

/// Members of an organization, by e-mail.
///
/// # Errors
/// When the query fails.
pub fn list_members(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<MemberRow>> {
    memberships::table
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .filter(memberships::org_id.eq(org))
        .order(users::email)
        .select((
            users::id,
            users::email,
            users::name,
            memberships::role,
            memberships::created_at,
        ))
        .load(conn)
}

/// How many owners an organization has.
pub(in super::super) fn count_owners(conn: &mut Conn, org: OrgId) -> QueryResult<i64> {
    memberships::table
        .filter(memberships::org_id.eq(org))
        .filter(memberships::role.eq(Role::Owner))
        .count()
        .get_result(conn)
}

pub(in super::super) fn delete_member(
    tx: &mut Tx<'_>,
    org: OrgId,
    user: UserId,
) -> QueryResult<bool> {
    diesel::delete(
        memberships::table
            .filter(memberships::org_id.eq(org))
            .filter(memberships::user_id.eq(user)),
    )
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Stores an invitation; an older one of that e-mail is replaced, so that its link is dead.
#[expect(clippy::too_many_arguments, reason = "one per column")]
pub(in super::super) fn put_invitation(
    tx: &mut Tx<'_>,
    org: OrgId,
    email: &str,
    role: Role,
    code: &TokenHash,
    invited_by: &str,
    now: Micros,
    expires: Micros,
) -> QueryResult<()> {
    diesel::delete(
        invitations::table
            .filter(invitations::org_id.eq(org))
            .filter(invitations::email.eq(email)),
    )
    .execute(tx.conn())?;
    diesel::insert_into(invitations::table)
        .values((
            invitations::org_id.eq(org),
            invitations::email.eq(email),
            invitations::role.eq(role),
            invitations::code_hash.eq(code.0.to_vec()),
            invitations::invited_by.eq(invited_by),
            invitations::created_at.eq(now),
            invitations::expires_at.eq(expires),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// The invitation of a code, whatever its organization: the code itself is the credential.
pub(in super::super) fn find_invitation(
    conn: &mut Conn,
    code: &TokenHash,
    now: Micros,
) -> QueryResult<Option<InvitationRow>> {
    invitations::table
        .filter(invitations::code_hash.eq(code.0.to_vec()))
        .filter(invitations::expires_at.gt(now))
        .select(InvitationRow::as_select())
        .first(conn)
        .optional()
}

/// The open invitations of an organization, by e-mail.
pub(in super::super) fn list_invitations(
    conn: &mut Conn,
    org: OrgId,
    now: Micros,
) -> QueryResult<Vec<InvitationRow>> {
    invitations::table
        .filter(invitations::org_id.eq(org))
        .filter(invitations::expires_at.gt(now))
        .order(invitations::email)
        .select(InvitationRow::as_select())
        .load(conn)
}

/// Deletes an invitation and answers its e-mail; `None` when it is gone already.
pub(in super::super) fn take_invitation(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: i64,
) -> QueryResult<Option<String>> {
    diesel::delete(
        invitations::table
            .filter(invitations::org_id.eq(org))
            .filter(invitations::id.eq(id)),
    )
    .returning(invitations::email)
    .get_result(tx.conn())
    .optional()
}

/// Deletes invitations whose time is over.
///
/// # Errors
/// When the statement fails.
pub fn purge_invitations(tx: &mut Tx<'_>, now: Micros) -> QueryResult<usize> {
    diesel::delete(invitations::table.filter(invitations::expires_at.le(now))).execute(tx.conn())
}
