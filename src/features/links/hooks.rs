//! The webhook of a repository and its secrets.

mod register;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

pub(super) use register::delete;
use register::{Wanted, register};
pub use secrets::{RepoSecrets, forget_cached, note_delivery, repo_secrets, reseal};

use super::client::{client_for_repo, remember};
use super::repos::repository_gone;
use super::store::{self, Hook, Registered, Repo};
use super::{
    CredentialKind, EnsureHook, HookFinding, HookState, LinkError, LinkId, RepoId, RepoStatus,
};
use crate::app::App;
use crate::bitbucket;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::{Sealer, Secret, random_hex};
use crate::kit::db::Tx;
use crate::kit::jobs::{enqueue, enqueue_at};

/// How long the previous secret is honoured after Bitbucket has the new one: retries of older deliveries.
const PREVIOUS_LIFE: Duration = Duration::from_secs(3_600);
/// Bytes of a secret; as hex it is half of what Bitbucket takes.
const SECRET_BYTES: usize = 32;

fn seal_context(repo: RepoId) -> String {
    format!("repo_hook.secret:{repo}")
}

pub(super) fn open(sealer: &Sealer, repo: RepoId, sealed: &[u8]) -> AppResult<Secret> {
    let plain = sealer
        .open(&seal_context(repo), sealed)
        .map_err(AppError::internal)?;
    String::from_utf8(plain)
        .map(Secret::new)
        .map_err(AppError::internal)
}

/// Where the repositories of a link deliver.
pub(super) fn delivery_url(app: &App, link: &store::Link) -> String {
    let (org, id) = (link.org_id, link.id);
    app.config.absolute(&match link.kind {
        CredentialKind::DataCenter => {
            format!("/extensions/bitbucket-server/webhook/{org}/{id}/")
        }
        _ => format!("/extensions/bitbucket/organizations/{org}/webhook/"),
    })
}

/// Gives a repository a secret if it has none and enqueues the job that registers its hook, due at `run_at`; part of
/// the write that makes it active.
pub(super) fn want(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    hook: &EnsureHook,
    run_at: Micros,
    now: Micros,
) -> AppResult<()> {
    let secret = random_hex(SECRET_BYTES);
    let sealed = sealer.seal(&seal_context(hook.repo), secret.as_bytes());
    store::want_hook(tx, hook.org, hook.repo, &sealed, now)?;
    Ok(enqueue_at(tx, hook, run_at, now)?)
}

/// Registers the hook of a repository, or brings the existing one up to date, secret included. Safe to repeat:
/// it looks for our hook first. What it met is noted on the repository.
///
/// # Errors
/// [`LinkError`]; [`LinkError::Off`] for a repository that is not in use.
pub async fn ensure_hook(app: &App, org: OrgId, repo_id: RepoId) -> Result<(), LinkError> {
    let (repo, reference, connected) = client_for_repo(app, org, repo_id).await?;
    let connected = connected.for_feature("hooks");
    let Some(hook) = app
        .db
        .read(move |conn| Ok::<_, LinkError>(store::find_hook(conn, org, repo_id)?))
        .await?
    else {
        return Err(LinkError::Off(format!(
            "The repository {} wants no hook.",
            repo.name
        )));
    };
    let secret = open(&app.sealer, repo_id, &hook.sealed_secret)?;
    let url = delivery_url(app, &connected.link);
    let wanted = Wanted {
        host: &*connected.host,
        link: &connected.link,
        repo: &repo,
        reference: &reference,
        hook: &hook,
        url: &url,
        secret: &secret,
    };
    let mut finding = None;
    let registered = register(app, &wanted, &mut finding).await;
    if let Err(error) = &registered
        && error.is_absent()
        && let Err(error) = connected.host.repository(&reference).await
        && error.is_absent()
    {
        // Neither the hooks nor the repository: nothing to repair.
        repository_gone(app, org, repo_id).await?;
        return Err(LinkError::Off(format!(
            "Bitbucket does not have the repository {} any more, or hides it from this connection.",
            repo.name
        )));
    }
    remember(app, &connected.link, &registered).await?;
    note_outcome(app, org, hook, registered, finding).await
}

/// Notes on the repository how the registration of its hook went, and answers the same.
async fn note_outcome(
    app: &App,
    org: OrgId,
    hook: Hook,
    registered: Result<Registered, bitbucket::Error>,
    finding: Option<HookFinding>,
) -> Result<(), LinkError> {
    let (repo, now) = (hook.repo_id, app.clock.now());
    match registered {
        Ok(registered) => {
            app.db
                .write(move |tx| {
                    Ok::<_, LinkError>(store::hook_registered(
                        tx,
                        org,
                        &hook,
                        &registered,
                        now.plus(PREVIOUS_LIFE),
                        now,
                    )?)
                })
                .await?;
            forget_cached(app);
            Ok(())
        }
        Err(error) => {
            let error = LinkError::from(error);
            // While it will be tried again the hook stays pending, with the reason beside it.
            let state = if error.is_temporary() {
                HookState::Pending
            } else {
                HookState::Failed
            };
            let text = error.to_string();
            app.db
                .write(move |tx| {
                    store::hook_state(tx, org, repo, state, Some(&text), now)?;
                    if let Some(finding) = finding {
                        store::hook_finding(tx, org, repo, finding)?;
                    }
                    Ok::<_, LinkError>(())
                })
                .await?;
            Err(error)
        }
    }
}

/// Says that nobody tries any more.
pub(super) async fn give_up(app: &App, org: OrgId, repo: RepoId, reason: &str) -> AppResult<()> {
    let (reason, now) = (reason.to_owned(), app.clock.now());
    app.db
        .write(move |tx| {
            Ok(store::hook_state(
                tx,
                org,
                repo,
                HookState::Failed,
                Some(&reason),
                now,
            )?)
        })
        .await
}

/// Asks for a hook to be registered again or brought up to date, by a job.
///
/// # Errors
/// 404 for another tenant's repository, 409 for one that is not in use.
pub async fn repair_hook(app: &App, org: OrgId, id: RepoId, actor: &str) -> AppResult<Repo> {
    let (actor, now, sealer) = (actor.to_owned(), app.clock.now(), Arc::clone(&app.sealer));
    let repo = app
        .db
        .write(move |tx| {
            let (repo, link) = in_use(tx, org, id)?;
            let hook = EnsureHook {
                org,
                repo: id,
                link,
            };
            want(tx, &sealer, &hook, now, now)?;
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.repair_hook",
                &repo.name,
                &json!({}),
                now,
            )?;
            Ok::<_, AppError>(repo)
        })
        .await?;
    forget_cached(app);
    Ok(repo)
}

fn in_use(tx: &mut Tx<'_>, org: OrgId, id: RepoId) -> AppResult<(Repo, LinkId)> {
    let repo = store::hold_repo(tx, org, id)?.ok_or_else(AppError::not_found)?;
    match (repo.link_id, repo.status) {
        (Some(link), RepoStatus::Active) => Ok((repo, link)),
        _ => Err(AppError::conflict(format!(
            "The repository {} is not in use.",
            repo.name
        ))),
    }
}

/// Makes a new secret for a repository's hook. The present one stays good until Bitbucket has the new one, and
/// an hour longer.
///
/// # Errors
/// 404 for another tenant's repository; 409 when it is not in use or its hook is not registered now.
pub async fn rotate_secret(app: &App, org: OrgId, id: RepoId, actor: &str) -> AppResult<Repo> {
    let (actor, now, sealer) = (actor.to_owned(), app.clock.now(), Arc::clone(&app.sealer));
    let repo = app
        .db
        .write(move |tx| {
            let (repo, link) = in_use(tx, org, id)?;
            let busy = || AppError::conflict("The hook is not registered now; repair it first.");
            let hook = store::find_hook(tx, org, id)?.ok_or_else(busy)?;
            let fresh = sealer.seal(&seal_context(id), random_hex(SECRET_BYTES).as_bytes());
            if !store::rotate_secret(tx, org, &hook, &fresh, &hook.sealed_secret, now)? {
                return Err(busy());
            }
            enqueue(
                tx,
                &EnsureHook {
                    org,
                    repo: id,
                    link,
                },
                now,
            )?;
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.rotate_secret",
                &repo.name,
                &json!({}),
                now,
            )?;
            Ok(repo)
        })
        .await?;
    forget_cached(app);
    Ok(repo)
}
