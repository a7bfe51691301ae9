//! The tables of commits, branches and what they fix.

use std::collections::HashMap;

use diesel::prelude::*;

use super::CommitId;
use super::push::PushedCommit;
use crate::features::accounts::OrgId;
use crate::features::groups::GroupId;
use crate::features::links::RepoId;
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::kit::web::cursor::KeyRange;
use crate::schema::{branch_heads, commits, group_links};

/// A commit.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = commits)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Commit {
    pub id: CommitId,
    pub repo_id: RepoId,
    pub hash: String,
    pub message: String,
    pub author_name: Option<String>,
    pub author_email: Option<String>,
    pub committed_at: Micros,
}

#[derive(Insertable)]
#[diesel(table_name = commits)]
struct NewCommit<'a> {
    org_id: OrgId,
    repo_id: RepoId,
    hash: &'a str,
    message: &'a str,
    author_name: Option<&'a str>,
    author_email: Option<&'a str>,
    committed_at: Micros,
    on_main: bool,
    created_at: Micros,
}

/// Rows in one statement.
const SLICE: usize = 200;

/// A commit as a push met it.
pub(super) struct Met {
    pub(super) id: CommitId,
    /// Stored by this push.
    pub(super) is_new: bool,
    /// Known to be on the main branch before.
    pub(super) was_on_main: bool,
}

/// Stores the commits that are new, in the order given and as being `on_main` or not, and answers each by its hash.
pub(super) fn insert_commits(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
    pushed: &[PushedCommit],
    on_main: bool,
    now: Micros,
) -> QueryResult<HashMap<String, Met>> {
    let mut known = HashMap::with_capacity(pushed.len());
    for commit in pushed {
        let row = NewCommit {
            org_id: org,
            repo_id: repo,
            hash: &commit.hash,
            message: &commit.message,
            author_name: commit.author_name.as_deref(),
            author_email: commit.author_email.as_deref(),
            committed_at: commit.committed_at,
            on_main,
            created_at: now,
        };
        let inserted: Option<CommitId> =
            on_both!(tx.conn(), |conn| diesel::insert_into(commits::table)
                .values(row)
                .on_conflict_do_nothing()
                .returning(commits::id)
                .get_result(conn)
                .optional())?;
        let met = match inserted {
            Some(id) => Met {
                id,
                is_new: true,
                was_on_main: false,
            },
            // One by one: for a list of unknown length PostgreSQL may plan to read every commit of the repository.
            None => {
                let (id, was_on_main) = commits::table
                    .filter(commits::org_id.eq(org))
                    .filter(commits::repo_id.eq(repo))
                    .filter(commits::hash.eq(&commit.hash))
                    .select((commits::id, commits::on_main))
                    .first(tx.conn())?;
                Met {
                    id,
                    is_new: false,
                    was_on_main,
                }
            }
        };
        // The same commit twice in one push is as new as it was the first time.
        known.entry(commit.hash.clone()).or_insert(met);
    }
    Ok(known)
}

/// Notes that commits are on the main branch now.
pub(super) fn set_on_main(tx: &mut Tx<'_>, org: OrgId, ids: &[CommitId]) -> QueryResult<()> {
    for slice in ids.chunks(SLICE) {
        diesel::update(
            commits::table
                .filter(commits::org_id.eq(org))
                .filter(commits::id.eq_any(slice)),
        )
        .set(commits::on_main.eq(true))
        .execute(tx.conn())?;
    }
    Ok(())
}

/// Notes that a commit says it fixes a group; false when that is known.
pub(super) fn link_group(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    commit: CommitId,
    now: Micros,
) -> QueryResult<bool> {
    let row = (
        group_links::org_id.eq(org),
        group_links::group_id.eq(group),
        group_links::linked_type.eq("commit"),
        group_links::relationship.eq("resolves"),
        group_links::linked_id.eq(commit.0),
        group_links::created_at.eq(now),
    );
    on_both!(tx.conn(), |conn| diesel::insert_into(group_links::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn))
    .map(|count| count == 1)
}

/// Where a branch pointed after the last push that was read.
pub(super) fn branch_head(
    conn: &mut Conn,
    _org: OrgId,
    repo: RepoId,
    branch: &str,
) -> QueryResult<Option<String>> {
    branch_heads::table
        .filter(branch_heads::repo_id.eq(repo))
        .filter(branch_heads::branch.eq(branch))
        .select(branch_heads::hash)
        .first(conn)
        .optional()
}

/// Notes where a branch points since `at`; an older push that is read later changes nothing.
pub(super) fn set_branch_head(
    tx: &mut Tx<'_>,
    _org: OrgId,
    repo: RepoId,
    branch: &str,
    hash: &str,
    at: Micros,
) -> QueryResult<()> {
    use diesel::query_dsl::methods::FilterDsl;
    use diesel::upsert::excluded;
    let row = (
        branch_heads::repo_id.eq(repo),
        branch_heads::branch.eq(branch),
        branch_heads::hash.eq(hash),
        branch_heads::updated_at.eq(at),
    );
    on_both!(tx.conn(), |conn| {
        let upsert = diesel::insert_into(branch_heads::table)
            .values(row)
            .on_conflict((branch_heads::repo_id, branch_heads::branch))
            .do_update()
            .set((
                branch_heads::hash.eq(excluded(branch_heads::hash)),
                branch_heads::updated_at.eq(excluded(branch_heads::updated_at)),
            ));
        FilterDsl::filter(upsert, branch_heads::updated_at.le(at)).execute(conn)
    })
    .map(drop)
}

/// Forgets a branch that was deleted at `at`.
pub(super) fn remove_branch_head(
    tx: &mut Tx<'_>,
    _org: OrgId,
    repo: RepoId,
    branch: &str,
    at: Micros,
) -> QueryResult<()> {
    diesel::delete(
        branch_heads::table
            .filter(branch_heads::repo_id.eq(repo))
            .filter(branch_heads::branch.eq(branch))
            .filter(branch_heads::updated_at.le(at)),
    )
    .execute(tx.conn())
    .map(drop)
}

/// The commit of this hash that says it fixes a group.
///
/// # Errors
/// When the query fails.
pub fn fixing_commit(
    conn: &mut Conn,
    org: OrgId,
    group: GroupId,
    hash: &str,
) -> QueryResult<Option<Commit>> {
    commits::table
        .inner_join(group_links::table.on(group_links::linked_id.eq(commits::id)))
        .filter(group_links::org_id.eq(org))
        .filter(group_links::group_id.eq(group))
        .filter(group_links::linked_type.eq("commit"))
        .filter(commits::org_id.eq(org))
        .filter(commits::hash.eq(hash))
        .select(Commit::as_select())
        .first(conn)
        .optional()
}

/// Commits of a repository, newest first (those of [`KeyRange::Above`] oldest first).
pub(super) fn list(
    conn: &mut Conn,
    org: OrgId,
    repo: RepoId,
    range: KeyRange,
    limit: i64,
) -> QueryResult<Vec<Commit>> {
    let query = commits::table
        .filter(commits::org_id.eq(org))
        .filter(commits::repo_id.eq(repo))
        .select(Commit::as_select())
        .limit(limit)
        .into_boxed();
    match range {
        KeyRange::First => query.order(commits::id.desc()),
        KeyRange::Below(id) => query
            .filter(commits::id.lt(CommitId(id)))
            .order(commits::id.desc()),
        KeyRange::Above(id) => query
            .filter(commits::id.gt(CommitId(id)))
            .order(commits::id.asc()),
    }
    .load(conn)
}
