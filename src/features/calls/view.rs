//! The calls of a connection as its page shows them.

use serde::Serialize;

use super::BudgetKey;
use super::slots::{first_counted, grant, slot_of};
use super::store::{self, CallRow};
use crate::bitbucket::Group;
use crate::error::AppResult;
use crate::features::accounts::OrgId;
use crate::kit::clock::Micros;
use crate::kit::db::Conn;

/// Calls on the page, and failed ones above them.
const RECENT: i64 = 50;
const FAILED: i64 = 5;

/// The budget now, the last failures, and the last calls.
#[derive(Debug, Clone, Serialize)]
pub struct Calls {
    budgets: Vec<BudgetPart>,
    /// Until when nobody calls with this credential, if Bitbucket asked for that.
    paused_until: Option<Micros>,
    features: Vec<FeaturePart>,
    feature: String,
    failed: Vec<CallPart>,
    recent: Vec<CallPart>,
}

#[derive(Debug, Clone, Serialize)]
struct BudgetPart {
    name: &'static str,
    limit: i64,
    left: i64,
    state: &'static str,
    /// When calls of this hour come back, if any were made.
    refills_at: Option<Micros>,
}

#[derive(Debug, Clone, Serialize)]
struct FeaturePart {
    name: String,
    count: i64,
}

#[derive(Debug, Clone, Serialize)]
struct CallPart {
    at: Micros,
    feature: String,
    priority: String,
    method: String,
    path: String,
    outcome: String,
    status_code: Option<i64>,
    state: &'static str,
    millis: i64,
    request_id: Option<String>,
}

impl CallPart {
    fn new(row: CallRow) -> Self {
        let state = match row.outcome.as_str() {
            good if store::GOOD.contains(&good) => "ok",
            "out_of_budget" | "rate_limited" => "warn",
            _ => "failed",
        };
        Self {
            at: row.at,
            feature: row.feature,
            priority: row.priority,
            method: row.method,
            path: row.path,
            outcome: row.outcome.replace('_', " "),
            status_code: row.status,
            state,
            millis: row.millis,
            request_id: row.request_id,
        }
    }
}

const fn name_of(group: Group) -> &'static str {
    match group {
        Group::Data => "Repository data",
        Group::Hooks => "Webhooks",
        Group::Files => "Files",
    }
}

/// What the page of a connection shows of its calls; of one feature, if one is named.
///
/// # Errors
/// When a query fails.
pub fn calls_of(
    conn: &mut Conn,
    org: OrgId,
    link: i64,
    budget: &BudgetKey,
    feature: Option<&str>,
    now: Micros,
) -> AppResult<Calls> {
    let (budgets, paused_until) = budgets(conn, budget, now)?;
    let features = store::calling_features(conn, org, link)?;
    let feature = feature.filter(|feature| !feature.is_empty());
    let failed = store::recent_calls(conn, org, link, feature, true, FAILED)?;
    let recent = store::recent_calls(conn, org, link, feature, false, RECENT)?;
    Ok(Calls {
        budgets,
        paused_until,
        features: features
            .into_iter()
            .map(|(name, count)| FeaturePart { name, count })
            .collect(),
        feature: feature.unwrap_or_default().to_owned(),
        failed: failed.into_iter().map(CallPart::new).collect(),
        recent: recent.into_iter().map(CallPart::new).collect(),
    })
}

fn budgets(
    conn: &mut Conn,
    budget: &BudgetKey,
    now: Micros,
) -> AppResult<(Vec<BudgetPart>, Option<Micros>)> {
    let rows = store::budget_rows(conn, budget)?;
    let paused_until = rows.iter().map(|row| row.paused_until).max();
    let mut parts = Vec::new();
    let shown = budget.counted.then_some(Group::ALL).into_iter().flatten();
    for group in shown {
        let Some(row) = rows.iter().find(|row| row.call_group == group.as_str()) else {
            continue;
        };
        let used = store::used_slots(conn, budget, group, first_counted(slot_of(now)))?;
        let used: Vec<(i64, i64)> = used.into_iter().filter(|(_, calls)| *calls > 0).collect();
        let sum: i64 = used.iter().map(|(_, calls)| *calls).sum();
        // When the oldest calls leave the hour.
        let refill = grant(&used, sum, 1, now).err();
        parts.push(BudgetPart {
            name: name_of(group),
            limit: row.hourly_limit,
            left: row.hourly_limit.saturating_sub(sum).max(0),
            state: if row.near_until > now || sum >= row.hourly_limit {
                "warn"
            } else {
                "ok"
            },
            refills_at: refill.filter(|_| sum > 0).map(|wait| now.plus(wait)),
        });
    }
    Ok((parts, paused_until.filter(|until| *until > now)))
}
