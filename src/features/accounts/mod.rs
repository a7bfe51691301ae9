//! Tenants and people: organizations, projects with their DSN keys, users with roles, sessions and API tokens.
//!
//! Everybody imports this feature and it imports nobody. Handlers ask for a permission in their signature
//! ([`OrgAccess`], [`AnyAccess`]); a handler that has one knows the organization, the caller and that the scope
//! is there. Every query of every feature takes the [`OrgId`] first.

pub mod api;
mod extract;
pub mod join;
mod members;
pub mod my_tokens;
pub mod pages;
mod password;
mod scopes;
pub mod settings;
mod shell;
mod store;
mod throttle;
mod token;
mod token_form;
mod user_tokens;

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::kit::clock::Micros;
use crate::kit::crypto::{TokenHash, random_hex};
use crate::kit::db::{self, Conn, Tx};
use crate::kit::ids::{row_id, text_enum};

pub use extract::{
    AnyAccess, Caller, CsrfForm, Granted, Nothing, OrgAccess, Requirement, SignedIn,
    clear_session_cookie, issue_csrf, need, session_cookie, session_token, verify_csrf,
};
pub use members::{
    INVITATION_LIFE, Invitation, Joiner, change_role, find_invitation, invite, remove, withdraw,
};
pub use password::{hash_password, verify_password};
pub use scopes::{Scope, ScopeSet};
pub use shell::{Flash, Shell, redirect_with};
pub use store::{
    MemberRow, NewProject, Org, Project, ProjectKey, TokenRow, User, delete_session, find_key,
    find_member, find_org, find_project, find_user, insert_session, list_keys, list_members,
    list_orgs_of, list_projects, list_tokens, org_by_id, orgs_of_token, project_by_id,
    projects_by_ids, purge_invitations, purge_sessions, revoke_token, take_short_no, user_by_email,
    users_by_ids, users_exist,
};
pub use token::{new_org_token, new_user_token};
pub use user_tokens::{create_user_token, revoke_user_token};

row_id! {
    /// Row id of an organization, the tenant.
    OrgId
}
row_id! {
    /// Row id of a project; also the project part of its DSN.
    ProjectId
}
row_id! {
    /// Row id of a user.
    UserId
}

text_enum! {
    /// What a member may do; see [`Role::scopes`].
    Role {
        /// Everything, members and tokens included.
        Owner = "owner",
        /// Everything but owners' affairs.
        Manager = "manager",
        /// Works on errors and releases.
        Member = "member",
    }
}

impl Role {
    /// True for the roles that may connect workspaces and manage repositories.
    #[must_use]
    pub fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Manager)
    }
}

text_enum! {
    /// When a fixing commit resolves a group.
    ResolvePolicy {
        /// `on_release` where the project has a release with commits, else `on_main`.
        Auto = "auto",
        /// When a release holds the commit, as Sentry does.
        OnRelease = "on_release",
        /// When the commit is on the repository's main branch.
        OnMain = "on_main",
        /// When a release that holds the commit is deployed.
        OnDeploy = "on_deploy",
    }
}

/// Checks a slug: 1 to 50 of a–z, 0–9 and hyphens, not only digits (a number would be read as an id).
///
/// # Errors
/// 400 that says what a slug may be.
pub fn check_slug(slug: &str) -> AppResult<()> {
    let fits = !slug.is_empty()
        && slug.len() <= 50
        && slug
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-')
        && !slug.bytes().all(|b| b.is_ascii_digit());
    if fits {
        return Ok(());
    }
    Err(AppError::field(
        "slug",
        "A slug is 1 to 50 lower-case letters, digits and inner hyphens, with at least one letter.",
    ))
}

/// Makes an organization.
///
/// # Errors
/// 400 for a bad slug, 409 when it is taken.
pub fn create_org(tx: &mut Tx<'_>, slug: &str, name: &str, now: Micros) -> AppResult<Org> {
    check_slug(slug)?;
    let name = if name.trim().is_empty() {
        slug
    } else {
        name.trim()
    };
    store::insert_org(tx, slug, name, now)?.ok_or_else(|| {
        AppError::conflict(format!(
            "An organization with the slug {slug:?} exists already."
        ))
    })
}

/// Makes a project with one DSN key.
///
/// # Errors
/// 400 for a bad slug, 409 when it is taken in this organization.
pub fn create_project(
    tx: &mut Tx<'_>,
    org: OrgId,
    project: &NewProject,
    now: Micros,
) -> AppResult<(Project, ProjectKey)> {
    check_slug(&project.slug)?;
    let made = store::insert_project(tx, org, project, now)?.ok_or_else(|| {
        AppError::conflict(format!(
            "A project with the slug {:?} exists already.",
            project.slug
        ))
    })?;
    let key = store::insert_key(tx, org, made.id, &random_hex(16), "Default", now)?;
    Ok((made, key))
}

/// An e-mail address as it is stored: without blanks around it, in lower case.
///
/// # Errors
/// 400 for something that is not an e-mail address.
fn check_email(email: &str) -> AppResult<String> {
    let email = email.trim().to_lowercase();
    let looks_right = email.len() <= 254
        && email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && host.contains(|c: char| c.is_alphanumeric())
        })
        && !email.contains(char::is_whitespace);
    if looks_right {
        Ok(email)
    } else {
        Err(AppError::field("email", "This is not an e-mail address."))
    }
}

/// Makes a user, or takes the existing one of that e-mail, and gives the role in the organization.
/// `password_hash` is used for a new user only. For the command line: the console invites.
///
/// # Errors
/// 400 for something that is not an e-mail address, 409 when this would demote the last owner.
pub fn create_member(
    tx: &mut Tx<'_>,
    org: OrgId,
    email: &str,
    name: &str,
    password_hash: &str,
    role: Role,
    now: Micros,
) -> AppResult<User> {
    let email = check_email(email)?;
    let user = match store::user_by_email(tx, &email)? {
        Some(user) => user,
        None => store::insert_user(tx, &email, name.trim(), password_hash, now)?,
    };
    members::give_role(tx, org, user.id, role, now)?;
    Ok(user)
}

/// Makes an API token and answers its text, which is stored nowhere.
///
/// # Errors
/// When the row cannot be inserted.
pub fn create_org_token(
    tx: &mut Tx<'_>,
    org: &Org,
    name: &str,
    scopes: ScopeSet,
    public_url: &str,
    now: Micros,
) -> AppResult<String> {
    let token = new_org_token(&org.slug, public_url, now);
    store::insert_token(
        tx,
        &TokenHash::of(&token),
        Some(org.id),
        None,
        name,
        &token,
        scopes,
        now,
    )?;
    Ok(token)
}

/// The DSN of a key: `scheme://key@host/project`.
#[must_use]
pub fn dsn(public_url: &url::Url, key: &ProjectKey) -> String {
    let host = public_url.host_str().unwrap_or("localhost");
    let port = public_url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!(
        "{}://{}@{host}{port}/{}",
        public_url.scheme(),
        key.public_key,
        key.project_id
    )
}

/// The project that `slug_or_id` names in this organization.
///
/// # Errors
/// 404 when there is none.
pub fn require_project(conn: &mut Conn, org: OrgId, slug_or_id: &str) -> AppResult<Project> {
    store::find_project(conn, org, slug_or_id)?.ok_or_else(AppError::not_found)
}

/// The one-time code with which the first owner is made; `None` once a user exists.
///
/// Every server of an installation must print and take the same one. It is derived from the sealing key, which they
/// share, and from the moment at which the database was made, so that another database under the same keys has another
/// code. A stored random code would need a row, a race of the first two servers, and a seal, because a server that
/// starts later has to print it too; this needs nothing and leaves nothing behind.
///
/// # Errors
/// When the database fails.
pub async fn first_owner_code(app: &App) -> AppResult<Option<String>> {
    let made_at = app
        .db
        .read(|conn| match users_exist(conn)? {
            true => Ok::<_, AppError>(None),
            false => Ok(Some(db::made_at(conn)?)),
        })
        .await?;
    Ok(made_at.map(|made_at| app.signer.code("first-owner", &made_at)))
}
