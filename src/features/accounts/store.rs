//! The tables of organizations, projects, users, sessions and tokens.

mod members;

use diesel::prelude::*;

use super::{OrgId, ProjectId, ResolvePolicy, Role, ScopeSet, UserId};
use crate::kit::clock::Micros;
use crate::kit::crypto::TokenHash;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{api_tokens, memberships, orgs, project_keys, projects, sessions, users};

pub(super) use members::{
    InvitationRow, count_owners, delete_member, find_invitation, list_invitations, put_invitation,
    set_member, take_invitation,
};
pub use members::{MemberRow, find_member, list_members, purge_invitations};

/// An organization: the tenant.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = orgs)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Org {
    pub id: OrgId,
    pub slug: String,
    pub name: String,
    pub created_at: Micros,
}

/// A project of an organization.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = projects)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Project {
    pub id: ProjectId,
    pub org_id: OrgId,
    pub slug: String,
    pub name: String,
    pub platform: String,
    pub resolve_policy: ResolvePolicy,
    pub created_at: Micros,
}

/// What a new project needs.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after the columns")]
pub struct NewProject {
    pub slug: String,
    pub name: String,
    pub platform: String,
}

/// A DSN key of a project.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = project_keys)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct ProjectKey {
    pub id: i64,
    pub org_id: OrgId,
    pub project_id: ProjectId,
    pub public_key: String,
    pub label: String,
    pub active: bool,
}

/// A person.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = users)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub password_hash: String,
    pub active: bool,
}

impl User {
    /// A readable name for activities and the audit log: without a name the e-mail stands in.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        if self.name.is_empty() {
            &self.email
        } else {
            &self.name
        }
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({})", self.id)
    }
}

/// A token, for lists: never its text.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = api_tokens)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct TokenRow {
    pub id: i64,
    pub org_id: Option<OrgId>,
    pub user_id: Option<UserId>,
    pub name: String,
    pub hint: String,
    pub scopes: String,
    pub created_at: Micros,
    pub last_used_at: Option<Micros>,
    pub revoked_at: Option<Micros>,
}

pub(super) fn insert_org(
    tx: &mut Tx<'_>,
    slug: &str,
    name: &str,
    now: Micros,
) -> QueryResult<Option<Org>> {
    on_both!(tx.conn(), |conn| diesel::insert_into(orgs::table)
        .values((
            orgs::slug.eq(slug),
            orgs::name.eq(name),
            orgs::created_at.eq(now)
        ))
        .on_conflict_do_nothing()
        .returning(orgs::all_columns)
        .get_result(conn)
        .optional())
}

/// The organization of a slug or a decimal id.
///
/// # Errors
/// When the query fails.
pub fn find_org(conn: &mut Conn, slug_or_id: &str) -> QueryResult<Option<Org>> {
    match slug_or_id.parse::<OrgId>() {
        Ok(id) => org_by_id(conn, id),
        Err(_) => orgs::table
            .filter(orgs::slug.eq(slug_or_id))
            .select(Org::as_select())
            .first(conn)
            .optional(),
    }
}

/// The organization of an id.
///
/// # Errors
/// When the query fails.
pub fn org_by_id(conn: &mut Conn, id: OrgId) -> QueryResult<Option<Org>> {
    orgs::table
        .filter(orgs::id.eq(id))
        .select(Org::as_select())
        .first(conn)
        .optional()
}

/// The organizations of a user with the role in each, by slug.
///
/// # Errors
/// When the query fails.
pub fn list_orgs_of(conn: &mut Conn, user: UserId) -> QueryResult<Vec<(Org, Role)>> {
    orgs::table
        .inner_join(memberships::table.on(memberships::org_id.eq(orgs::id)))
        .filter(memberships::user_id.eq(user))
        .order(orgs::slug)
        .select((Org::as_select(), memberships::role))
        .load(conn)
}

/// The one organization of an organization token.
///
/// # Errors
/// When the query fails.
pub fn orgs_of_token(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<Org>> {
    orgs::table
        .filter(orgs::id.eq(org))
        .select(Org::as_select())
        .load(conn)
}

pub(super) fn insert_project(
    tx: &mut Tx<'_>,
    org: OrgId,
    project: &NewProject,
    now: Micros,
) -> QueryResult<Option<Project>> {
    let id: Option<ProjectId> = on_both!(tx.conn(), |conn| diesel::insert_into(projects::table)
        .values((
            projects::org_id.eq(org),
            projects::slug.eq(&project.slug),
            projects::name.eq(&project.name),
            projects::platform.eq(&project.platform),
            projects::resolve_policy.eq(ResolvePolicy::Auto),
            projects::next_short_no.eq(1),
            projects::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .returning(projects::id)
        .get_result(conn)
        .optional())?;
    match id {
        Some(id) => project_by_id(tx, org, id),
        None => Ok(None),
    }
}

/// The project of a slug or a decimal id in an organization.
///
/// # Errors
/// When the query fails.
pub fn find_project(conn: &mut Conn, org: OrgId, slug_or_id: &str) -> QueryResult<Option<Project>> {
    match slug_or_id.parse::<ProjectId>() {
        Ok(id) => project_by_id(conn, org, id),
        Err(_) => projects::table
            .filter(projects::org_id.eq(org))
            .filter(projects::slug.eq(slug_or_id))
            .select(Project::as_select())
            .first(conn)
            .optional(),
    }
}

/// The project of an id in an organization.
///
/// # Errors
/// When the query fails.
pub fn project_by_id(conn: &mut Conn, org: OrgId, id: ProjectId) -> QueryResult<Option<Project>> {
    projects::table
        .filter(projects::org_id.eq(org))
        .filter(projects::id.eq(id))
        .select(Project::as_select())
        .first(conn)
        .optional()
}

/// Takes the next group number of a project; `None` when the project is gone. Locks the project's row until the
/// transaction ends, so that no number is given twice.
///
/// # Errors
/// When the statement fails.
pub fn take_short_no(tx: &mut Tx<'_>, org: OrgId, project: ProjectId) -> QueryResult<Option<i64>> {
    diesel::update(
        projects::table
            .filter(projects::org_id.eq(org))
            .filter(projects::id.eq(project)),
    )
    .set(projects::next_short_no.eq(projects::next_short_no + 1))
    .returning(projects::next_short_no - 1)
    .get_result(tx.conn())
    .optional()
}

/// Several projects of an organization at once.
///
/// # Errors
/// When the query fails.
pub fn projects_by_ids(
    conn: &mut Conn,
    org: OrgId,
    ids: &[ProjectId],
) -> QueryResult<Vec<Project>> {
    projects::table
        .filter(projects::org_id.eq(org))
        .filter(projects::id.eq_any(ids))
        .select(Project::as_select())
        .load(conn)
}

/// All projects of an organization, by slug.
///
/// # Errors
/// When the query fails.
pub fn list_projects(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<Project>> {
    projects::table
        .filter(projects::org_id.eq(org))
        .order(projects::slug)
        .select(Project::as_select())
        .load(conn)
}

pub(super) fn insert_key(
    tx: &mut Tx<'_>,
    org: OrgId,
    project: ProjectId,
    public_key: &str,
    label: &str,
    now: Micros,
) -> QueryResult<ProjectKey> {
    diesel::insert_into(project_keys::table)
        .values((
            project_keys::org_id.eq(org),
            project_keys::project_id.eq(project),
            project_keys::public_key.eq(public_key),
            project_keys::label.eq(label),
            project_keys::active.eq(true),
            project_keys::created_at.eq(now),
        ))
        .execute(tx.conn())?;
    project_keys::table
        .filter(project_keys::public_key.eq(public_key))
        .select(ProjectKey::as_select())
        .first(tx.conn())
}

/// The key of a DSN, whatever its organization: the key itself is the credential.
///
/// # Errors
/// When the query fails.
pub fn find_key(conn: &mut Conn, public_key: &str) -> QueryResult<Option<ProjectKey>> {
    project_keys::table
        .filter(project_keys::public_key.eq(public_key))
        .select(ProjectKey::as_select())
        .first(conn)
        .optional()
}

/// The keys of an organization's projects.
///
/// # Errors
/// When the query fails.
pub fn list_keys(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<ProjectKey>> {
    project_keys::table
        .filter(project_keys::org_id.eq(org))
        .order(project_keys::id)
        .select(ProjectKey::as_select())
        .load(conn)
}

pub(super) fn insert_user(
    tx: &mut Tx<'_>,
    email: &str,
    name: &str,
    password_hash: &str,
    now: Micros,
) -> QueryResult<User> {
    diesel::insert_into(users::table)
        .values((
            users::email.eq(email),
            users::name.eq(name),
            users::password_hash.eq(password_hash),
            users::active.eq(true),
            users::created_at.eq(now),
        ))
        .execute(tx.conn())?;
    users::table
        .filter(users::email.eq(email))
        .select(User::as_select())
        .first(tx.conn())
}

/// The user of a lower-case e-mail address.
///
/// # Errors
/// When the query fails.
pub fn user_by_email(conn: &mut Conn, email: &str) -> QueryResult<Option<User>> {
    users::table
        .filter(users::email.eq(email))
        .select(User::as_select())
        .first(conn)
        .optional()
}

/// The user of an id.
///
/// # Errors
/// When the query fails.
pub fn find_user(conn: &mut Conn, id: UserId) -> QueryResult<Option<User>> {
    users::table
        .filter(users::id.eq(id))
        .select(User::as_select())
        .first(conn)
        .optional()
}

/// Several users at once.
///
/// # Errors
/// When the query fails.
pub fn users_by_ids(conn: &mut Conn, ids: &[UserId]) -> QueryResult<Vec<User>> {
    users::table
        .filter(users::id.eq_any(ids))
        .select(User::as_select())
        .load(conn)
}

/// True when there is any user: the first-owner page is then gone.
///
/// # Errors
/// When the query fails.
pub fn users_exist(conn: &mut Conn) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(users::table.select(users::id))).get_result(conn)
}

/// Stores a session by the hash of its token.
///
/// # Errors
/// When the row cannot be inserted.
pub fn insert_session(
    tx: &mut Tx<'_>,
    token: &TokenHash,
    user: UserId,
    now: Micros,
    expires: Micros,
) -> QueryResult<()> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(token.0.to_vec()),
            sessions::user_id.eq(user),
            sessions::created_at.eq(now),
            sessions::expires_at.eq(expires),
        ))
        .execute(tx.conn())
        .map(drop)
}

pub(super) fn session_user(
    conn: &mut Conn,
    token: &TokenHash,
    now: Micros,
) -> QueryResult<Option<User>> {
    sessions::table
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(sessions::token_hash.eq(token.0.to_vec()))
        .filter(sessions::expires_at.gt(now))
        .filter(users::active.eq(true))
        .select(User::as_select())
        .first(conn)
        .optional()
}

/// Ends a session.
///
/// # Errors
/// When the statement fails.
pub fn delete_session(tx: &mut Tx<'_>, token: &TokenHash) -> QueryResult<()> {
    diesel::delete(sessions::table.filter(sessions::token_hash.eq(token.0.to_vec())))
        .execute(tx.conn())
        .map(drop)
}

/// Deletes sessions that have expired.
///
/// # Errors
/// When the statement fails.
pub fn purge_sessions(tx: &mut Tx<'_>, now: Micros) -> QueryResult<usize> {
    diesel::delete(sessions::table.filter(sessions::expires_at.le(now))).execute(tx.conn())
}

#[expect(clippy::too_many_arguments, reason = "one per column")]
pub(super) fn insert_token(
    tx: &mut Tx<'_>,
    hash: &TokenHash,
    org: Option<OrgId>,
    user: Option<UserId>,
    name: &str,
    token: &str,
    scopes: ScopeSet,
    now: Micros,
) -> QueryResult<()> {
    // The last characters let a person tell tokens apart and give nothing away.
    let hint: String = token
        .chars()
        .skip(token.chars().count().saturating_sub(4))
        .collect();
    diesel::insert_into(api_tokens::table)
        .values((
            api_tokens::token_hash.eq(hash.0.to_vec()),
            api_tokens::org_id.eq(org),
            api_tokens::user_id.eq(user),
            api_tokens::name.eq(name),
            api_tokens::hint.eq(hint),
            api_tokens::scopes.eq(scopes.to_text()),
            api_tokens::created_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

pub(super) fn find_token(conn: &mut Conn, hash: &TokenHash) -> QueryResult<Option<TokenRow>> {
    api_tokens::table
        .filter(api_tokens::token_hash.eq(hash.0.to_vec()))
        .filter(api_tokens::revoked_at.is_null())
        .select(TokenRow::as_select())
        .first(conn)
        .optional()
}

pub(super) fn touch_token(tx: &mut Tx<'_>, id: i64, now: Micros) -> QueryResult<()> {
    diesel::update(api_tokens::table.filter(api_tokens::id.eq(id)))
        .set(api_tokens::last_used_at.eq(Some(now)))
        .execute(tx.conn())
        .map(drop)
}

/// The live tokens of an organization, newest first.
///
/// # Errors
/// When the query fails.
pub fn list_tokens(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<TokenRow>> {
    api_tokens::table
        .filter(api_tokens::org_id.eq(org))
        .filter(api_tokens::revoked_at.is_null())
        .order(api_tokens::id.desc())
        .select(TokenRow::as_select())
        .load(conn)
}

pub(super) fn list_user_tokens(conn: &mut Conn, user: UserId) -> QueryResult<Vec<TokenRow>> {
    api_tokens::table
        .filter(api_tokens::user_id.eq(user))
        .filter(api_tokens::revoked_at.is_null())
        .order(api_tokens::id.desc())
        .select(TokenRow::as_select())
        .load(conn)
}

/// Revokes a token of a user; its name, or `None` when there is none.
pub(super) fn revoke_user_token(
    tx: &mut Tx<'_>,
    user: UserId,
    id: i64,
    now: Micros,
) -> QueryResult<Option<String>> {
    diesel::update(
        api_tokens::table
            .filter(api_tokens::user_id.eq(user))
            .filter(api_tokens::id.eq(id))
            .filter(api_tokens::revoked_at.is_null()),
    )
    .set(api_tokens::revoked_at.eq(Some(now)))
    .returning(api_tokens::name)
    .get_result(tx.conn())
    .optional()
}

/// Revokes a token of an organization. False when there is none.
///
/// # Errors
/// When the statement fails.
pub fn revoke_token(tx: &mut Tx<'_>, org: OrgId, id: i64, now: Micros) -> QueryResult<bool> {
    diesel::update(
        api_tokens::table
            .filter(api_tokens::org_id.eq(org))
            .filter(api_tokens::id.eq(id))
            .filter(api_tokens::revoked_at.is_null()),
    )
    .set(api_tokens::revoked_at.eq(Some(now)))
    .execute(tx.conn())
    .map(|count| count == 1)
}
