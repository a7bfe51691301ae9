//! Once a day each organization is told what its connections need: one entry in the audit log, and a card in the console
//! until the next day. Nothing is sent by mail.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::probe::warning;
use super::store::{self, Link, SealedCredential};
use super::{LinkId, LinkStatus};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::db::Conn;
use crate::kit::jobs::{Attempt, Job, Queue, Verdict};

/// Something about a connection that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// The connection.
    pub link: LinkId,
    /// What people call it.
    pub title: String,
    /// What is or will be wrong, and what to do.
    pub text: String,
    /// Whether something does not work already.
    pub broken: bool,
}

/// Everything about one connection: it is broken, its credential ends or is old, webhooks need repair.
pub(super) fn concerns(
    link: &Link,
    credential: Option<&SealedCredential>,
    failed_hooks: i64,
    now: Micros,
) -> Vec<Concern> {
    let concern = |text: String, broken| Concern {
        link: link.id,
        title: link.title().to_owned(),
        text,
        broken,
    };
    let mut found = Vec::new();
    let reason = link.status_reason.clone();
    match (link.status, reason) {
        (LinkStatus::Broken, reason) => found.push(concern(
            reason.unwrap_or_else(|| "Bitbucket refuses its credential.".to_owned()),
            true,
        )),
        (LinkStatus::Active, Some(reason)) => found.push(concern(reason, true)),
        (LinkStatus::Active, None) => {}
        // Ended on purpose: nothing is wrong.
        (LinkStatus::Disabled | LinkStatus::Removed, _) => return found,
    }
    let ends = credential.and_then(|row| warning(row.expires_at, row.rotated_at, now));
    if let Some((stage, text)) = ends {
        found.push(concern(text.to_owned(), stage == "expired"));
    }
    if failed_hooks > 0 {
        let word = if failed_hooks == 1 {
            "webhook needs"
        } else {
            "webhooks need"
        };
        found.push(concern(format!("{failed_hooks} {word} repair."), true));
    }
    found
}

/// What needs somebody now, by organization.
fn all_concerns(conn: &mut Conn, now: Micros) -> AppResult<HashMap<OrgId, Vec<Concern>>> {
    let failed = store::failed_hooks(conn)?;
    let credentials: HashMap<LinkId, SealedCredential> =
        store::credentials_after(conn, LinkId(0), i64::MAX)?
            .into_iter()
            .map(|row| (row.link_id, row))
            .collect();
    let mut found: HashMap<OrgId, Vec<Concern>> = HashMap::new();
    for (_, link) in store::every_link(conn)? {
        // What one person has for themselves is on their own page.
        if link.private {
            continue;
        }
        let hooks = failed.get(&link.id).copied().unwrap_or(0);
        let concerns = concerns(&link, credentials.get(&link.id), hooks, now);
        found.entry(link.org_id).or_default().extend(concerns);
    }
    Ok(found)
}

/// The digest that an organization has today; none while nothing needs anybody.
pub(super) fn of_today(conn: &mut Conn, org: OrgId, now: Micros) -> AppResult<Vec<Concern>> {
    let found = store::find_digest(conn, org)?.filter(|(day, _)| *day == day_of(now));
    Ok(found
        .and_then(|(_, entries)| serde_json::from_str(&entries).ok())
        .unwrap_or_default())
}

/// `2026-11-22`, UTC.
fn day_of(now: Micros) -> String {
    now.to_rfc3339().chars().take(10).collect()
}

/// Writes the digest of the day for each organization that has none yet.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Digest {}

impl Digest {
    /// How often it looks whether a day has begun.
    pub const EVERY: Duration = Duration::from_secs(3_600);
}

impl Job for Digest {
    type State = App;
    const KIND: &'static str = "links.digest";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let now = app.clock.now();
        let found = app.db.read(move |conn| all_concerns(conn, now)).await?;
        let day = day_of(now);
        app.db
            .write(move |tx| {
                for (org, concerns) in &found {
                    let entries = serde_json::to_string(concerns).map_err(AppError::internal)?;
                    if store::put_digest(tx, *org, &day, &entries, now)? && !concerns.is_empty() {
                        let (action, data) = ("links.digest", json!({ "concerns": concerns }));
                        audit::record(tx, Some(*org), "Tracebucket", action, &day, &data, now)?;
                    }
                }
                Ok::<_, AppError>(())
            })
            .await?;
        Ok(Verdict::Done)
    }
}
