//! What each organization was told today.

use std::collections::HashMap;

use diesel::dsl::count_star;
use diesel::prelude::*;

use crate::features::accounts::OrgId;
use crate::features::links::{HookState, LinkId, RepoStatus};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{link_digests, repo_hooks, repos};

/// Day and entries of the last digest.
pub(in crate::features::links) fn find_digest(
    conn: &mut Conn,
    org: OrgId,
) -> QueryResult<Option<(String, String)>> {
    link_digests::table
        .filter(link_digests::org_id.eq(org))
        .select((link_digests::day, link_digests::entries))
        .first(conn)
        .optional()
}

/// Keeps the digest of a day. False when the day has one already.
pub(in crate::features::links) fn put_digest(
    tx: &mut Tx<'_>,
    org: OrgId,
    day: &str,
    entries: &str,
    now: Micros,
) -> QueryResult<bool> {
    let content = || {
        (
            link_digests::day.eq(day),
            link_digests::entries.eq(entries),
            link_digests::created_at.eq(now),
        )
    };
    let changed = diesel::update(
        link_digests::table
            .filter(link_digests::org_id.eq(org))
            .filter(link_digests::day.ne(day)),
    )
    .set(content())
    .execute(tx.conn())?;
    if changed == 1 {
        return Ok(true);
    }
    on_both!(tx.conn(), |conn| diesel::insert_into(link_digests::table)
        .values((link_digests::org_id.eq(org), content()))
        .on_conflict_do_nothing()
        .execute(conn))
    .map(|count| count == 1)
}

/// How many webhooks of each connection need repair, over all organizations.
pub(in crate::features::links) fn failed_hooks(
    conn: &mut Conn,
) -> QueryResult<HashMap<LinkId, i64>> {
    let rows: Vec<(Option<LinkId>, i64)> = repo_hooks::table
        .inner_join(repos::table.on(repos::id.eq(repo_hooks::repo_id)))
        .filter(repos::status.eq(RepoStatus::Active))
        .filter(repo_hooks::state.eq_any([HookState::Failed, HookState::None]))
        .group_by(repos::link_id)
        .select((repos::link_id, count_star()))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .filter_map(|(link, count)| Some((link?, count)))
        .collect())
}
