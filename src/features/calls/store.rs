//! The tables of budgets, kept answers and calls. A budget belongs to a credential and may serve several
//! organizations, so its functions take its key first; all others take the organization first, but for upkeep.

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel::upsert::excluded;

use super::BudgetKey;
use crate::bitbucket::Group;
use crate::bitbucket::behind::{AnswerKey, CallRecord};
use crate::features::accounts::OrgId;
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::schema::{bitbucket_calls, kept_answers, rate_budgets, rate_slots};

/// The state of one group of calls of one credential.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = rate_budgets)]
pub(super) struct BudgetRow {
    pub(super) call_group: String,
    pub(super) hourly_limit: i64,
    pub(super) paused_until: Micros,
    pub(super) near_until: Micros,
    pub(super) strikes: i64,
}

pub(super) fn budget_rows(conn: &mut Conn, key: &BudgetKey) -> QueryResult<Vec<BudgetRow>> {
    rate_budgets::table
        .filter(rate_budgets::budget.eq(key.as_str()))
        .order(rate_budgets::call_group)
        .select(BudgetRow::as_select())
        .load(conn)
}

/// Makes the rows of a credential that has none yet.
pub(super) fn open_budget(tx: &mut Tx<'_>, key: &BudgetKey, now: Micros) -> QueryResult<()> {
    let known: i64 = rate_budgets::table
        .filter(rate_budgets::budget.eq(key.as_str()))
        .select(count_star())
        .first(tx.conn())?;
    if usize::try_from(known).is_ok_and(|known| known >= Group::ALL.len()) {
        return Ok(());
    }
    for group in Group::ALL {
        let limit = i64::try_from(group.usual_limit()).unwrap_or(i64::MAX);
        on_both!(tx.conn(), |conn| diesel::insert_into(rate_budgets::table)
            .values((
                rate_budgets::budget.eq(key.as_str()),
                rate_budgets::call_group.eq(group.as_str()),
                rate_budgets::hourly_limit.eq(limit),
                rate_budgets::paused_until.eq(Micros(0)),
                rate_budgets::near_until.eq(Micros(0)),
                rate_budgets::strikes.eq(0),
                rate_budgets::updated_at.eq(now),
            ))
            .on_conflict_do_nothing()
            .execute(conn))?;
    }
    Ok(())
}

/// Writes down the limit of a group, and until when little of it is believed to be left.
pub(super) fn set_limit(
    tx: &mut Tx<'_>,
    key: &BudgetKey,
    group: Group,
    limit: i64,
    near: Option<Micros>,
    now: Micros,
) -> QueryResult<()> {
    let row = rate_budgets::table
        .filter(rate_budgets::budget.eq(key.as_str()))
        .filter(rate_budgets::call_group.eq(group.as_str()));
    diesel::update(row)
        .set((
            rate_budgets::hourly_limit.eq(limit),
            rate_budgets::updated_at.eq(now),
        ))
        .execute(tx.conn())?;
    if let Some(near) = near {
        diesel::update(row.filter(rate_budgets::near_until.lt(near)))
            .set(rate_budgets::near_until.eq(near))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// Stops every group of a credential.
pub(super) fn set_pause(
    tx: &mut Tx<'_>,
    key: &BudgetKey,
    until: Micros,
    strikes: i64,
    now: Micros,
) -> QueryResult<()> {
    diesel::update(rate_budgets::table.filter(rate_budgets::budget.eq(key.as_str())))
        .set((
            rate_budgets::paused_until.eq(until),
            rate_budgets::strikes.eq(strikes),
            rate_budgets::updated_at.eq(now),
        ))
        .execute(tx.conn())
        .map(drop)
}

/// Calls handed out since a slot, oldest first.
pub(super) fn used_slots(
    conn: &mut Conn,
    key: &BudgetKey,
    group: Group,
    from: i64,
) -> QueryResult<Vec<(i64, i64)>> {
    rate_slots::table
        .filter(rate_slots::budget.eq(key.as_str()))
        .filter(rate_slots::call_group.eq(group.as_str()))
        .filter(rate_slots::slot.ge(from))
        .order(rate_slots::slot)
        .select((rate_slots::slot, rate_slots::used))
        .load(conn)
}

pub(super) fn hand_out(
    tx: &mut Tx<'_>,
    key: &BudgetKey,
    group: Group,
    slot: i64,
    calls: i64,
) -> QueryResult<()> {
    on_both!(tx.conn(), |conn| diesel::insert_into(rate_slots::table)
        .values((
            rate_slots::budget.eq(key.as_str()),
            rate_slots::call_group.eq(group.as_str()),
            rate_slots::slot.eq(slot),
            rate_slots::used.eq(calls),
        ))
        .on_conflict((rate_slots::budget, rate_slots::call_group, rate_slots::slot))
        .do_update()
        .set(rate_slots::used.eq(rate_slots::used + excluded(rate_slots::used)))
        .execute(conn))
    .map(drop)
}

/// Takes back what was handed out and not used.
pub(super) fn give_back(
    tx: &mut Tx<'_>,
    key: &BudgetKey,
    group: Group,
    slot: i64,
    calls: i64,
) -> QueryResult<()> {
    diesel::update(
        rate_slots::table
            .filter(rate_slots::budget.eq(key.as_str()))
            .filter(rate_slots::call_group.eq(group.as_str()))
            .filter(rate_slots::slot.eq(slot))
            .filter(rate_slots::used.ge(calls)),
    )
    .set(rate_slots::used.eq(rate_slots::used - calls))
    .execute(tx.conn())
    .map(drop)
}

/// Forgets slots before this one, and credentials that nobody has used since `before`.
pub(super) fn prune_budgets(tx: &mut Tx<'_>, slot: i64, before: Micros) -> QueryResult<()> {
    diesel::delete(rate_slots::table.filter(rate_slots::slot.lt(slot))).execute(tx.conn())?;
    diesel::delete(
        rate_budgets::table
            .filter(rate_budgets::updated_at.lt(before))
            .filter(rate_budgets::paused_until.lt(before)),
    )
    .execute(tx.conn())
    .map(drop)
}

/// A kept answer as it rests.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = kept_answers)]
pub(super) struct AnswerRow {
    pub(super) id: i64,
    pub(super) body: Vec<u8>,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
    pub(super) immutable: bool,
    pub(super) used_at: Micros,
}

pub(super) fn find_answer(
    conn: &mut Conn,
    org: OrgId,
    link: i64,
    key: AnswerKey,
) -> QueryResult<Option<AnswerRow>> {
    kept_answers::table
        .filter(kept_answers::org_id.eq(org))
        .filter(kept_answers::link_id.eq(link))
        .filter(kept_answers::answer_key.eq(&key.0[..]))
        .select(AnswerRow::as_select())
        .first(conn)
        .optional()
}

/// An answer to be kept; `body` is packed.
#[derive(Debug, Clone)]
pub(super) struct NewAnswer {
    pub(super) key: AnswerKey,
    pub(super) body: Vec<u8>,
    pub(super) size: i64,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
    pub(super) immutable: bool,
}

pub(super) fn keep_answer(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: i64,
    answer: &NewAnswer,
    now: Micros,
) -> QueryResult<()> {
    on_both!(tx.conn(), |conn| diesel::insert_into(kept_answers::table)
        .values((
            kept_answers::org_id.eq(org),
            kept_answers::link_id.eq(link),
            kept_answers::answer_key.eq(&answer.key.0[..]),
            kept_answers::body.eq(&answer.body),
            kept_answers::size.eq(answer.size),
            kept_answers::etag.eq(&answer.etag),
            kept_answers::modified.eq(&answer.modified),
            kept_answers::immutable.eq(answer.immutable),
            kept_answers::used_at.eq(now),
        ))
        .on_conflict((kept_answers::link_id, kept_answers::answer_key))
        .do_update()
        .set((
            kept_answers::body.eq(excluded(kept_answers::body)),
            kept_answers::size.eq(excluded(kept_answers::size)),
            kept_answers::etag.eq(excluded(kept_answers::etag)),
            kept_answers::modified.eq(excluded(kept_answers::modified)),
            kept_answers::immutable.eq(excluded(kept_answers::immutable)),
            kept_answers::used_at.eq(excluded(kept_answers::used_at)),
        ))
        .execute(conn))
    .map(drop)
}

pub(super) fn touch_answers(tx: &mut Tx<'_>, ids: &[i64], now: Micros) -> QueryResult<()> {
    diesel::update(kept_answers::table.filter(kept_answers::id.eq_any(ids)))
        .set(kept_answers::used_at.eq(now))
        .execute(tx.conn())
        .map(drop)
}

/// What all kept answers take, in bytes.
pub(super) fn kept_bytes(conn: &mut Conn) -> QueryResult<i64> {
    let sum: Option<i64> = kept_answers::table
        .select(sql::<Nullable<BigInt>>("CAST(SUM(size) AS BIGINT)"))
        .first(conn)?;
    Ok(sum.unwrap_or_default())
}

/// Deletes the answers that were not used for longest, `bytes` of them at least, but no more than `limit` rows.
/// Answers what they took.
pub(super) fn evict_answers(tx: &mut Tx<'_>, bytes: i64, limit: i64) -> QueryResult<i64> {
    let oldest: Vec<(i64, i64)> = kept_answers::table
        .order((kept_answers::used_at, kept_answers::id))
        .limit(limit)
        .select((kept_answers::id, kept_answers::size))
        .load(tx.conn())?;
    let (mut ids, mut freed) = (Vec::new(), 0_i64);
    for (id, size) in oldest {
        if freed >= bytes {
            break;
        }
        ids.push(id);
        freed = freed.saturating_add(size);
    }
    diesel::delete(kept_answers::table.filter(kept_answers::id.eq_any(ids))).execute(tx.conn())?;
    Ok(freed)
}

/// A call as it is shown.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = bitbucket_calls)]
pub(super) struct CallRow {
    pub(super) at: Micros,
    pub(super) feature: String,
    pub(super) priority: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) outcome: String,
    pub(super) status: Option<i64>,
    pub(super) millis: i64,
    pub(super) request_id: Option<String>,
}

pub(super) fn insert_calls(tx: &mut Tx<'_>, calls: &[(OrgId, i64, CallRecord)]) -> QueryResult<()> {
    let rows: Vec<_> = calls
        .iter()
        .map(|(org, link, call)| {
            (
                bitbucket_calls::org_id.eq(*org),
                bitbucket_calls::link_id.eq(*link),
                bitbucket_calls::at.eq(call.at),
                bitbucket_calls::feature.eq(call.feature),
                bitbucket_calls::priority.eq(call.priority.as_str()),
                bitbucket_calls::method.eq(call.method),
                bitbucket_calls::path.eq(call.path),
                bitbucket_calls::outcome.eq(call.outcome),
                bitbucket_calls::status.eq(call.status.map(i64::from)),
                bitbucket_calls::millis.eq(i64::try_from(call.millis).unwrap_or(i64::MAX)),
                bitbucket_calls::request_id.eq(call.request_id.as_deref()),
            )
        })
        .collect();
    on_both!(tx.conn(), |conn| diesel::insert_into(
        bitbucket_calls::table
    )
    .values(&rows)
    .execute(conn))
    .map(drop)
}

/// Outcomes that are no failure.
pub(super) const GOOD: [&str; 3] = ["ok", "cached", "not_modified"];

/// The newest calls of a connection: of one feature, or only those that failed.
pub(super) fn recent_calls(
    conn: &mut Conn,
    org: OrgId,
    link: i64,
    feature: Option<&str>,
    only_failed: bool,
    limit: i64,
) -> QueryResult<Vec<CallRow>> {
    let mut query = bitbucket_calls::table
        .filter(bitbucket_calls::org_id.eq(org))
        .filter(bitbucket_calls::link_id.eq(link))
        .order(bitbucket_calls::id.desc())
        .limit(limit)
        .select(CallRow::as_select())
        .into_boxed();
    if let Some(feature) = feature {
        query = query.filter(bitbucket_calls::feature.eq(feature.to_owned()));
    }
    if only_failed {
        query = query.filter(bitbucket_calls::outcome.ne_all(GOOD));
    }
    query.load(conn)
}

/// Features that have called, with the number of their calls.
pub(super) fn calling_features(
    conn: &mut Conn,
    org: OrgId,
    link: i64,
) -> QueryResult<Vec<(String, i64)>> {
    bitbucket_calls::table
        .filter(bitbucket_calls::org_id.eq(org))
        .filter(bitbucket_calls::link_id.eq(link))
        .group_by(bitbucket_calls::feature)
        .order(bitbucket_calls::feature)
        .select((bitbucket_calls::feature, count_star()))
        .load(conn)
}

/// Deletes calls before `before`; answers how many, at most `limit`.
pub(super) fn prune_calls(tx: &mut Tx<'_>, before: Micros, limit: i64) -> QueryResult<usize> {
    let ids: Vec<i64> = bitbucket_calls::table
        .filter(bitbucket_calls::at.lt(before))
        .order(bitbucket_calls::at)
        .limit(limit)
        .select(bitbucket_calls::id)
        .load(tx.conn())?;
    diesel::delete(bitbucket_calls::table.filter(bitbucket_calls::id.eq_any(ids)))
        .execute(tx.conn())
}

/// Connections over all organizations with more calls than `most`.
pub(super) fn crowded_links(conn: &mut Conn, most: i64) -> QueryResult<Vec<(OrgId, i64)>> {
    bitbucket_calls::table
        .group_by((bitbucket_calls::org_id, bitbucket_calls::link_id))
        .having(count_star().gt(most))
        .select((bitbucket_calls::org_id, bitbucket_calls::link_id))
        .load(conn)
}

/// Keeps only the newest `most` calls of a connection.
pub(super) fn trim_calls(tx: &mut Tx<'_>, org: OrgId, link: i64, most: i64) -> QueryResult<usize> {
    let newest_gone: Option<i64> = bitbucket_calls::table
        .filter(bitbucket_calls::org_id.eq(org))
        .filter(bitbucket_calls::link_id.eq(link))
        .order(bitbucket_calls::id.desc())
        .offset(most)
        .limit(1)
        .select(bitbucket_calls::id)
        .first(tx.conn())
        .optional()?;
    let Some(newest_gone) = newest_gone else {
        return Ok(0);
    };
    diesel::delete(
        bitbucket_calls::table
            .filter(bitbucket_calls::org_id.eq(org))
            .filter(bitbucket_calls::link_id.eq(link))
            .filter(bitbucket_calls::id.le(newest_gone)),
    )
    .execute(tx.conn())
}
