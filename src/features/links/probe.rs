//! Looking after connections: a test at any time, a regular probe, and warnings before a credential ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::check::{self, Report};
use super::client::{self, client_for_any_link};
use super::credential::Stored;
use super::features::{diff, is_possible};
use super::store::{self, Link, SealedCredential};
use super::{
    CredentialKind, LinkError, LinkId, LinkStatus, RepoId, SyncRepos, hooks, order_key,
    server_check,
};
use crate::app::App;
use crate::atlassian::descriptor;
use crate::bitbucket::Host;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgId, UserId};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, enqueue};

const DAY: Duration = Duration::from_secs(86_400);
/// A connection that nobody has looked at for so long is probed.
const PROBE_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// Connections probed in one round.
const PROBE_AT_ONCE: i64 = 500;

/// Tests a connection with what is stored, keeps the result, and takes a broken one up again when it works. `write`
/// names a repository in which a webhook and an issue are made and taken away.
///
/// # Errors
/// [`LinkError::NotFound`] for a connection that `person` does not see, [`LinkError::Off`] for one without a credential.
pub async fn test_connection(
    app: &App,
    org: OrgId,
    id: LinkId,
    person: Option<UserId>,
    write: Option<RepoId>,
) -> Result<Report, LinkError> {
    let (repo, known) = app
        .db
        .read(move |conn| {
            store::find_link_of(conn, org, id, person)?.ok_or(LinkError::NotFound)?;
            let repo = match write {
                Some(repo) => Some(
                    store::find_repo(conn, org, repo)?
                        .filter(|repo| repo.link_id == Some(id))
                        .ok_or(LinkError::NotFound)?,
                ),
                None => None,
            };
            Ok::<_, LinkError>((repo, store::find_credential(conn, org, id)?))
        })
        .await?;
    let connected = client_for_any_link(app, org, id).await?;
    let (kind, workspace) = (connected.link.kind, connected.link.workspace_uuid.clone());
    let known = known.and_then(|row| known_scopes(app, id, &row));
    let now = app.clock.now();
    let mut report = match &connected.host {
        Host::Cloud(host) => check::run(host.cloud(), kind, &workspace, known, now).await,
        Host::DataCenter(server) => server_check::run(server, now).await,
    };
    if let (Some(repo), true) = (repo, report.ok) {
        let reference = client::reference(&connected.link, &repo)?;
        // Bitbucket asks for an address of ours; this hook is gone before anything is sent.
        let url = hooks::delivery_url(app, &connected.link);
        let url = format!("{url}?connection-test");
        check::probe_writes(&connected.host, kind, &reference, &url, &mut report).await;
    }
    keep(app, &connected.link, &report).await?;
    Ok(report)
}

fn known_scopes(app: &App, link: LinkId, row: &SealedCredential) -> Option<Vec<String>> {
    let stored = Stored::open(&app.sealer, link, &row.sealed).ok()?;
    stored.access()?.scopes.clone()
}

async fn keep(app: &App, link: &Link, report: &Report) -> AppResult<()> {
    let text = serde_json::to_string(report).map_err(AppError::internal)?;
    let (org, id, ok, private, now) = (link.org_id, link.id, report.ok, link.private, report.at);
    app.db
        .write(move |tx| {
            store::note_check(tx, org, id, &text, now)?;
            if ok && store::mend_link(tx, org, id, now)? {
                audit::record(
                    tx,
                    Some(org),
                    "Bitbucket",
                    "links.mend",
                    &id.to_string(),
                    &json!({}),
                    now,
                )?;
                if !private {
                    enqueue(tx, &SyncRepos { org, link: id }, now)?;
                }
            }
            Ok::<_, AppError>(())
        })
        .await?;
    hooks::forget_cached(app);
    Ok(())
}

/// Keeps the test that came before a connection was kept.
pub(super) async fn keep_report(
    app: &App,
    org: OrgId,
    id: LinkId,
    report: &Report,
) -> AppResult<()> {
    let (text, at) = (
        serde_json::to_string(report).map_err(AppError::internal)?,
        report.at,
    );
    app.db
        .write(move |tx| Ok::<_, AppError>(store::note_check(tx, org, id, &text, at)?))
        .await
}

impl Link {
    /// What the last test found.
    #[must_use]
    pub fn last_report(&self) -> Option<Report> {
        serde_json::from_str(self.last_check.as_deref()?).ok()
    }

    /// The scopes that its credential had when it was tested last; those of the app for a Connect installation that
    /// was not.
    #[must_use]
    pub(super) fn known_scopes(&self) -> Option<Vec<String>> {
        let tested = self.last_report().and_then(|report| report.scopes);
        tested.or_else(|| {
            let ours = descriptor::SCOPES.iter().map(|scope| (*scope).to_owned());
            self.kind.is_connect().then(|| ours.collect())
        })
    }

    /// Says why a feature cannot work over this connection, before Bitbucket has to.
    ///
    /// # Errors
    /// [`LinkError::Off`] when its credential lacks a scope that the feature needs.
    pub fn require(&self, feature: &str) -> Result<(), LinkError> {
        let states = diff(self.kind, self.known_scopes().as_deref());
        let state = states.into_iter().find(|state| state.key == feature);
        match state.filter(|state| state.state == "off") {
            None => Ok(()),
            // The reason says all: which scope no such credential can have, or that there are permissions and no scopes.
            Some(state)
                if state.missing.is_empty()
                    || self.kind == CredentialKind::DataCenter
                    || !is_possible(feature, self.kind) =>
            {
                Err(LinkError::Off(state.reason.unwrap_or(state.name)))
            }
            Some(state) => Err(LinkError::Off(format!(
                "{} The credential of the connection lacks the scope {}.",
                state.reason.unwrap_or(state.name),
                state.missing.join(", ")
            ))),
        }
    }
}

/// How near the end of a credential is, in words that are stored; the most urgent first.
#[must_use]
pub fn warning(
    expires_at: Option<Micros>,
    rotated_at: Micros,
    now: Micros,
) -> Option<(&'static str, &'static str)> {
    let left = expires_at.map(|end| end.since(now));
    match left {
        Some(Duration::ZERO) => Some((
            "expired",
            "The credential has expired. Re-authorise the connection.",
        )),
        Some(left) if left <= DAY * 2 => Some((
            "2 days",
            "The credential ends within two days. Make a new one and re-authorise the connection.",
        )),
        Some(left) if left <= DAY * 14 => Some((
            "14 days",
            "The credential ends within two weeks. Make a new one and re-authorise the connection.",
        )),
        _ if now.since(rotated_at) > DAY * 365 => {
            Some(("a year", "The credential is older than a year. Replace it."))
        }
        _ => None,
    }
}

/// Probes one connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProbeLink {
    /// Tenant.
    pub org: OrgId,
    /// The connection.
    pub link: LinkId,
}

impl Job for ProbeLink {
    type State = App;
    const KIND: &'static str = "links.probe";
    const QUEUE: Queue = Queue::Backfill;
    const MAX_ATTEMPTS: i32 = 3;

    fn dedupe_key(&self) -> Option<String> {
        Some(self.link.to_string())
    }

    fn order_key(&self) -> Option<String> {
        Some(order_key(self.link))
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let (org, id) = (self.org, self.link);
        let owner = app
            .db
            .read(move |conn| Ok::<_, AppError>(store::find_any_link(conn, org, id)?))
            .await?
            .filter(|link| matches!(link.status, LinkStatus::Active | LinkStatus::Broken))
            .map(|link| link.owner_id);
        let Some(owner) = owner else {
            return Ok(Verdict::Drop("the connection is not in use".to_owned()));
        };
        // What the probe finds is on the connection; the next round looks again.
        match test_connection(&app, org, id, owner, None).await {
            Ok(_) => Ok(Verdict::Done),
            Err(LinkError::App(error)) => Err(error.into()),
            Err(error) => Ok(Verdict::Drop(error.to_string())),
        }
    }
}

/// The hourly round: probes what nobody has looked at, warns of credentials that end, forgets browsers that did not
/// come back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LookAfter {}

impl LookAfter {
    /// How often it runs.
    pub const EVERY: Duration = Duration::from_secs(3_600);
}

impl Job for LookAfter {
    type State = App;
    const KIND: &'static str = "links.look_after";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some("round".to_owned())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let now = app.clock.now();
        let (due, mut rows) = app
            .db
            .read(move |conn| {
                let due = store::links_to_probe(conn, now.minus(PROBE_AFTER), PROBE_AT_ONCE)?;
                Ok::<_, AppError>((due, store::credentials_after(conn, LinkId(0), i64::MAX)?))
            })
            .await?;
        rows.retain(|row| warning(row.expires_at, row.rotated_at, now).is_some());
        app.db
            .write(move |tx| {
                for (org, link) in &due {
                    let job = ProbeLink {
                        org: *org,
                        link: *link,
                    };
                    enqueue(tx, &job, now)?;
                }
                for row in &rows {
                    let Some((stage, text)) = warning(row.expires_at, row.rotated_at, now) else {
                        continue;
                    };
                    if store::set_warned(tx, row.org_id, row.link_id, stage)? {
                        let data = json!({ "warning": text });
                        let target = row.link_id.to_string();
                        audit::record(
                            tx,
                            Some(row.org_id),
                            "Tracebucket",
                            "links.warn",
                            &target,
                            &data,
                            now,
                        )?;
                    }
                }
                store::purge_flows(tx, now)?;
                store::purge_bulks(tx, now.minus(DAY * 30))?;
                Ok::<_, AppError>(())
            })
            .await?;
        Ok(Verdict::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_two_weeks_and_two_days_before_the_end_and_after_a_year() {
        let now = Micros::from_unix_seconds(2_000_000_000);
        let stage = |left: Option<Duration>, age: Duration| {
            warning(left.map(|left| now.plus(left)), now.minus(age), now).map(|(stage, _)| stage)
        };
        assert_eq!(stage(Some(DAY * 15), DAY), None);
        assert_eq!(stage(Some(DAY * 14), DAY), Some("14 days"));
        assert_eq!(stage(Some(DAY * 2), DAY), Some("2 days"));
        assert_eq!(stage(Some(Duration::ZERO), DAY), Some("expired"));
        assert_eq!(stage(None, DAY * 364), None);
        assert_eq!(stage(None, DAY * 366), Some("a year"));
        assert_eq!(stage(Some(DAY * 400), DAY * 366), Some("a year"));
    }
}
