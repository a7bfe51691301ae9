//! Many repositories added in one go, and how far that is.

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::RepoFacts;
use crate::features::accounts::OrgId;
use crate::features::links::{BulkId, BulkState, HookState, ItemState, LinkId, RepoStatus};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{bulk_adds, bulk_items, repo_hooks, repos};

/// Many repositories added in one go.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = bulk_adds)]
pub(in crate::features::links) struct Bulk {
    pub(in crate::features::links) id: BulkId,
    pub(in crate::features::links) org_id: OrgId,
    pub(in crate::features::links) link_id: LinkId,
    pub(in crate::features::links) actor: String,
    /// What is listed at Bitbucket; none when each repository is asked for by name.
    pub(in crate::features::links) search: Option<String>,
    /// Everything that the list has, and not only what was picked.
    pub(in crate::features::links) takes_all: bool,
    pub(in crate::features::links) state: BulkState,
    /// The next page of the list.
    pub(in crate::features::links) cursor: Option<String>,
    /// What holds it up.
    pub(in crate::features::links) problem: Option<String>,
    pub(in crate::features::links) total: i64,
    pub(in crate::features::links) added: i64,
    pub(in crate::features::links) known: i64,
    pub(in crate::features::links) failed: i64,
    pub(in crate::features::links) created_at: Micros,
}

/// One repository of it.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = bulk_items)]
pub(in crate::features::links) struct BulkItem {
    pub(in crate::features::links) id: i64,
    /// `workspace/slug`.
    pub(in crate::features::links) name: String,
    pub(in crate::features::links) external_id: Option<String>,
    pub(in crate::features::links) main_branch: Option<String>,
    pub(in crate::features::links) has_tracker: Option<bool>,
    pub(in crate::features::links) reason: Option<String>,
}

/// What begins.
pub(in crate::features::links) struct NewBulk<'a> {
    pub(in crate::features::links) link: LinkId,
    pub(in crate::features::links) actor: &'a str,
    pub(in crate::features::links) search: Option<&'a str>,
    pub(in crate::features::links) takes_all: bool,
}

pub(in crate::features::links) fn insert_bulk(
    tx: &mut Tx<'_>,
    org: OrgId,
    new: &NewBulk<'_>,
    now: Micros,
) -> QueryResult<BulkId> {
    let state = if new.search.is_some() {
        BulkState::Listing
    } else {
        BulkState::Adding
    };
    on_both!(tx.conn(), |conn| diesel::insert_into(bulk_adds::table)
        .values((
            bulk_adds::org_id.eq(org),
            bulk_adds::link_id.eq(new.link),
            bulk_adds::actor.eq(new.actor),
            bulk_adds::search.eq(new.search),
            bulk_adds::takes_all.eq(new.takes_all),
            bulk_adds::state.eq(state),
            bulk_adds::total.eq(0_i64),
            bulk_adds::added.eq(0_i64),
            bulk_adds::known.eq(0_i64),
            bulk_adds::failed.eq(0_i64),
            bulk_adds::created_at.eq(now),
            bulk_adds::updated_at.eq(now),
        ))
        .returning(bulk_adds::id)
        .get_result(conn))
}

pub(in crate::features::links) fn find_bulk(
    conn: &mut Conn,
    org: OrgId,
    id: BulkId,
) -> QueryResult<Option<Bulk>> {
    bulk_adds::table
        .filter(bulk_adds::org_id.eq(org))
        .filter(bulk_adds::id.eq(id))
        .select(Bulk::as_select())
        .first(conn)
        .optional()
}

/// The last one of a link.
pub(in crate::features::links) fn last_bulk(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
) -> QueryResult<Option<Bulk>> {
    bulk_adds::table
        .filter(bulk_adds::org_id.eq(org))
        .filter(bulk_adds::link_id.eq(link))
        .order(bulk_adds::id.desc())
        .select(Bulk::as_select())
        .first(conn)
        .optional()
}

/// A name that was picked; one that cannot be a repository comes with the reason.
pub(in crate::features::links) fn insert_pick(
    tx: &mut Tx<'_>,
    org: OrgId,
    bulk: BulkId,
    name: &str,
    reason: Option<&str>,
) -> QueryResult<()> {
    let state = if reason.is_some() {
        ItemState::Failed
    } else {
        ItemState::Waiting
    };
    on_both!(tx.conn(), |conn| diesel::insert_into(bulk_items::table)
        .values((
            bulk_items::bulk_id.eq(bulk),
            bulk_items::org_id.eq(org),
            bulk_items::name.eq(name),
            bulk_items::state.eq(state),
            bulk_items::reason.eq(reason),
        ))
        .on_conflict_do_nothing()
        .execute(conn))
    .map(drop)
}

/// Something that the list has: a new item when everything is taken, else what is missing of one that was picked.
pub(in crate::features::links) fn note_listed(
    tx: &mut Tx<'_>,
    bulk: &Bulk,
    facts: &RepoFacts,
) -> QueryResult<()> {
    let content = || {
        (
            bulk_items::external_id.eq(Some(&facts.external_id)),
            bulk_items::main_branch.eq(facts.main_branch.as_deref()),
            bulk_items::has_tracker.eq(facts.has_tracker),
        )
    };
    if bulk.takes_all {
        on_both!(tx.conn(), |conn| diesel::insert_into(bulk_items::table)
            .values((
                bulk_items::bulk_id.eq(bulk.id),
                bulk_items::org_id.eq(bulk.org_id),
                bulk_items::name.eq(&facts.name),
                bulk_items::state.eq(ItemState::Waiting),
                content(),
            ))
            .on_conflict_do_nothing()
            .execute(conn))
        .map(drop)
    } else {
        diesel::update(
            bulk_items::table
                .filter(bulk_items::bulk_id.eq(bulk.id))
                .filter(bulk_items::name.eq(&facts.name)),
        )
        .set(content())
        .execute(tx.conn())
        .map(drop)
    }
}

/// How many that were picked the list has not had yet.
pub(in crate::features::links) fn count_unlisted(
    conn: &mut Conn,
    bulk: BulkId,
) -> QueryResult<i64> {
    bulk_items::table
        .filter(bulk_items::bulk_id.eq(bulk))
        .filter(bulk_items::state.eq(ItemState::Waiting))
        .filter(bulk_items::external_id.is_null())
        .count()
        .get_result(conn)
}

/// Where it stands; nothing holds it up.
pub(in crate::features::links) fn move_bulk(
    tx: &mut Tx<'_>,
    bulk: &Bulk,
    state: BulkState,
    cursor: Option<&str>,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(bulk_adds::table.filter(bulk_adds::id.eq(bulk.id)))
        .set((
            bulk_adds::state.eq(state),
            bulk_adds::cursor.eq(cursor),
            bulk_adds::problem.eq(None::<String>),
            bulk_adds::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Something holds it up; for good when `state` says so.
pub(in crate::features::links) fn hold_bulk(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: BulkId,
    state: Option<BulkState>,
    problem: &str,
    now: Micros,
) -> QueryResult<()> {
    let row = || {
        bulk_adds::table
            .filter(bulk_adds::org_id.eq(org))
            .filter(bulk_adds::id.eq(id))
    };
    if let Some(state) = state {
        diesel::update(row())
            .set(bulk_adds::state.eq(state))
            .execute(tx.conn())?;
    }
    diesel::update(row())
        .set((
            bulk_adds::problem.eq(Some(problem)),
            bulk_adds::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// The next ones to add, oldest first.
pub(in crate::features::links) fn waiting_items(
    conn: &mut Conn,
    bulk: BulkId,
    limit: i64,
) -> QueryResult<Vec<BulkItem>> {
    items_in(conn, bulk, ItemState::Waiting, limit)
}

/// What was not added, oldest first.
pub(in crate::features::links) fn failed_items(
    conn: &mut Conn,
    bulk: BulkId,
    limit: i64,
) -> QueryResult<Vec<BulkItem>> {
    items_in(conn, bulk, ItemState::Failed, limit)
}

fn items_in(
    conn: &mut Conn,
    bulk: BulkId,
    state: ItemState,
    limit: i64,
) -> QueryResult<Vec<BulkItem>> {
    bulk_items::table
        .filter(bulk_items::bulk_id.eq(bulk))
        .filter(bulk_items::state.eq(state))
        .order(bulk_items::id)
        .limit(limit)
        .select(BulkItem::as_select())
        .load(conn)
}

/// What became of one.
pub(in crate::features::links) fn end_item(
    tx: &mut Tx<'_>,
    id: i64,
    state: ItemState,
    reason: Option<&str>,
) -> QueryResult<()> {
    diesel::update(bulk_items::table.filter(bulk_items::id.eq(id)))
        .set((bulk_items::state.eq(state), bulk_items::reason.eq(reason)))
        .execute(tx.conn())
        .map(drop)
}

/// Everything that failed is to be tried again, and the whole goes on.
pub(in crate::features::links) fn retry_bulk(
    tx: &mut Tx<'_>,
    bulk: &Bulk,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(
        bulk_items::table
            .filter(bulk_items::bulk_id.eq(bulk.id))
            .filter(bulk_items::state.eq(ItemState::Failed)),
    )
    .set((
        bulk_items::state.eq(ItemState::Waiting),
        bulk_items::reason.eq(None::<String>),
    ))
    .execute(tx.conn())?;
    let state = if bulk.cursor.is_some() || (bulk.search.is_some() && bulk.total == 0) {
        BulkState::Listing
    } else {
        BulkState::Adding
    };
    move_bulk(tx, bulk, state, bulk.cursor.as_deref(), now)?;
    recount(tx, bulk.id, now)
}

/// Counts the items anew.
pub(in crate::features::links) fn recount(
    tx: &mut Tx<'_>,
    bulk: BulkId,
    now: Micros,
) -> QueryResult<()> {
    let counts: Vec<(ItemState, i64)> = bulk_items::table
        .filter(bulk_items::bulk_id.eq(bulk))
        .group_by(bulk_items::state)
        .select((bulk_items::state, count_star()))
        .load(tx.conn())?;
    let of = |wanted: ItemState| {
        let found = counts.iter().find(|(state, _)| *state == wanted);
        found.map_or(0, |(_, count)| *count)
    };
    diesel::update(bulk_adds::table.filter(bulk_adds::id.eq(bulk)))
        .set((
            bulk_adds::total.eq(counts.iter().map(|(_, count)| count).sum::<i64>()),
            bulk_adds::added.eq(of(ItemState::Added)),
            bulk_adds::known.eq(of(ItemState::Known)),
            bulk_adds::failed.eq(of(ItemState::Failed)),
            bulk_adds::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Forgets what is long over.
pub(in crate::features::links) fn purge_bulks(
    tx: &mut Tx<'_>,
    before: Micros,
) -> QueryResult<usize> {
    diesel::delete(bulk_adds::table.filter(bulk_adds::updated_at.lt(before))).execute(tx.conn())
}

/// How many hooks of a link's repositories in use are in each state.
pub(in crate::features::links) fn count_hooks(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
) -> QueryResult<Vec<(HookState, i64)>> {
    repo_hooks::table
        .inner_join(repos::table.on(repos::id.eq(repo_hooks::repo_id)))
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.eq(link))
        .filter(repos::status.eq(RepoStatus::Active))
        .group_by(repo_hooks::state)
        .select((repo_hooks::state, count_star()))
        .load(conn)
}
