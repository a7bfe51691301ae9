//! Repositories.

use diesel::dsl::{count_star, exists, not};
use diesel::prelude::*;

use crate::features::accounts::OrgId;
use crate::features::links::{
    HookState, LinkId, REPO_PROVIDER, RepoId, RepoStatus, SERVER_REPO_PROVIDER,
};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{repo_hooks, repos};

diesel::define_sql_function! {
    /// Lower case, ASCII on SQLite.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
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
    /// The uuid in braces; on Data Center `server#number`.
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

/// What Bitbucket says about a repository.
#[derive(Debug, Clone)]
pub(in crate::features::links) struct RepoFacts {
    pub(in crate::features::links) provider: &'static str,
    pub(in crate::features::links) external_id: String,
    pub(in crate::features::links) name: String,
    pub(in crate::features::links) url: String,
    pub(in crate::features::links) main_branch: Option<String>,
    pub(in crate::features::links) has_tracker: Option<bool>,
}

/// How a repository came to its link (the creation order of sentry.md §8.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::features::links) enum Taken {
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

/// The same, and nobody else changes the row before the transaction ends: for a write that depends on its status.
pub(in crate::features::links) fn hold_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: RepoId,
) -> QueryResult<Option<Repo>> {
    let row = repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::id.eq(id));
    diesel::update(row)
        .set(repos::status.eq(repos::status))
        .execute(tx.conn())?;
    find_repo(tx, org, id)
}

/// A repository by its uuid in braces, or on Data Center by server and number, whatever its status.
///
/// # Errors
/// When the query fails.
pub fn find_repo_by_external(
    conn: &mut Conn,
    org: OrgId,
    external_id: &str,
) -> QueryResult<Option<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::provider.eq_any([REPO_PROVIDER, SERVER_REPO_PROVIDER]))
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
    found.sort_by_key(|repo| {
        (
            repo.status != RepoStatus::Active,
            repo.link_id.is_none(),
            repo.id,
        )
    });
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
pub(in crate::features::links) fn unlinked_repos(
    conn: &mut Conn,
    org: OrgId,
    limit: i64,
) -> QueryResult<Vec<Repo>> {
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
        let escaped = text
            .to_lowercase()
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
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
        query = if healthy {
            query.filter(exists(good))
        } else {
            query.filter(not(exists(good)))
        };
    }
    query
}

/// Repositories by name.
///
/// # Errors
/// When the query fails.
pub fn list_repos(
    conn: &mut Conn,
    org: OrgId,
    filter: &RepoFilter,
    offset: i64,
    limit: i64,
) -> QueryResult<Vec<Repo>> {
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
pub(in crate::features::links) fn take_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    facts: &RepoFacts,
    now: Micros,
) -> QueryResult<Taken> {
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
    let repo = find_repo_by_external(tx, org, &facts.external_id)?
        .ok_or(diesel::result::Error::NotFound)?;
    Ok(if inserted == 1 {
        Taken::Inserted(repo)
    } else {
        Taken::Twin(repo)
    })
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
        repos::provider.eq(Some(facts.provider)),
        repos::external_id.eq(Some(facts.external_id.as_str())),
        repos::name.eq(facts.name.as_str()),
        repos::url.eq(Some(facts.url.as_str())),
        repos::main_branch.eq(facts.main_branch.as_deref()),
        repos::has_tracker.eq(facts.has_tracker),
        repos::status.eq(RepoStatus::Active),
        repos::updated_at.eq(now),
    )
}

pub(in crate::features::links) fn write_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: RepoId,
    link: LinkId,
    facts: &RepoFacts,
    now: Micros,
) -> QueryResult<Repo> {
    diesel::update(
        repos::table
            .filter(repos::org_id.eq(org))
            .filter(repos::id.eq(id)),
    )
    .set(content(link, facts, now))
    .execute(tx.conn())?;
    find_repo(tx, org, id)?.ok_or(diesel::result::Error::NotFound)
}

/// Brings an active repository up to what Bitbucket says now.
pub(in crate::features::links) fn refresh_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: RepoId,
    facts: &RepoFacts,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        repos::table
            .filter(repos::org_id.eq(org))
            .filter(repos::id.eq(id)),
    )
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
pub(in crate::features::links) fn insert_unlinked(
    tx: &mut Tx<'_>,
    org: OrgId,
    name: &str,
    url: Option<&str>,
    now: Micros,
) -> QueryResult<Repo> {
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

pub(in crate::features::links) fn rename_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: RepoId,
    name: &str,
    url: &str,
    now: Micros,
) -> QueryResult<bool> {
    diesel::update(
        repos::table
            .filter(repos::org_id.eq(org))
            .filter(repos::id.eq(id))
            .filter(repos::name.ne(name)),
    )
    .set((
        repos::name.eq(name),
        repos::url.eq(Some(url)),
        repos::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

pub(in crate::features::links) fn edit_repo(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: RepoId,
    status: RepoStatus,
    name: &str,
    url: Option<&str>,
    now: Micros,
) -> QueryResult<Repo> {
    diesel::update(
        repos::table
            .filter(repos::org_id.eq(org))
            .filter(repos::id.eq(id)),
    )
    .set((
        repos::status.eq(status),
        repos::name.eq(name),
        repos::url.eq(url),
        repos::updated_at.eq(now),
    ))
    .execute(tx.conn())?;
    find_repo(tx, org, id)?.ok_or(diesel::result::Error::NotFound)
}

/// Moves the repositories of a link from one status to another.
pub(in crate::features::links) fn move_repos(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    from: &[RepoStatus],
    to: RepoStatus,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        repos::table
            .filter(repos::org_id.eq(org))
            .filter(repos::link_id.eq(link))
            .filter(repos::status.eq_any(from)),
    )
    .set((repos::status.eq(to), repos::updated_at.eq(now)))
    .execute(tx.conn())
    .map(drop)
}
