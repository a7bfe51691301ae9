//! The tables of links, repositories and hooks.

use diesel::dsl::{count_star, exists, not};
use diesel::prelude::*;

use super::{HookState, LinkId, LinkStatus, PROVIDER, REPO_PROVIDER, RepoId, RepoStatus};
use crate::features::accounts::OrgId;
use crate::features::installs::InstallationId;
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{links, repo_hooks, repos};

diesel::define_sql_function! {
    /// Lower case, ASCII on SQLite.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

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
    pub(super) config: String,
    pub created_by: String,
    pub created_at: Micros,
}

/// A repository that the organization uses.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = repos)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Repo {
    pub id: RepoId,
    pub org_id: OrgId,
    /// None for a repository that is known from releases only.
    pub link_id: Option<LinkId>,
    pub provider: Option<String>,
    /// The uuid in braces.
    pub external_id: Option<String>,
    /// `workspace/slug`, or what a release called it.
    pub name: String,
    pub url: Option<String>,
    pub main_branch: Option<String>,
    pub status: RepoStatus,
    /// Whether it has an issue tracker; None when nobody has looked.
    pub has_tracker: Option<bool>,
    pub created_at: Micros,
    pub updated_at: Micros,
}

/// The webhook of a repository.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = repo_hooks)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Hook {
    pub repo_id: RepoId,
    pub hook_uuid: Option<String>,
    pub state: HookState,
    pub(super) sealed_secret: Vec<u8>,
    pub(super) sealed_previous: Option<Vec<u8>>,
    pub(super) previous_until: Option<Micros>,
    pub last_error: Option<String>,
    pub last_delivery_at: Option<Micros>,
    pub checked_at: Option<Micros>,
    pub updated_at: Micros,
}

/// What a new or renewed link says.
pub(super) struct LinkFacts<'a> {
    pub(super) installation_id: InstallationId,
    pub(super) external_id: &'a str,
    pub(super) workspace_uuid: &'a str,
    pub(super) name: &'a str,
    pub(super) domain_name: &'a str,
    pub(super) account_type: &'a str,
    pub(super) icon: Option<&'a str>,
}

/// What Bitbucket says about a repository.
#[derive(Debug, Clone)]
pub(super) struct RepoFacts {
    pub(super) external_id: String,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) main_branch: Option<String>,
    pub(super) has_tracker: Option<bool>,
}

/// How a repository came to its link (the creation order of sentry.md §8.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    /// A hidden, removed or disabled row of the same repository is active again.
    Revived(Repo),
    /// A row known from releases belongs to the link now.
    Adopted(Repo),
    /// A new row.
    Inserted(Repo),
    /// Somebody else inserted it a moment ago.
    Twin(Repo),
    /// It was there and active before.
    Exists(Repo),
}

/// Which repositories a list shows.
#[derive(Debug, Clone, Default)]
pub struct RepoFilter {
    /// Part of the name, any case.
    pub query: Option<String>,
    /// Only this status; all but removed ones without.
    pub status: Option<RepoStatus>,
    /// Only those of this link.
    pub link: Option<LinkId>,
    /// Only those that have a link at all.
    pub linked: bool,
    /// Only those whose hook works (true) or needs repair (false).
    pub healthy: Option<bool>,
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

/// A link that was not disconnected.
///
/// # Errors
/// When the query fails.
pub fn find_link(conn: &mut Conn, org: OrgId, id: LinkId) -> QueryResult<Option<Link>> {
    Ok(find_any_link(conn, org, id)?.filter(|link| link.status != LinkStatus::Removed))
}

pub(super) fn find_any_link(conn: &mut Conn, org: OrgId, id: LinkId) -> QueryResult<Option<Link>> {
    links::table
        .filter(links::org_id.eq(org))
        .filter(links::id.eq(id))
        .select(Link::as_select())
        .first(conn)
        .optional()
}

/// Links of an installation over all organizations, for what happens to the installation itself.
pub(super) fn links_of_installation(conn: &mut Conn, id: InstallationId) -> QueryResult<Vec<Link>> {
    links::table
        .filter(links::installation_id.eq(id))
        .filter(links::status.ne(LinkStatus::Removed))
        .order(links::id)
        .select(Link::as_select())
        .load(conn)
}

/// Makes a link, or takes the one of the same tenant and workspace. True when it was not active before.
pub(super) fn put_link(
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
        .on_conflict((links::org_id, links::provider, links::external_id, links::workspace_uuid))
        .do_nothing()
        .execute(conn))?;
    if inserted == 1 {
        return Ok((same().select(Link::as_select()).first(tx.conn())?, true));
    }
    let before: LinkStatus = same().select(links::status).first(tx.conn())?;
    diesel::update(same()).set(content()).execute(tx.conn())?;
    Ok((same().select(Link::as_select()).first(tx.conn())?, before != LinkStatus::Active))
}

pub(super) fn set_link_status(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: LinkId,
    status: LinkStatus,
    reason: Option<&str>,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(links::table.filter(links::org_id.eq(org)).filter(links::id.eq(id)))
        .set((links::status.eq(status), links::status_reason.eq(reason), links::updated_at.eq(now)))
        .execute(tx.conn())
        .map(|count| count == 1)
}

/// Notes what Bitbucket holds against an active link, or that it is content again.
pub(super) fn set_link_reason(tx: &mut Tx<'_>, org: OrgId, id: LinkId, reason: Option<&str>, now: Micros) -> QueryResult<()> {
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

pub(super) fn set_link_config(tx: &mut Tx<'_>, org: OrgId, id: LinkId, config: &str, now: Micros) -> QueryResult<()> {
    diesel::update(links::table.filter(links::org_id.eq(org)).filter(links::id.eq(id)))
        .set((links::config.eq(config), links::updated_at.eq(now)))
        .execute(tx.conn())
        .map(drop)
}

/// A repository, whatever its status.
///
/// # Errors
/// When the query fails.
pub fn find_repo(conn: &mut Conn, org: OrgId, id: RepoId) -> QueryResult<Option<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::id.eq(id))
        .select(Repo::as_select())
        .first(conn)
        .optional()
}

/// A repository by its uuid in braces, whatever its status.
///
/// # Errors
/// When the query fails.
pub fn find_repo_by_external(conn: &mut Conn, org: OrgId, external_id: &str) -> QueryResult<Option<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::provider.eq(REPO_PROVIDER))
        .filter(repos::external_id.eq(external_id))
        .select(Repo::as_select())
        .first(conn)
        .optional()
}

/// The repository that a release or a form calls by this name: an active linked one if there is one, else the
/// oldest that was not removed.
///
/// # Errors
/// When the query fails.
pub fn find_repo_by_name(conn: &mut Conn, org: OrgId, name: &str) -> QueryResult<Option<Repo>> {
    let mut found: Vec<Repo> = repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::name.eq(name))
        .filter(repos::status.ne(RepoStatus::Removed))
        .order(repos::id)
        .select(Repo::as_select())
        .load(conn)?;
    found.sort_by_key(|repo| (repo.status != RepoStatus::Active, repo.link_id.is_none(), repo.id));
    Ok(found.into_iter().next())
}

/// Several repositories at once.
///
/// # Errors
/// When the query fails.
pub fn repos_by_ids(conn: &mut Conn, org: OrgId, ids: &[RepoId]) -> QueryResult<Vec<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::id.eq_any(ids))
        .select(Repo::as_select())
        .load(conn)
}

/// The repositories of a link that were not removed, by name.
///
/// # Errors
/// When the query fails.
pub fn repos_of_link(conn: &mut Conn, org: OrgId, link: LinkId) -> QueryResult<Vec<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.eq(link))
        .filter(repos::status.ne(RepoStatus::Removed))
        .order((repos::name, repos::id))
        .select(Repo::as_select())
        .load(conn)
}

/// Repositories that only releases know, oldest first.
pub(super) fn unlinked_repos(conn: &mut Conn, org: OrgId, limit: i64) -> QueryResult<Vec<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.is_null())
        .filter(repos::external_id.is_null())
        .order(repos::id)
        .limit(limit)
        .select(Repo::as_select())
        .load(conn)
}

type BoxedRepos<'a> = repos::BoxedQuery<'a, <Conn as diesel::Connection>::Backend>;

fn filtered(org: OrgId, filter: &RepoFilter) -> BoxedRepos<'static> {
    let mut query = repos::table.filter(repos::org_id.eq(org)).into_boxed();
    query = match filter.status {
        Some(status) => query.filter(repos::status.eq(status)),
        None => query.filter(repos::status.ne(RepoStatus::Removed)),
    };
    if let Some(text) = &filter.query {
        let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        query = query.filter(lower(repos::name).like(format!("%{escaped}%")).escape('\\'));
    }
    if let Some(link) = filter.link {
        query = query.filter(repos::link_id.eq(link));
    }
    if filter.linked {
        query = query.filter(repos::link_id.is_not_null());
    }
    if let Some(healthy) = filter.healthy {
        let good = repo_hooks::table
            .filter(repo_hooks::repo_id.eq(repos::id))
            .filter(repo_hooks::state.eq_any([HookState::Active, HookState::Pending]));
        query = if healthy { query.filter(exists(good)) } else { query.filter(not(exists(good))) };
    }
    query
}

/// Repositories by name.
///
/// # Errors
/// When the query fails.
pub fn list_repos(conn: &mut Conn, org: OrgId, filter: &RepoFilter, offset: i64, limit: i64) -> QueryResult<Vec<Repo>> {
    filtered(org, filter)
        .order((repos::name, repos::id))
        .offset(offset)
        .limit(limit)
        .select(Repo::as_select())
        .load(conn)
}

/// How many repositories a filter finds.
///
/// # Errors
/// When the query fails.
pub fn count_repos(conn: &mut Conn, org: OrgId, filter: &RepoFilter) -> QueryResult<i64> {
    filtered(org, filter).select(count_star()).first(conn)
}

/// Puts a repository under a link, in the order of sentry.md §8.4.
pub(super) fn take_repo(tx: &mut Tx<'_>, org: OrgId, link: LinkId, facts: &RepoFacts, now: Micros) -> QueryResult<Taken> {
    if let Some(known) = find_repo_by_external(tx, org, &facts.external_id)? {
        if known.status == RepoStatus::Active && known.link_id.is_some() {
            return Ok(Taken::Exists(known));
        }
        return write_repo(tx, org, known.id, link, facts, now).map(Taken::Revived);
    }
    let nameless: Option<RepoId> = repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.is_null())
        .filter(repos::external_id.is_null())
        .filter(repos::name.eq(&facts.name).or(repos::url.eq(&facts.url)))
        .order(repos::id)
        .select(repos::id)
        .first(tx.conn())
        .optional()?;
    if let Some(id) = nameless {
        return write_repo(tx, org, id, link, facts, now).map(Taken::Adopted);
    }
    let inserted = on_both!(tx.conn(), |conn| diesel::insert_into(repos::table)
        .values((
            repos::org_id.eq(org),
            repos::created_at.eq(now),
            content(link, facts, now),
        ))
        .on_conflict_do_nothing()
        .execute(conn))?;
    let repo = find_repo_by_external(tx, org, &facts.external_id)?.ok_or(diesel::result::Error::NotFound)?;
    Ok(if inserted == 1 { Taken::Inserted(repo) } else { Taken::Twin(repo) })
}

type Content<'a> = (
    diesel::dsl::Eq<repos::link_id, Option<LinkId>>,
    diesel::dsl::Eq<repos::provider, Option<&'a str>>,
    diesel::dsl::Eq<repos::external_id, Option<&'a str>>,
    diesel::dsl::Eq<repos::name, &'a str>,
    diesel::dsl::Eq<repos::url, Option<&'a str>>,
    diesel::dsl::Eq<repos::main_branch, Option<&'a str>>,
    diesel::dsl::Eq<repos::has_tracker, Option<bool>>,
    diesel::dsl::Eq<repos::status, RepoStatus>,
    diesel::dsl::Eq<repos::updated_at, Micros>,
);

fn content(link: LinkId, facts: &RepoFacts, now: Micros) -> Content<'_> {
    (
        repos::link_id.eq(Some(link)),
        repos::provider.eq(Some(REPO_PROVIDER)),
        repos::external_id.eq(Some(facts.external_id.as_str())),
        repos::name.eq(facts.name.as_str()),
        repos::url.eq(Some(facts.url.as_str())),
        repos::main_branch.eq(facts.main_branch.as_deref()),
        repos::has_tracker.eq(facts.has_tracker),
        repos::status.eq(RepoStatus::Active),
        repos::updated_at.eq(now),
    )
}

pub(super) fn write_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: RepoId,
    link: LinkId,
    facts: &RepoFacts,
    now: Micros,
) -> QueryResult<Repo> {
    diesel::update(repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq(id)))
        .set(content(link, facts, now))
        .execute(tx.conn())?;
    find_repo(tx, org, id)?.ok_or(diesel::result::Error::NotFound)
}

/// Brings an active repository up to what Bitbucket says now.
pub(super) fn refresh_repo(tx: &mut Tx<'_>, org: OrgId, id: RepoId, facts: &RepoFacts, now: Micros) -> QueryResult<()> {
    diesel::update(repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq(id)))
        .set((
            repos::name.eq(&facts.name),
            repos::url.eq(Some(&facts.url)),
            repos::main_branch.eq(facts.main_branch.as_deref()),
            repos::has_tracker.eq(facts.has_tracker),
            repos::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Inserts a repository that only a release knows.
pub(super) fn insert_unlinked(tx: &mut Tx<'_>, org: OrgId, name: &str, url: Option<&str>, now: Micros) -> QueryResult<Repo> {
    diesel::insert_into(repos::table)
        .values((
            repos::org_id.eq(org),
            repos::name.eq(name),
            repos::url.eq(url),
            repos::status.eq(RepoStatus::Active),
            repos::created_at.eq(now),
            repos::updated_at.eq(now),
        ))
        .returning(repos::all_columns)
        .get_result(tx.conn())
}

pub(super) fn rename_repo(tx: &mut Tx<'_>, org: OrgId, id: RepoId, name: &str, url: &str, now: Micros) -> QueryResult<bool> {
    diesel::update(
        repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq(id)).filter(repos::name.ne(name)),
    )
    .set((repos::name.eq(name), repos::url.eq(Some(url)), repos::updated_at.eq(now)))
    .execute(tx.conn())
    .map(|count| count == 1)
}

pub(super) fn edit_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: RepoId,
    status: RepoStatus,
    name: &str,
    url: Option<&str>,
    now: Micros,
) -> QueryResult<Repo> {
    diesel::update(repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq(id)))
        .set((
            repos::status.eq(status),
            repos::name.eq(name),
            repos::url.eq(url),
            repos::updated_at.eq(now),
        ))
        .execute(tx.conn())?;
    find_repo(tx, org, id)?.ok_or(diesel::result::Error::NotFound)
}

/// Moves the repositories of a link from one status to another; answers which.
pub(super) fn move_repos(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    from: &[RepoStatus],
    to: RepoStatus,
    now: Micros,
) -> QueryResult<Vec<RepoId>> {
    let ids: Vec<RepoId> = repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.eq(link))
        .filter(repos::status.eq_any(from))
        .select(repos::id)
        .load(tx.conn())?;
    diesel::update(repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq_any(&ids)))
        .set((repos::status.eq(to), repos::updated_at.eq(now)))
        .execute(tx.conn())?;
    Ok(ids)
}

/// The hook of a repository.
///
/// # Errors
/// When the query fails.
pub fn find_hook(conn: &mut Conn, org: OrgId, repo: RepoId) -> QueryResult<Option<Hook>> {
    repo_hooks::table
        .filter(repo_hooks::org_id.eq(org))
        .filter(repo_hooks::repo_id.eq(repo))
        .select(Hook::as_select())
        .first(conn)
        .optional()
}

/// The hooks of several repositories.
///
/// # Errors
/// When the query fails.
pub fn hooks_of(conn: &mut Conn, org: OrgId, of: &[RepoId]) -> QueryResult<Vec<Hook>> {
    repo_hooks::table
        .filter(repo_hooks::org_id.eq(org))
        .filter(repo_hooks::repo_id.eq_any(of))
        .select(Hook::as_select())
        .load(conn)
}

/// Gives a repository its secret if it has none, and says that its hook is to be looked after.
pub(super) fn want_hook(tx: &mut Tx<'_>, org: OrgId, repo: RepoId, sealed: &[u8], now: Micros) -> QueryResult<()> {
    on_both!(tx.conn(), |conn| diesel::insert_into(repo_hooks::table)
        .values((
            repo_hooks::repo_id.eq(repo),
            repo_hooks::org_id.eq(org),
            repo_hooks::state.eq(HookState::Pending),
            repo_hooks::sealed_secret.eq(sealed),
            repo_hooks::updated_at.eq(now),
        ))
        .on_conflict(repo_hooks::repo_id)
        .do_update()
        .set((repo_hooks::state.eq(HookState::Pending), repo_hooks::updated_at.eq(now)))
        .execute(conn))
    .map(drop)
}

/// The hook is registered with the secret that `sealed` holds. A previous secret that was waiting for this is
/// honoured until `previous_until`. False when the secret was changed meanwhile.
pub(super) fn hook_registered(
    tx: &mut Tx<'_>,
    org: OrgId,
    before: &Hook,
    uuid: &str,
    previous_until: Micros,
    now: Micros,
) -> QueryResult<bool> {
    let until = match (&before.sealed_previous, before.previous_until) {
        (Some(_), None) => Some(previous_until),
        (_, until) => until,
    };
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::org_id.eq(org))
            .filter(repo_hooks::repo_id.eq(before.repo_id))
            .filter(repo_hooks::sealed_secret.eq(&before.sealed_secret)),
    )
    .set((
        repo_hooks::hook_uuid.eq(Some(uuid)),
        repo_hooks::state.eq(HookState::Active),
        repo_hooks::previous_until.eq(until),
        repo_hooks::last_error.eq(None::<String>),
        repo_hooks::checked_at.eq(Some(now)),
        repo_hooks::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

pub(super) fn hook_state(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
    state: HookState,
    error: Option<&str>,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(repo_hooks::table.filter(repo_hooks::org_id.eq(org)).filter(repo_hooks::repo_id.eq(repo)))
        .set((
            repo_hooks::state.eq(state),
            repo_hooks::last_error.eq(error),
            repo_hooks::checked_at.eq(Some(now)),
            repo_hooks::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// The hook is gone, and its secrets with it.
pub(super) fn forget_hook(tx: &mut Tx<'_>, org: OrgId, repo: RepoId) -> QueryResult<()> {
    diesel::delete(repo_hooks::table.filter(repo_hooks::org_id.eq(org)).filter(repo_hooks::repo_id.eq(repo)))
        .execute(tx.conn())
        .map(drop)
}

/// Puts a new secret beside the present one, which stays good until the hook has the new one and an hour longer.
/// Only a hook that is registered can be changed: else three secrets would be about.
pub(super) fn rotate_secret(tx: &mut Tx<'_>, org: OrgId, before: &Hook, sealed: &[u8], previous: &[u8], now: Micros) -> QueryResult<bool> {
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::org_id.eq(org))
            .filter(repo_hooks::repo_id.eq(before.repo_id))
            .filter(repo_hooks::state.eq(HookState::Active))
            .filter(repo_hooks::sealed_secret.eq(&before.sealed_secret)),
    )
    .set((
        repo_hooks::state.eq(HookState::Pending),
        repo_hooks::sealed_secret.eq(sealed),
        repo_hooks::sealed_previous.eq(Some(previous)),
        repo_hooks::previous_until.eq(None::<Micros>),
        repo_hooks::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Notes that a repository's deliveries arrive.
pub(super) fn touch_delivery(conn: &mut Conn, repo: RepoId, at: Micros) -> QueryResult<()> {
    diesel::update(repo_hooks::table.filter(repo_hooks::repo_id.eq(repo)))
        .set(repo_hooks::last_delivery_at.eq(Some(at)))
        .execute(conn)
        .map(drop)
}

/// Active repositories of active links whose hook nobody has looked at since `before`, with organization and
/// link.
pub(super) fn stale_hooks(conn: &mut Conn, before: Micros, limit: i64) -> QueryResult<Vec<(OrgId, RepoId, LinkId)>> {
    repos::table
        .inner_join(repo_hooks::table.on(repo_hooks::repo_id.eq(repos::id)))
        .inner_join(links::table.on(repos::link_id.eq(links::id.nullable())))
        .filter(repos::status.eq(RepoStatus::Active))
        .filter(links::status.eq(LinkStatus::Active))
        .filter(repo_hooks::state.eq(HookState::Active))
        .filter(repo_hooks::checked_at.lt(Some(before)))
        .order(repos::id)
        .limit(limit)
        .select((repos::org_id, repos::id, links::id))
        .load(conn)
}

/// The next hook secrets in the order of their rows, for sealing them again.
pub(super) fn hooks_after(conn: &mut Conn, after: RepoId, limit: i64) -> QueryResult<Vec<Hook>> {
    repo_hooks::table
        .filter(repo_hooks::repo_id.gt(after))
        .order(repo_hooks::repo_id)
        .limit(limit)
        .select(Hook::as_select())
        .load(conn)
}

/// Puts newly sealed forms in the place of the old ones, unless a secret has changed in between.
pub(super) fn replace_sealed(tx: &mut Tx<'_>, before: &Hook, secret: &[u8], previous: Option<&[u8]>) -> QueryResult<usize> {
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::repo_id.eq(before.repo_id))
            .filter(repo_hooks::sealed_secret.eq(&before.sealed_secret)),
    )
    .set((repo_hooks::sealed_secret.eq(secret), repo_hooks::sealed_previous.eq(previous)))
    .execute(tx.conn())
}
