//! Working on claimed deliveries: prepare without a connection, then one write for the work and its end.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::api::BODY_LIMIT;
use super::outcome::Outcome;
use super::store::{self, Claimed, Ending};
use super::{DeliveryId, DeliveryState, Source, body};
use crate::app::App;
use crate::bitbucket::datacenter;
use crate::bitbucket::events::Event;
use crate::error::AppError;
use crate::features::accounts;
use crate::features::links::{self, Repo, RepoStatus, SyncRepos};
use crate::features::releases::{self, Gathered};
use crate::kit::clock::Micros;
use crate::kit::crypto::random_bytes;
use crate::kit::db::{DbError, Tx};
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, enqueue, wait_after};

/// Failures before a delivery is dead.
const MAX_ATTEMPTS: i32 = 12;
/// Claims, ended by the end of a process, before a delivery is dead.
const MAX_CLAIMS: i32 = 3 * MAX_ATTEMPTS;

/// Works on deliveries of one repository in their order.
pub(super) async fn work_on_repo(app: &App, owner: &str, queue: Vec<Claimed>) {
    let mut ready = Vec::new();
    let mut repo = None;
    for delivery in queue {
        let prepared = prepare(app, delivery, &mut repo).await;
        // What waited for Bitbucket is written on its own, so that a slow one does not hold back those before it.
        let alone = prepared.asked_bitbucket();
        if alone && !ready.is_empty() {
            write_all(app, owner, std::mem::take(&mut ready)).await;
        }
        ready.push(prepared);
        if alone {
            write_all(app, owner, std::mem::take(&mut ready)).await;
            // Meanwhile it may have been renamed or removed.
            repo = None;
        }
    }
    write_all(app, owner, ready).await;
}

/// What a delivery asks for.
#[derive(Debug, Clone)]
enum Work {
    Push {
        repo: Repo,
        push: Gathered,
        full_name: Option<String>,
    },
    Updated {
        repo: Repo,
        full_name: Option<String>,
    },
    Deleted,
    /// Nothing can be done; the text says why.
    Nothing(&'static str),
    /// It failed before anything could be written.
    Failed {
        reason: String,
        forever: bool,
    },
}

/// A delivery that is ready to be written.
#[derive(Debug, Clone)]
struct Prepared {
    id: DeliveryId,
    attempts: i32,
    received_at: Micros,
    started: Instant,
    work: Work,
}

impl Prepared {
    fn asked_bitbucket(&self) -> bool {
        matches!(&self.work, Work::Push { push, .. } if push.asked_bitbucket)
    }
}

async fn prepare(app: &App, delivery: Claimed, repo: &mut Option<Repo>) -> Prepared {
    let started = Instant::now();
    let mut prepared = Prepared {
        id: delivery.id,
        attempts: delivery.attempts,
        received_at: delivery.received_at,
        started,
        work: Work::Nothing("nothing"),
    };
    prepared.work = if delivery.attempts > MAX_CLAIMS {
        Work::Failed {
            reason: "the process ended each time it worked on this delivery".to_owned(),
            forever: true,
        }
    } else {
        match understand(app, &delivery, repo).await {
            Ok(work) => work,
            Err(error) => Work::Failed {
                reason: reason(delivery.id, &error),
                forever: false,
            },
        }
    };
    prepared
}

/// What a delivery asks for. `known` is its repository, when a delivery before it has read it.
async fn understand(
    app: &App,
    delivery: &Claimed,
    known: &mut Option<Repo>,
) -> Result<Work, AppError> {
    let Some(bytes) = body::unpack(&delivery.body, BODY_LIMIT) else {
        return Ok(Work::Failed {
            reason: "the body is not readable any more".to_owned(),
            forever: true,
        });
    };
    let event = match delivery.source {
        Source::BitbucketCloud => Event::parse(&delivery.event_key, &bytes),
        Source::BitbucketDataCenter => datacenter::events::parse(&delivery.event_key, &bytes),
    };
    let Ok(event) = event else {
        return Ok(Work::Failed {
            reason: "the payload is not a JSON object".to_owned(),
            forever: true,
        });
    };
    let (org, id) = (delivery.org_id, delivery.repo_id);
    if known.is_none() {
        *known = app
            .db
            .read(move |conn| Ok::<_, AppError>(links::find_repo(conn, org, id)?))
            .await?;
    }
    let Some(repo) = known
        .clone()
        .filter(|repo| repo.status != RepoStatus::Removed)
    else {
        return Ok(Work::Nothing("the repository was removed here"));
    };
    Ok(match event {
        Event::Push(push) => {
            let gathered = releases::gather(app, &repo, &push).await?;
            Work::Push {
                repo,
                push: gathered,
                full_name: push.repository.full_name,
            }
        }
        Event::RepoUpdated(update) => Work::Updated {
            repo,
            full_name: update.repository.full_name,
        },
        Event::RepoDeleted(_) => {
            // Safe to repeat, so it need not share the write that ends the delivery.
            links::repository_gone(app, org, id).await?;
            *known = None;
            Work::Deleted
        }
        Event::Other { .. } => Work::Nothing("this event is not used"),
    })
}

/// Writes deliveries of one repository together; if that fails, one by one, so that each has its own end.
async fn write_all(app: &App, owner: &str, batch: Vec<Prepared>) {
    if batch.is_empty() {
        return;
    }
    let together = write(app, owner, batch.clone()).await;
    let Err(error) = together else { return };
    if batch.len() > 1 {
        tracing::warn!(deliveries = batch.len(), error = ?error, "a batch of deliveries failed; trying each alone");
    }
    for delivery in batch {
        let id = delivery.id;
        let error = match write(app, owner, vec![delivery.clone()]).await {
            Ok(()) => continue,
            Err(WriteError::Lost) => {
                tracing::warn!(
                    delivery = id.0,
                    "the lease of a delivery was lost; another run does it"
                );
                continue;
            }
            Err(WriteError::App(error)) => error,
        };
        let failed = Prepared {
            work: Work::Failed {
                reason: reason(id, &error),
                forever: false,
            },
            ..delivery
        };
        if let Err(error) = write(app, owner, vec![failed]).await {
            // The lease ends by itself, and the delivery is worked on again.
            tracing::error!(delivery = id.0, error = ?error, "cannot record the end of a delivery");
        }
    }
}

/// Why a write of deliveries changed nothing.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the lease of a delivery was lost")]
    Lost,
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<DbError> for WriteError {
    fn from(error: DbError) -> Self {
        Self::App(error.into())
    }
}

impl From<diesel::result::Error> for WriteError {
    fn from(error: diesel::result::Error) -> Self {
        Self::App(error.into())
    }
}

/// What the log of deliveries shows of a failure: its cause is for those who run the server.
fn reason(delivery: DeliveryId, error: &AppError) -> String {
    tracing::warn!(delivery = delivery.0, error = ?error, "a delivery could not be worked on");
    error.detail().to_owned()
}

/// Does the work of all and ends them, or changes nothing.
async fn write(app: &App, owner: &str, batch: Vec<Prepared>) -> Result<(), WriteError> {
    let (owner, app_in) = (owner.to_owned(), app.clone());
    app.db
        .write(move |tx| {
            let now = app_in.clock.now();
            let mut slug = None;
            for delivery in &batch {
                let outcome = carry_out(tx, &app_in, delivery, &mut slug, now)?;
                let ending = ending(delivery, outcome.map(|outcome| outcome.json()), now);
                if !store::finish(tx, delivery.id, &owner, &ending, now)? {
                    return Err(WriteError::Lost);
                }
            }
            Ok(())
        })
        .await
}

/// How this attempt ends.
fn ending(delivery: &Prepared, outcome: Option<String>, now: Micros) -> Ending {
    let took_ms = i64::try_from(delivery.started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let (error, asked, forever) = match &delivery.work {
        Work::Failed { reason, forever } => (Some(reason.clone()), None, *forever),
        Work::Push { push, .. } => (push.problem.clone(), push.retry_after, false),
        Work::Updated { .. } | Work::Deleted | Work::Nothing(_) => (None, None, false),
    };
    let Some(error) = error else {
        return Ending {
            state: DeliveryState::Done,
            run_at: now,
            outcome,
            error: None,
            took_ms,
        };
    };
    // Whoever waits for the hour's budget has not failed; the number of claims still ends it.
    let limited = matches!(&delivery.work, Work::Push { push, .. } if push.limited);
    let dead = forever || (!limited && delivery.attempts >= MAX_ATTEMPTS);
    let attempts = if limited { 1 } else { delivery.attempts };
    let [byte] = random_bytes::<1>();
    let wait = wait_after(attempts, asked, f64::from(byte) / 255.0);
    if dead {
        tracing::error!(delivery = delivery.id.0, error, "a delivery is dead");
    } else {
        tracing::warn!(
            delivery = delivery.id.0,
            error,
            wait_ms = wait.as_millis(),
            "a delivery will be tried again"
        );
    }
    let state = if dead {
        DeliveryState::Dead
    } else {
        DeliveryState::Ready
    };
    Ending {
        state,
        run_at: now.plus(wait),
        outcome,
        error: Some(error),
        took_ms,
    }
}

/// `slug` is that of the organization, once one delivery of a batch has read it.
fn carry_out(
    tx: &mut Tx<'_>,
    app: &App,
    delivery: &Prepared,
    slug: &mut Option<String>,
    now: Micros,
) -> Result<Option<Outcome>, AppError> {
    match &delivery.work {
        Work::Push {
            repo,
            push,
            full_name,
        } => {
            follow_name(tx, app, delivery, repo, full_name.as_deref(), now)?;
            let recorded = releases::record_push(tx, app, repo, push, delivery.received_at, now)?;
            let slug = match slug {
                Some(slug) => slug,
                None => {
                    let org = accounts::org_by_id(tx, repo.org_id)?;
                    slug.insert(org.map(|org| org.slug).unwrap_or_default())
                }
            };
            Ok(Some(Outcome::of_push(&recorded, push, slug)))
        }
        Work::Updated { repo, full_name } => {
            let renamed = follow_name(tx, app, delivery, repo, full_name.as_deref(), now)?;
            if let Some(link) = repo.link_id {
                // Perhaps its main branch changed, which no webhook tells.
                enqueue(
                    tx,
                    &SyncRepos {
                        org: repo.org_id,
                        link,
                    },
                    now,
                )?;
            }
            Ok(Some(match renamed {
                Some(name) => Outcome::plain(&format!("renamed to {name}")),
                None => Outcome::plain("its settings are read again"),
            }))
        }
        Work::Deleted => Ok(Some(Outcome::plain(
            "the repository was deleted in Bitbucket and is switched off here",
        ))),
        Work::Nothing(text) => Ok(Some(Outcome::plain(text))),
        Work::Failed { .. } => Ok(None),
    }
}

/// Takes over the name that the payload has, unless a newer delivery has been read already.
fn follow_name(
    tx: &mut Tx<'_>,
    app: &App,
    delivery: &Prepared,
    repo: &Repo,
    full_name: Option<&str>,
    now: Micros,
) -> Result<Option<String>, AppError> {
    let Some(name) = full_name.filter(|name| *name != repo.name) else {
        return Ok(None);
    };
    if store::is_overtaken(tx, repo.org_id, repo.id, delivery.id)? {
        return Ok(None);
    }
    Ok(links::note_rename(tx, app, repo, name, now)?.then(|| name.to_owned()))
}

/// Removes bodies whose time is over, and rows after twice that time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Retention {}

impl Retention {
    /// How often it runs.
    pub const EVERY: Duration = Duration::from_secs(6 * 3_600);
}

/// Rows in one write.
const SLICE: i64 = 500;

impl Job for Retention {
    type State = App;
    const KIND: &'static str = "deliveries.retention";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let (now, keep) = (app.clock.now(), app.config.deliveries);
        let (bodies, rows) = app
            .db
            .read(move |conn| {
                let bodies = store::last_before(conn, now.minus(keep))?;
                Ok::<_, AppError>((bodies, store::last_before(conn, now.minus(keep * 2))?))
            })
            .await?;
        while app
            .db
            .write(move |tx| Ok::<_, AppError>(store::delete_old(tx, rows, SLICE)?))
            .await?
            > 0
        {}
        let mut after = DeliveryId(0);
        loop {
            let ids = app
                .db
                .read(move |conn| Ok::<_, AppError>(store::with_body(conn, after, bodies, SLICE)?))
                .await?;
            let Some(last) = ids.last().copied() else {
                return Ok(Verdict::Done);
            };
            after = last;
            app.db
                .write(move |tx| Ok::<_, AppError>(store::remove_bodies(tx, &ids)?))
                .await?;
        }
    }
}
