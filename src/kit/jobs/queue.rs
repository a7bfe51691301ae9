//! The outbox table: enqueue, claim, finish, and what an operator does to it.

use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Integer, Nullable, Text};

use super::job::{Job, JobState, Queue};
use super::table::{job_attempts, jobs, periodic};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::kit::ids::row_id;
use crate::kit::redact::redact_short;

row_id! {
    /// Row id of a job.
    JobId
}

/// A process that dies takes its runs with it; such a run counts, but a job is not given up for it until this
/// many times its own limit.
const CRASH_FACTOR: i32 = 3;
/// Bytes kept of how a run ended.
const MAX_MESSAGE: usize = 2_000;

/// One job, as lists show it.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = jobs)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct JobRow {
    pub id: JobId,
    pub org_id: Option<i64>,
    pub kind: String,
    pub queue: Queue,
    pub payload: String,
    pub dedupe_key: Option<String>,
    pub state: JobState,
    pub attempts: i32,
    pub max_attempts: i32,
    pub run_at: Micros,
    pub leased_until: Option<Micros>,
    pub lease_owner: Option<String>,
    pub last_error: Option<String>,
    pub created_at: Micros,
    pub finished_at: Option<Micros>,
}

/// One run that did not end in success.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = job_attempts)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct AttemptRow {
    pub attempt: i32,
    pub verdict: String,
    pub message: String,
    pub at: Micros,
}

/// A claimed job: this process may run it until the lease ends.
#[derive(Debug, QueryableByName)]
pub(super) struct Claimed {
    #[diesel(sql_type = BigInt)]
    pub(super) id: JobId,
    #[diesel(sql_type = Text)]
    pub(super) kind: String,
    #[diesel(sql_type = Text)]
    pub(super) payload: String,
    #[diesel(sql_type = Integer)]
    pub(super) attempts: i32,
    #[diesel(sql_type = Integer)]
    pub(super) max_attempts: i32,
}

impl Claimed {
    pub(super) fn run(&self) -> Run {
        Run {
            id: self.id,
            attempt: self.attempts,
        }
    }
}

/// One run of a job. A job that was taken back may run again in the same process while its first run still goes
/// on; the number tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) id: JobId,
    pub(super) attempt: i32,
}

/// How the runner ends a claimed job.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    Done {
        note: Option<String>,
    },
    Again {
        at: Micros,
        message: String,
    },
    /// Again, as if this run had not been.
    Later {
        at: Micros,
        message: String,
    },
    Dead {
        message: String,
    },
}

impl Ending {
    /// Its message comes from anywhere and is shown to people.
    fn redacted(&self) -> Self {
        let clean = |text: &String| redact_short(text, MAX_MESSAGE);
        match self {
            Self::Done { note } => Self::Done {
                note: note.as_ref().map(clean),
            },
            Self::Again { at, message } => Self::Again {
                at: *at,
                message: clean(message),
            },
            Self::Later { at, message } => Self::Later {
                at: *at,
                message: clean(message),
            },
            Self::Dead { message } => Self::Dead {
                message: clean(message),
            },
        }
    }
}

/// Inserts a job that is due now.
///
/// # Errors
/// When the row cannot be inserted.
pub fn enqueue<J: Job>(tx: &mut Tx<'_>, job: &J, now: Micros) -> QueryResult<()> {
    enqueue_at(tx, job, now, now)
}

/// Inserts a job that is due at `run_at`. When one of the same kind and key is waiting already, that one takes
/// the newer payload and the earlier time; a running one is left alone and this one waits for its turn.
///
/// # Errors
/// When the row cannot be inserted.
pub fn enqueue_at<J: Job>(
    tx: &mut Tx<'_>,
    job: &J,
    run_at: Micros,
    now: Micros,
) -> QueryResult<()> {
    let payload = serde_json::to_string(job)
        .map_err(|error| DieselError::SerializationError(Box::new(error)))?;
    diesel::sql_query(
        "INSERT INTO jobs (org_id, kind, queue, payload, dedupe_key, order_key, state, attempts, \
         max_attempts, run_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, 'ready', 0, $7, $8, $9) \
         ON CONFLICT (kind, dedupe_key) WHERE state = 'ready' AND dedupe_key IS NOT NULL \
         DO UPDATE SET payload = excluded.payload, \
         run_at = CASE WHEN excluded.run_at < jobs.run_at THEN excluded.run_at ELSE jobs.run_at END",
    )
    .bind::<Nullable<BigInt>, _>(job.org_id())
    .bind::<Text, _>(J::KIND)
    .bind::<Text, _>(J::QUEUE)
    .bind::<Text, _>(payload)
    .bind::<Nullable<Text>, _>(job.dedupe_key())
    .bind::<Nullable<Text>, _>(job.order_key())
    .bind::<Integer, _>(J::MAX_ATTEMPTS)
    .bind::<BigInt, _>(run_at)
    .bind::<BigInt, _>(now)
    .execute(tx.conn())?;
    tx.wake_workers();
    Ok(())
}

/// Takes back a waiting job; a running one is left to find out by itself. True when there was one.
///
/// # Errors
/// When the statement fails.
pub fn cancel<J: Job>(tx: &mut Tx<'_>, dedupe_key: &str) -> QueryResult<bool> {
    diesel::delete(
        jobs::table
            .filter(jobs::kind.eq(J::KIND))
            .filter(jobs::dedupe_key.eq(dedupe_key))
            .filter(jobs::state.eq(JobState::Ready)),
    )
    .execute(tx.conn())
    .map(|count| count > 0)
}

/// Whether a job of this kind and key waits or runs: then nobody else needs to ask for it.
///
/// # Errors
/// When the query fails.
pub fn is_under_way<J: Job>(conn: &mut Conn, dedupe_key: &str) -> QueryResult<bool> {
    let live = jobs::table
        .filter(jobs::kind.eq(J::KIND))
        .filter(jobs::dedupe_key.eq(dedupe_key))
        .filter(jobs::state.eq_any([JobState::Ready, JobState::Running]));
    diesel::select(diesel::dsl::exists(live)).get_result(conn)
}

/// Takes back every waiting job of an order key, whatever its kind; running ones find out by themselves. Answers
/// how many there were.
///
/// # Errors
/// When the statement fails.
pub fn cancel_ordered(tx: &mut Tx<'_>, order_key: &str) -> QueryResult<usize> {
    diesel::delete(
        jobs::table
            .filter(jobs::order_key.eq(order_key))
            .filter(jobs::state.eq(JobState::Ready)),
    )
    .execute(tx.conn())
}

/// Claims up to `limit` due jobs of a queue for `owner`.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    queue: Queue,
    owner: &str,
    now: Micros,
    lease: Duration,
    limit: i64,
) -> QueryResult<Vec<Claimed>> {
    #[derive(QueryableByName)]
    struct Candidate {
        #[diesel(sql_type = BigInt)]
        id: JobId,
    }
    const FREE: &str = "NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.kind = jobs.kind \
         AND r.dedupe_key = jobs.dedupe_key) \
         AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.order_key = jobs.order_key)";
    let candidates: Vec<Candidate> = diesel::sql_query(format!(
        "SELECT id FROM jobs WHERE state = 'ready' AND queue = $1 AND run_at <= $2 AND {FREE} \
         ORDER BY run_at, id LIMIT $3"
    ))
    .bind::<Text, _>(queue)
    .bind::<BigInt, _>(now)
    .bind::<BigInt, _>(limit)
    .load(tx.conn())?;
    let mut claimed = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        // Two processes may reach for jobs of one key at once: the unique indexes on running rows decide,
        // and the savepoint keeps the loser's transaction alive.
        let won = tx.conn().transaction(|conn| {
            diesel::sql_query(format!(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, lease_owner = $1, \
                 leased_until = $2 WHERE id = $3 AND state = 'ready' AND {FREE} \
                 RETURNING id, kind, payload, attempts, max_attempts"
            ))
            .bind::<Text, _>(owner)
            .bind::<BigInt, _>(now.plus(lease))
            .bind::<BigInt, _>(candidate.id)
            .load::<Claimed>(conn)
        });
        match won {
            Ok(rows) => claimed.extend(rows),
            Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(claimed)
}

/// Ends a run, if `owner` still holds it; a late zombie changes nothing. True when it did.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    run: Run,
    owner: &str,
    ending: &Ending,
    now: Micros,
) -> QueryResult<bool> {
    let ending = &ending.redacted();
    let mine = jobs::table
        .filter(jobs::id.eq(run.id))
        .filter(jobs::state.eq(JobState::Running))
        .filter(jobs::lease_owner.eq(owner))
        .filter(jobs::attempts.eq(run.attempt));
    let released = (
        jobs::leased_until.eq(None::<Micros>),
        jobs::lease_owner.eq(None::<String>),
    );
    let changed = match ending {
        Ending::Done { note } => diesel::update(mine)
            .set((
                released,
                jobs::state.eq(JobState::Done),
                jobs::last_error.eq(note),
                jobs::finished_at.eq(Some(now)),
            ))
            .execute(tx.conn())?,
        Ending::Dead { message } => diesel::update(mine)
            .set((
                released,
                jobs::state.eq(JobState::Dead),
                jobs::last_error.eq(Some(message)),
                jobs::finished_at.eq(Some(now)),
            ))
            .execute(tx.conn())?,
        Ending::Again { at, message } => give_back(tx, run, owner, (*at, 0), message, now)?,
        Ending::Later { at, message } => give_back(tx, run, owner, (*at, 1), message, now)?,
    };
    if changed == 0 {
        return Ok(false);
    }
    let (verdict, message) = match ending {
        Ending::Done { note: None } => return Ok(true),
        Ending::Done { note: Some(note) } => ("dropped", note),
        Ending::Again { message, .. } => ("retry", message),
        Ending::Later { message, .. } => ("postponed", message),
        Ending::Dead { message } => ("dead", message),
    };
    diesel::sql_query(
        "INSERT INTO job_attempts (job_id, attempt, verdict, message, at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind::<BigInt, _>(run.id)
    .bind::<Integer, _>(run.attempt)
    .bind::<Text, _>(verdict)
    .bind::<Text, _>(message)
    .bind::<BigInt, _>(now)
    .execute(tx.conn())?;
    Ok(true)
}

/// Back to ready, unless a newer job of the same key waits already: that one then does the work.
fn give_back(
    tx: &mut Tx<'_>,
    run: Run,
    owner: &str,
    (at, forgiven): (Micros, i32),
    message: &str,
    now: Micros,
) -> QueryResult<usize> {
    let waiting = "EXISTS (SELECT 1 FROM jobs n WHERE n.kind = jobs.kind AND n.dedupe_key = jobs.dedupe_key \
                   AND n.state = 'ready')";
    diesel::sql_query(format!(
        "UPDATE jobs SET state = CASE WHEN {waiting} THEN 'done' ELSE 'ready' END, \
         finished_at = CASE WHEN {waiting} THEN $1 ELSE NULL END, \
         run_at = $2, last_error = $3, leased_until = NULL, lease_owner = NULL, attempts = attempts - $4 \
         WHERE id = $5 AND state = 'running' AND lease_owner = $6 AND attempts = $7"
    ))
    .bind::<BigInt, _>(now)
    .bind::<BigInt, _>(at)
    .bind::<Text, _>(message)
    .bind::<Integer, _>(forgiven)
    .bind::<BigInt, _>(run.id)
    .bind::<Text, _>(owner)
    .bind::<Integer, _>(run.attempt)
    .execute(tx.conn())
}

/// Extends the leases of `held`, as far as `owner` still has them.
pub(super) fn heartbeat(
    tx: &mut Tx<'_>,
    owner: &str,
    held: &[JobId],
    until: Micros,
) -> QueryResult<usize> {
    diesel::update(
        jobs::table
            .filter(jobs::id.eq_any(held))
            .filter(jobs::state.eq(JobState::Running))
            .filter(jobs::lease_owner.eq(owner)),
    )
    .set(jobs::leased_until.eq(Some(until)))
    .execute(tx.conn())
}

/// Takes back what a dead process was running: leases that ended, or (`all_but` given) every lease of any
/// other owner, which is right where only one process can be alive.
pub(super) fn reclaim(tx: &mut Tx<'_>, all_but: Option<&str>, now: Micros) -> QueryResult<usize> {
    let mut query = jobs::table
        .filter(jobs::state.eq(JobState::Running))
        .select((
            jobs::id,
            jobs::lease_owner,
            jobs::attempts,
            jobs::max_attempts,
        ))
        .into_boxed();
    query = match all_but {
        Some(owner) => query.filter(jobs::lease_owner.ne(owner.to_owned())),
        None => query.filter(jobs::leased_until.lt(Some(now))),
    };
    let lost: Vec<(JobId, Option<String>, i32, i32)> = query.limit(500).load(tx.conn())?;
    for (id, owner, attempts, max_attempts) in &lost {
        let run = Run {
            id: *id,
            attempt: *attempts,
        };
        let owner = owner.as_deref().unwrap_or_default();
        let message = "the process that ran this ended before it was done".to_owned();
        let ending = if *attempts >= max_attempts.saturating_mul(CRASH_FACTOR) {
            Ending::Dead { message }
        } else {
            Ending::Again { at: now, message }
        };
        finish(tx, run, owner, &ending, now)?;
    }
    if !lost.is_empty() {
        tx.wake_workers();
    }
    Ok(lost.len())
}

/// True for one caller per period: moves the row's next run forward, if it is due.
pub(super) fn periodic_due(
    tx: &mut Tx<'_>,
    name: &str,
    every: Duration,
    now: Micros,
) -> QueryResult<bool> {
    on_both!(tx.conn(), |conn| diesel::insert_into(periodic::table)
        .values((periodic::name.eq(name), periodic::next_run.eq(now)))
        .on_conflict_do_nothing()
        .execute(conn))?;
    diesel::update(
        periodic::table
            .filter(periodic::name.eq(name))
            .filter(periodic::next_run.le(now)),
    )
    .set(periodic::next_run.eq(now.plus(every)))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Jobs per state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct JobCounts {
    /// Waiting.
    pub ready: i64,
    /// Claimed now.
    pub running: i64,
    /// Ended, not pruned yet.
    pub done: i64,
    /// Given up.
    pub dead: i64,
}

/// Counts jobs per state.
///
/// # Errors
/// When the query fails.
pub fn counts(conn: &mut Conn) -> QueryResult<JobCounts> {
    let rows: Vec<(JobState, i64)> = jobs::table
        .group_by(jobs::state)
        .select((jobs::state, diesel::dsl::count_star()))
        .load(conn)?;
    let mut counts = JobCounts::default();
    for (state, count) in rows {
        match state {
            JobState::Ready => counts.ready = count,
            JobState::Running => counts.running = count,
            JobState::Done => counts.done = count,
            JobState::Dead => counts.dead = count,
        }
    }
    Ok(counts)
}

/// Which jobs a list shows; `None` is no restriction.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One tenant's.
    pub org: Option<i64>,
    /// In this state.
    pub state: Option<JobState>,
    /// Of this queue.
    pub queue: Option<Queue>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Older than this one.
    pub before: Option<JobId>,
}

/// Jobs that the filter lets through, newest first.
///
/// # Errors
/// When the query fails.
pub fn list(conn: &mut Conn, filter: &Filter, limit: i64) -> QueryResult<Vec<JobRow>> {
    let mut query = jobs::table
        .select(JobRow::as_select())
        .order(jobs::id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(org) = filter.org {
        query = query.filter(jobs::org_id.eq(org));
    }
    if let Some(state) = filter.state {
        query = query.filter(jobs::state.eq(state));
    }
    if let Some(queue) = filter.queue {
        query = query.filter(jobs::queue.eq(queue));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(jobs::kind.eq(kind.clone()));
    }
    if let Some(before) = filter.before {
        query = query.filter(jobs::id.lt(before));
    }
    query.load(conn)
}

/// How many jobs of a queue are in a state, and since when the oldest of them is due.
#[derive(Debug, Clone, Queryable)]
pub struct QueueStat {
    /// The queue.
    pub queue: Queue,
    /// The state.
    pub state: JobState,
    /// How many.
    pub count: i64,
    /// Earliest due time.
    pub oldest: Option<Micros>,
}

/// Figures per queue and state; `org` narrows to one tenant.
///
/// # Errors
/// When the query fails.
pub fn stats(conn: &mut Conn, org: Option<i64>) -> QueryResult<Vec<QueueStat>> {
    let query = jobs::table.group_by((jobs::queue, jobs::state)).select((
        jobs::queue,
        jobs::state,
        diesel::dsl::count_star(),
        diesel::dsl::min(jobs::run_at),
    ));
    match org {
        Some(org) => query.filter(jobs::org_id.eq(org)).load(conn),
        None => query.load(conn),
    }
}

/// Kinds that have rows, by name; `org` narrows to one tenant.
///
/// # Errors
/// When the query fails.
pub fn kinds(conn: &mut Conn, org: Option<i64>) -> QueryResult<Vec<String>> {
    let query = jobs::table.select(jobs::kind).distinct().order(jobs::kind);
    match org {
        Some(org) => query.filter(jobs::org_id.eq(org)).load(conn),
        None => query.load(conn),
    }
}

/// One job; `org` narrows to one tenant.
///
/// # Errors
/// When the query fails.
pub fn find(conn: &mut Conn, org: Option<i64>, id: JobId) -> QueryResult<Option<JobRow>> {
    let mut query = jobs::table
        .filter(jobs::id.eq(id))
        .select(JobRow::as_select())
        .into_boxed();
    if let Some(org) = org {
        query = query.filter(jobs::org_id.eq(org));
    }
    query.first(conn).optional()
}

/// The runs of a job that did not end in success, oldest first.
///
/// # Errors
/// When the query fails.
pub fn attempts_of(conn: &mut Conn, id: JobId) -> QueryResult<Vec<AttemptRow>> {
    job_attempts::table
        .filter(job_attempts::job_id.eq(id))
        .order(job_attempts::id)
        .limit(100)
        .select(AttemptRow::as_select())
        .load(conn)
}

/// Gives a dead job a fresh start. False when it is not dead (any more).
///
/// # Errors
/// When the statement fails.
pub fn redrive(tx: &mut Tx<'_>, org: Option<i64>, id: JobId, now: Micros) -> QueryResult<bool> {
    let Some(job) = find(tx, org, id)?.filter(|job| job.state == JobState::Dead) else {
        return Ok(false);
    };
    // A newer job of the key may wait already; it does the work then.
    let waiting = jobs::table
        .filter(jobs::kind.eq(&job.kind))
        .filter(jobs::dedupe_key.eq(&job.dedupe_key))
        .filter(jobs::state.eq(JobState::Ready));
    let twin: bool = diesel::select(diesel::dsl::exists(waiting)).get_result(tx.conn())?;
    let state = if twin {
        JobState::Done
    } else {
        JobState::Ready
    };
    let changed = diesel::update(
        jobs::table
            .filter(jobs::id.eq(id))
            .filter(jobs::state.eq(JobState::Dead)),
    )
    .set((
        jobs::state.eq(state),
        jobs::attempts.eq(0),
        jobs::run_at.eq(now),
        jobs::finished_at.eq(twin.then_some(now)),
    ))
    .execute(tx.conn())?;
    tx.wake_workers();
    Ok(changed == 1)
}

/// Deletes a dead job. False when it is not dead.
///
/// # Errors
/// When the statement fails.
pub fn drop_dead(tx: &mut Tx<'_>, org: Option<i64>, id: JobId) -> QueryResult<bool> {
    let dead = jobs::table
        .filter(jobs::id.eq(id))
        .filter(jobs::state.eq(JobState::Dead));
    match org {
        Some(org) => diesel::delete(dead.filter(jobs::org_id.eq(org))).execute(tx.conn()),
        None => diesel::delete(dead).execute(tx.conn()),
    }
    .map(|count| count == 1)
}

/// Deletes done jobs that ended before `before`, at most `limit` at a time. Dead jobs stay.
///
/// # Errors
/// When the statement fails.
pub fn prune(tx: &mut Tx<'_>, before: Micros, limit: i64) -> QueryResult<usize> {
    let old: Vec<JobId> = jobs::table
        .filter(jobs::state.eq(JobState::Done))
        .filter(jobs::finished_at.lt(Some(before)))
        .select(jobs::id)
        .limit(limit)
        .load(tx.conn())?;
    diesel::delete(jobs::table.filter(jobs::id.eq_any(old))).execute(tx.conn())
}

/// True when a job of `queue` could be claimed now.
pub(super) fn any_due(conn: &mut Conn, queue: Queue, now: Micros) -> QueryResult<bool> {
    let due = jobs::table
        .filter(jobs::state.eq(JobState::Ready))
        .filter(jobs::queue.eq(queue))
        .filter(jobs::run_at.le(now));
    diesel::select(diesel::dsl::exists(due)).get_result(conn)
}

/// True when one of these periodic jobs is due or has never run.
pub(super) fn any_periodic_due(
    conn: &mut Conn,
    names: &[&'static str],
    now: Micros,
) -> QueryResult<bool> {
    let waiting: i64 = periodic::table
        .filter(periodic::name.eq_any(names))
        .filter(periodic::next_run.gt(now))
        .count()
        .get_result(conn)?;
    Ok(usize::try_from(waiting).unwrap_or(0) < names.len())
}
