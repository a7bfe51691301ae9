//! Webhooks of repositories and their sealed secrets.

use diesel::prelude::*;

use crate::features::accounts::OrgId;
use crate::features::links::{HookFinding, HookState, LinkId, LinkStatus, RepoId, RepoStatus};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{links, repo_hooks, repos};

/// The webhook of a repository.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = repo_hooks)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Hook {
    pub repo_id: RepoId,
    pub hook_uuid: Option<String>,
    pub state: HookState,
    pub(in crate::features::links) sealed_secret: Vec<u8>,
    pub(in crate::features::links) sealed_previous: Option<Vec<u8>>,
    pub(in crate::features::links) previous_until: Option<Micros>,
    pub last_error: Option<String>,
    pub last_delivery_at: Option<Micros>,
    pub checked_at: Option<Micros>,
    pub updated_at: Micros,
    /// What it asks for, separated by blanks.
    pub events: Option<String>,
    /// What the last check that found something wrong has found.
    pub finding: Option<HookFinding>,
    /// When that was put right; none while it is not.
    pub repaired_at: Option<Micros>,
}

/// What is registered at Bitbucket now.
pub(in crate::features::links) struct Registered {
    pub(in crate::features::links) uuid: String,
    pub(in crate::features::links) events: String,
    /// What was wrong before.
    pub(in crate::features::links) finding: Option<HookFinding>,
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
pub(in crate::features::links) fn want_hook(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
    sealed: &[u8],
    now: Micros,
) -> QueryResult<()> {
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
        .set((
            repo_hooks::state.eq(HookState::Pending),
            repo_hooks::updated_at.eq(now)
        ))
        .execute(conn))
    .map(drop)
}

/// The hook is registered with the secret that `sealed` holds. A previous secret that was waiting for this is
/// honoured until `previous_until`. False when the secret was changed meanwhile.
pub(in crate::features::links) fn hook_registered(
    tx: &mut Tx<'_>,
    org: OrgId,
    before: &Hook,
    registered: &Registered,
    previous_until: Micros,
    now: Micros,
) -> QueryResult<bool> {
    let until = match (&before.sealed_previous, before.previous_until) {
        (Some(_), None) => Some(previous_until),
        (_, until) => until,
    };
    let (finding, repaired_at) = match registered.finding.or(before.finding) {
        Some(finding) if registered.finding.is_some() || before.repaired_at.is_none() => {
            (Some(finding), Some(now))
        }
        finding => (finding, before.repaired_at),
    };
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::org_id.eq(org))
            .filter(repo_hooks::repo_id.eq(before.repo_id))
            .filter(repo_hooks::sealed_secret.eq(&before.sealed_secret)),
    )
    .set((
        repo_hooks::hook_uuid.eq(Some(&registered.uuid)),
        repo_hooks::events.eq(Some(&registered.events)),
        repo_hooks::finding.eq(finding),
        repo_hooks::repaired_at.eq(repaired_at),
        repo_hooks::state.eq(HookState::Active),
        repo_hooks::previous_until.eq(until),
        repo_hooks::last_error.eq(None::<String>),
        repo_hooks::checked_at.eq(Some(now)),
        repo_hooks::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

pub(in crate::features::links) fn hook_state(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
    state: HookState,
    error: Option<&str>,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::org_id.eq(org))
            .filter(repo_hooks::repo_id.eq(repo)),
    )
    .set((
        repo_hooks::state.eq(state),
        repo_hooks::last_error.eq(error),
        repo_hooks::checked_at.eq(Some(now)),
        repo_hooks::updated_at.eq(now),
    ))
    .execute(tx.conn())
    .map(drop)
}

/// Notes what a check has found wrong and could not put right.
pub(in crate::features::links) fn hook_finding(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
    finding: HookFinding,
) -> QueryResult<()> {
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::org_id.eq(org))
            .filter(repo_hooks::repo_id.eq(repo)),
    )
    .set((
        repo_hooks::finding.eq(Some(finding)),
        repo_hooks::repaired_at.eq(None::<Micros>),
    ))
    .execute(tx.conn())
    .map(drop)
}

/// Notes that somebody begins to register a hook: whoever comes later must look for it first.
pub(in crate::features::links) fn hook_begun(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::org_id.eq(org))
            .filter(repo_hooks::repo_id.eq(repo)),
    )
    .set(repo_hooks::checked_at.eq(Some(now)))
    .execute(tx.conn())
    .map(drop)
}

/// The hook is gone, and its secrets with it.
pub(in crate::features::links) fn forget_hook(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
) -> QueryResult<()> {
    diesel::delete(
        repo_hooks::table
            .filter(repo_hooks::org_id.eq(org))
            .filter(repo_hooks::repo_id.eq(repo)),
    )
    .execute(tx.conn())
    .map(drop)
}

/// Puts a new secret beside the present one, which stays good until the hook has the new one and an hour longer.
/// Only a hook that is registered can be changed: else three secrets would be about.
pub(in crate::features::links) fn rotate_secret(
    tx: &mut Tx<'_>,
    org: OrgId,
    before: &Hook,
    sealed: &[u8],
    previous: &[u8],
    now: Micros,
) -> QueryResult<bool> {
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
pub(in crate::features::links) fn touch_delivery(
    conn: &mut Conn,
    repo: RepoId,
    at: Micros,
) -> QueryResult<()> {
    diesel::update(repo_hooks::table.filter(repo_hooks::repo_id.eq(repo)))
        .set(repo_hooks::last_delivery_at.eq(Some(at)))
        .execute(conn)
        .map(drop)
}

/// Active repositories of active links whose hook nobody has looked at since `before`, whatever came of it then, with
/// organization and link.
pub(in crate::features::links) fn stale_hooks(
    conn: &mut Conn,
    before: Micros,
    limit: i64,
) -> QueryResult<Vec<(OrgId, RepoId, LinkId)>> {
    repos::table
        .inner_join(repo_hooks::table.on(repo_hooks::repo_id.eq(repos::id)))
        .inner_join(links::table.on(repos::link_id.eq(links::id.nullable())))
        .filter(repos::status.eq(RepoStatus::Active))
        .filter(links::status.eq(LinkStatus::Active))
        .filter(repo_hooks::state.ne(HookState::None))
        // Each look is noted here, and the wish for a hook that was never looked at.
        .filter(repo_hooks::updated_at.lt(before))
        .order(repos::id)
        .limit(limit)
        .select((repos::org_id, repos::id, links::id))
        .load(conn)
}

/// The next hook secrets in the order of their rows, for sealing them again.
pub(in crate::features::links) fn hooks_after(
    conn: &mut Conn,
    after: RepoId,
    limit: i64,
) -> QueryResult<Vec<Hook>> {
    repo_hooks::table
        .filter(repo_hooks::repo_id.gt(after))
        .order(repo_hooks::repo_id)
        .limit(limit)
        .select(Hook::as_select())
        .load(conn)
}

/// Puts newly sealed forms in the place of the old ones, unless a secret has changed in between.
pub(in crate::features::links) fn replace_sealed(
    tx: &mut Tx<'_>,
    before: &Hook,
    secret: &[u8],
    previous: Option<&[u8]>,
) -> QueryResult<usize> {
    diesel::update(
        repo_hooks::table
            .filter(repo_hooks::repo_id.eq(before.repo_id))
            .filter(repo_hooks::sealed_secret.eq(&before.sealed_secret)),
    )
    .set((
        repo_hooks::sealed_secret.eq(secret),
        repo_hooks::sealed_previous.eq(previous),
    ))
    .execute(tx.conn())
}

/// Repositories of a link in one of these statuses that have a hook.
pub(in crate::features::links) fn repos_with_hook(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
    statuses: &[RepoStatus],
) -> QueryResult<Vec<RepoId>> {
    repo_hooks::table
        .inner_join(repos::table.on(repos::id.eq(repo_hooks::repo_id)))
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.eq(link))
        .filter(repos::status.eq_any(statuses))
        .order(repos::id)
        .select(repos::id)
        .load(conn)
}

/// Hooks of a link's repositories that Bitbucket may still have.
pub(in crate::features::links) fn count_hooks_of_link(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
) -> QueryResult<i64> {
    repo_hooks::table
        .inner_join(repos::table.on(repos::id.eq(repo_hooks::repo_id)))
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.eq(link))
        .count()
        .get_result(conn)
}
