//! The tables of deliveries.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};

use super::{DeliveryId, DeliveryState, Source};
use crate::features::accounts::OrgId;
use crate::features::links::RepoId;
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Fold, Tx};
use crate::kit::redact::redact_short;
use crate::schema::{deliveries, delivery_attempts};

/// Bytes kept of why an attempt failed.
const MAX_ERROR: usize = 2_000;

/// A delivery as it comes in.
#[derive(Debug, Insertable)]
#[diesel(table_name = deliveries)]
pub(super) struct NewDelivery {
    pub(super) org_id: OrgId,
    pub(super) repo_id: RepoId,
    pub(super) source: Source,
    pub(super) request_uuid: Vec<u8>,
    pub(super) event_key: String,
    pub(super) attempt_no: i32,
    pub(super) body: Vec<u8>,
    pub(super) received_at: Micros,
    pub(super) state: DeliveryState,
    pub(super) attempts: i32,
    pub(super) run_at: Micros,
    pub(super) finished_at: Option<Micros>,
}

/// Stores a delivery with the others of its commit and wakes the drain. One that is known already changes nothing.
pub(super) fn insert(tx: &mut Tx<'_>, row: &Arc<NewDelivery>) {
    if row.state == DeliveryState::Ready {
        tx.wake_drains();
    }
    tx.fold::<Arrived>(|arrived| arrived.0.push(Arc::clone(row)));
}

/// The deliveries of one commit. On SQLite a statement is a call, so one for each; on PostgreSQL it is a round trip,
/// so one for all.
#[derive(Default)]
struct Arrived(Vec<Arc<NewDelivery>>);

impl Fold for Arrived {
    fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    fn flush(self, conn: &mut Conn) -> QueryResult<()> {
        match conn {
            Conn::Sqlite(conn) => self.0.iter().try_for_each(|row| {
                diesel::insert_into(deliveries::table)
                    .values(&**row)
                    .on_conflict_do_nothing()
                    .execute(conn)
                    .map(drop)
            }),
            Conn::Postgresql(conn) => insert_all(conn, &self.0),
        }
    }
}

fn insert_all(conn: &mut PgConnection, rows: &[Arc<NewDelivery>]) -> QueryResult<()> {
    fn column<'a, T>(rows: &'a [Arc<NewDelivery>], get: fn(&'a NewDelivery) -> T) -> Vec<T> {
        rows.iter().map(|row| get(row)).collect()
    }
    diesel::sql_query(
        "INSERT INTO deliveries (org_id, repo_id, source, request_uuid, event_key, attempt_no, body, received_at, \
         state, attempts, run_at, finished_at) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
    )
    .bind::<Array<BigInt>, _>(column(rows, |row| row.org_id))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.repo_id))
    .bind::<Array<Text>, _>(column(rows, |row| row.source.as_str()))
    .bind::<Array<Binary>, _>(column(rows, |row| &row.request_uuid[..]))
    .bind::<Array<Text>, _>(column(rows, |row| row.event_key.as_str()))
    .bind::<Array<Integer>, _>(column(rows, |row| row.attempt_no))
    .bind::<Array<Binary>, _>(column(rows, |row| &row.body[..]))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.received_at))
    .bind::<Array<Text>, _>(column(rows, |row| row.state.as_str()))
    .bind::<Array<Integer>, _>(column(rows, |row| row.attempts))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.run_at))
    .bind::<Array<Nullable<BigInt>>, _>(column(rows, |row| row.finished_at))
    .execute(conn)
    .map(drop)
}

/// A delivery that this process may work on until its lease ends.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = deliveries)]
pub(super) struct Claimed {
    pub(super) id: DeliveryId,
    pub(super) org_id: OrgId,
    pub(super) repo_id: RepoId,
    pub(super) source: Source,
    pub(super) event_key: String,
    pub(super) body: Vec<u8>,
    pub(super) received_at: Micros,
    pub(super) attempts: i32,
}

/// True when a delivery could be claimed now, or a claim of a process that ended could be taken over.
pub(super) fn any_due(conn: &mut Conn, now: Micros) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Due {
        #[diesel(sql_type = Bool)]
        due: bool,
    }
    diesel::sql_query(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 'ready' AND run_at <= $1) AS due",
    )
    .bind::<BigInt, _>(now)
    .get_result::<Due>(conn)
    .map(|row| row.due)
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = BigInt)]
    id: DeliveryId,
    #[diesel(sql_type = BigInt)]
    repo_id: RepoId,
    #[diesel(sql_type = BigInt)]
    run_at: Micros,
    #[diesel(sql_type = Bool)]
    is_claimed: bool,
}

/// Rows looked at per step when claiming, and steps at most.
const LOOK: i64 = 256;
const STEPS: usize = 40;

/// Claims up to `limit` due deliveries in the order of their arrival. A repository with a delivery that is being
/// worked on elsewhere is passed over.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    owner: &str,
    now: Micros,
    lease: Duration,
    limit: usize,
) -> QueryResult<Vec<DeliveryId>> {
    // Two processes that claim at once could each take a part of one repository's queue.
    tx.lock_key("deliveries.claim")?;
    let mut busy: HashSet<RepoId> = HashSet::new();
    let mut taken: Vec<DeliveryId> = Vec::new();
    let mut after = DeliveryId(0);
    for _ in 0..STEPS {
        let rows: Vec<Waiting> = diesel::sql_query(
            "SELECT id, repo_id, run_at, lease_owner IS NOT NULL AS is_claimed FROM deliveries \
             WHERE state = 'ready' AND id > $1 AND (run_at <= $2 OR lease_owner IS NOT NULL) ORDER BY id LIMIT $3",
        )
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(now)
        .bind::<BigInt, _>(LOOK)
        .load(tx.conn())?;
        for row in &rows {
            if row.run_at > now {
                if row.is_claimed {
                    busy.insert(row.repo_id);
                }
            } else if taken.len() < limit && !busy.contains(&row.repo_id) {
                taken.push(row.id);
            }
        }
        let Some(last) = rows.last() else { break };
        after = last.id;
        if taken.len() >= limit || rows.len() < usize::try_from(LOOK).unwrap_or(0) {
            break;
        }
    }
    if taken.is_empty() {
        return Ok(taken);
    }
    diesel::update(deliveries::table.filter(deliveries::id.eq_any(&taken)))
        .set((
            deliveries::run_at.eq(now.plus(lease)),
            deliveries::lease_owner.eq(Some(owner)),
            deliveries::attempts.eq(deliveries::attempts + 1),
        ))
        .execute(tx.conn())?;
    Ok(taken)
}

/// The claimed deliveries with their bodies, in the order of their arrival.
pub(super) fn load_claimed(conn: &mut Conn, ids: &[DeliveryId]) -> QueryResult<Vec<Claimed>> {
    deliveries::table
        .filter(deliveries::id.eq_any(ids))
        .order(deliveries::id)
        .select(Claimed::as_select())
        .load(conn)
}

/// Moves the end of everything that `owner` works on to `until`.
pub(super) fn extend(tx: &mut Tx<'_>, owner: &str, until: Micros) -> QueryResult<usize> {
    diesel::update(
        deliveries::table
            .filter(deliveries::state.eq(DeliveryState::Ready))
            .filter(deliveries::lease_owner.eq(owner)),
    )
    .set(deliveries::run_at.eq(until))
    .execute(tx.conn())
}

/// Makes due again what any other owner had claimed: right where only one process can be alive.
pub(super) fn release_others(tx: &mut Tx<'_>, owner: &str, now: Micros) -> QueryResult<usize> {
    diesel::sql_query(
        "UPDATE deliveries SET run_at = $1, lease_owner = NULL \
         WHERE state = 'ready' AND lease_owner IS NOT NULL AND lease_owner <> $2",
    )
    .bind::<BigInt, _>(now)
    .bind::<Text, _>(owner)
    .execute(tx.conn())
}

/// Makes due again what `owner` had claimed and did not end.
pub(super) fn release(tx: &mut Tx<'_>, owner: &str, now: Micros) -> QueryResult<usize> {
    diesel::update(
        deliveries::table
            .filter(deliveries::state.eq(DeliveryState::Ready))
            .filter(deliveries::lease_owner.eq(owner)),
    )
    .set((
        deliveries::run_at.eq(now),
        deliveries::lease_owner.eq(None::<String>),
    ))
    .execute(tx.conn())
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) state: DeliveryState,
    /// When it is due again; only looked at while the state is `ready`.
    pub(super) run_at: Micros,
    /// JSON of [`super::outcome::Outcome`].
    pub(super) outcome: Option<String>,
    pub(super) error: Option<String>,
    pub(super) took_ms: i64,
}

/// Ends an attempt, if `owner` still holds the claim. When it does not, the work in the same write must be undone:
/// another process does it.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    owner: &str,
    ending: &Ending,
    now: Micros,
) -> QueryResult<bool> {
    let is_open = ending.state == DeliveryState::Ready;
    let error = ending
        .error
        .as_deref()
        .map(|error| redact_short(error, MAX_ERROR));
    let changed = diesel::update(
        deliveries::table
            .filter(deliveries::id.eq(id))
            .filter(deliveries::state.eq(DeliveryState::Ready))
            .filter(deliveries::lease_owner.eq(owner)),
    )
    .set((
        deliveries::state.eq(ending.state),
        deliveries::run_at.eq(ending.run_at),
        deliveries::lease_owner.eq(None::<String>),
        deliveries::outcome.eq(ending.outcome.as_deref()),
        deliveries::error.eq(error.as_deref()),
        deliveries::took_ms.eq(Some(ending.took_ms)),
        deliveries::finished_at.eq((!is_open).then_some(now)),
    ))
    .execute(tx.conn())?;
    if changed == 0 {
        return Ok(false);
    }
    if ending.state != DeliveryState::Done {
        diesel::insert_into(delivery_attempts::table)
            .values((
                delivery_attempts::delivery_id.eq(id),
                delivery_attempts::result.eq("failed"),
                delivery_attempts::error.eq(error.as_deref()),
                delivery_attempts::took_ms.eq(ending.took_ms),
                delivery_attempts::at.eq(now),
            ))
            .execute(tx.conn())?;
    }
    Ok(true)
}

/// True when a delivery of the same repository that arrived later has been worked on already.
pub(super) fn is_overtaken(
    tx: &mut Tx<'_>,
    org: OrgId,
    repo: RepoId,
    id: DeliveryId,
) -> QueryResult<bool> {
    let later = deliveries::table
        .filter(deliveries::org_id.eq(org))
        .filter(deliveries::id.gt(id))
        .filter(deliveries::repo_id.eq(repo))
        .filter(deliveries::state.eq(DeliveryState::Done));
    diesel::select(diesel::dsl::exists(later)).get_result(tx.conn())
}

/// A line of the list.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = deliveries)]
pub(super) struct Line {
    pub(super) id: DeliveryId,
    pub(super) repo_id: RepoId,
    pub(super) event_key: String,
    pub(super) state: DeliveryState,
    pub(super) received_at: Micros,
    pub(super) attempts: i32,
    pub(super) outcome: Option<String>,
    pub(super) error: Option<String>,
    pub(super) took_ms: Option<i64>,
    pub(super) finished_at: Option<Micros>,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) state: Option<DeliveryState>,
    pub(super) repo: Option<RepoId>,
    pub(super) event: Option<String>,
}

/// Where a page of the list begins: rows run from new to old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Newest,
    Below(DeliveryId),
    Above(DeliveryId),
}

/// A page of deliveries; rows after [`From::Above`] come oldest first.
pub(super) fn list(
    conn: &mut Conn,
    org: OrgId,
    filter: &Filter,
    from: From,
    limit: i64,
) -> QueryResult<Vec<Line>> {
    let mut query = deliveries::table
        .filter(deliveries::org_id.eq(org))
        .select(Line::as_select())
        .limit(limit)
        .into_boxed();
    if let Some(state) = filter.state {
        query = query.filter(deliveries::state.eq(state));
    }
    if let Some(repo) = filter.repo {
        query = query.filter(deliveries::repo_id.eq(repo));
    }
    if let Some(event) = &filter.event {
        query = query.filter(deliveries::event_key.eq(event));
    }
    match from {
        From::Newest => query.order(deliveries::id.desc()),
        From::Below(id) => query
            .filter(deliveries::id.lt(id))
            .order(deliveries::id.desc()),
        From::Above(id) => query
            .filter(deliveries::id.gt(id))
            .order(deliveries::id.asc()),
    }
    .load(conn)
}

/// Rows that a count looks at; beyond that it says so many.
const COUNTED: i64 = 10_000;

/// How many of the newest deliveries are in `state`.
pub(super) fn count(conn: &mut Conn, org: OrgId, state: DeliveryState) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    diesel::sql_query(
        "SELECT count(*) AS count FROM (SELECT state FROM deliveries WHERE org_id = $1 ORDER BY id DESC LIMIT $2) AS newest \
         WHERE state = $3",
    )
    .bind::<BigInt, _>(org)
    .bind::<BigInt, _>(COUNTED)
    .bind::<Text, _>(state)
    .get_result::<Count>(conn)
    .map(|row| row.count)
}

/// One delivery with everything.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = deliveries)]
pub(super) struct Full {
    #[diesel(embed)]
    pub(super) line: Line,
    pub(super) request_uuid: Vec<u8>,
    pub(super) attempt_no: i32,
    pub(super) body: Vec<u8>,
}

pub(super) fn find(conn: &mut Conn, org: OrgId, id: DeliveryId) -> QueryResult<Option<Full>> {
    deliveries::table
        .filter(deliveries::org_id.eq(org))
        .filter(deliveries::id.eq(id))
        .select(Full::as_select())
        .first(conn)
        .optional()
}

/// An attempt that did not end well.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = delivery_attempts)]
pub(super) struct Failed {
    pub(super) error: Option<String>,
    pub(super) took_ms: i64,
    pub(super) at: Micros,
}

/// Failed attempts of a delivery, oldest first. The caller has looked the delivery up in its organization.
pub(super) fn failed_attempts(conn: &mut Conn, id: DeliveryId) -> QueryResult<Vec<Failed>> {
    delivery_attempts::table
        .filter(delivery_attempts::delivery_id.eq(id))
        .order(delivery_attempts::id)
        .limit(50)
        .select(Failed::as_select())
        .load(conn)
}

/// Makes a delivery that ended due again, if its body is still there. False when it is not.
pub(super) fn replay(
    tx: &mut Tx<'_>,
    org: OrgId,
    id: DeliveryId,
    now: Micros,
) -> QueryResult<bool> {
    let ended = deliveries::table
        .filter(deliveries::org_id.eq(org))
        .filter(deliveries::id.eq(id))
        .filter(deliveries::state.eq_any([DeliveryState::Done, DeliveryState::Dead]))
        .filter(deliveries::body.ne(Vec::<u8>::new()));
    let changed = diesel::update(ended)
        .set((
            deliveries::state.eq(DeliveryState::Ready),
            deliveries::attempts.eq(0),
            deliveries::run_at.eq(now),
            deliveries::error.eq(None::<String>),
            deliveries::finished_at.eq(None::<Micros>),
        ))
        .execute(tx.conn())?;
    tx.wake_drains();
    Ok(changed == 1)
}

/// The greatest id of a delivery received before `cutoff`; ids grow with time, so this is a search by halves.
pub(super) fn last_before(conn: &mut Conn, cutoff: Micros) -> QueryResult<DeliveryId> {
    let newest: Option<DeliveryId> = deliveries::table
        .select(diesel::dsl::max(deliveries::id))
        .first(conn)?;
    let (mut low, mut high) = (0_i64, newest.map_or(0, |id| id.0));
    // Invariant: rows at or below `low` are older, rows above `high` are not.
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let at: Option<Micros> = deliveries::table
            .filter(deliveries::id.ge(DeliveryId(middle)))
            .order(deliveries::id)
            .select(deliveries::received_at)
            .first(conn)
            .optional()?;
        if at.is_some_and(|at| at < cutoff) {
            low = middle
        } else {
            high = middle - 1
        }
    }
    Ok(DeliveryId(low))
}

/// Ids up to `last` that still hold a body and are not waiting for work.
pub(super) fn with_body(
    conn: &mut Conn,
    after: DeliveryId,
    last: DeliveryId,
    limit: i64,
) -> QueryResult<Vec<DeliveryId>> {
    deliveries::table
        .filter(deliveries::id.gt(after))
        .filter(deliveries::id.le(last))
        .filter(deliveries::state.ne(DeliveryState::Ready))
        .filter(deliveries::body.ne(Vec::<u8>::new()))
        .order(deliveries::id)
        .limit(limit)
        .select(deliveries::id)
        .load(conn)
}

pub(super) fn remove_bodies(tx: &mut Tx<'_>, ids: &[DeliveryId]) -> QueryResult<usize> {
    diesel::update(deliveries::table.filter(deliveries::id.eq_any(ids)))
        .set(deliveries::body.eq(Vec::<u8>::new()))
        .execute(tx.conn())
}

/// Deletes up to `limit` ended deliveries with ids up to `last`.
pub(super) fn delete_old(tx: &mut Tx<'_>, last: DeliveryId, limit: i64) -> QueryResult<usize> {
    let old: Vec<DeliveryId> = deliveries::table
        .filter(deliveries::id.le(last))
        .filter(deliveries::state.ne(DeliveryState::Ready))
        .order(deliveries::id)
        .limit(limit)
        .select(deliveries::id)
        .load(tx.conn())?;
    diesel::delete(deliveries::table.filter(deliveries::id.eq_any(old))).execute(tx.conn())
}
