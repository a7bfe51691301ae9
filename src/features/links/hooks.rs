//! The webhook of a repository and its secrets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::client::{client_for_repo, remember};
use super::repos::repository_gone;
use super::store::{self, Hook, Repo};
use super::{
    CredentialKind, EnsureHook, HookState, LinkError, LinkId, LinkStatus, RepoId, RepoStatus,
    SERVER_REPO_PROVIDER,
};
use crate::app::App;
use crate::bitbucket::cloud::HookSpec;
use crate::bitbucket::page::Caps;
use crate::bitbucket::{self, CodeHost, Kind, RepoRef};
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::kit::cache::FreshCache;
use crate::kit::clock::Micros;
use crate::kit::crypto::{Sealer, Secret, random_hex};
use crate::kit::db::{Conn, Fold, Tx};
use crate::kit::jobs::{enqueue, enqueue_at};

/// By this text people recognise our hook in Bitbucket.
const DESCRIPTION: &str = "tracebucket-repo-hook";
/// What every repository tells us. `repo:deleted` is for workspace hooks (bitbucket.md §5.1): when one arrives it is
/// believed, but a repository's own hook cannot ask for it. That a repository is gone shows when its hook is checked.
const EVENTS: &[&str] = &["repo:push", "pullrequest:fulfilled", "repo:updated"];
/// What the scope of repositories alone is enough for.
const PUSH_EVENTS: &[&str] = &["repo:push", "repo:updated"];
/// What a repository with an issue tracker tells us besides.
const TRACKER_EVENTS: &[&str] = &["issue:updated", "issue:comment_created"];
/// What a repository of Data Center tells us, the most first (bitbucket.md §7).
const SERVER_EVENTS: [&[&str]; 2] = [
    &[
        "repo:refs_changed",
        "repo:modified",
        "pr:opened",
        "pr:from_ref_updated",
        "pr:merged",
        "pr:declined",
        "pr:deleted",
    ],
    &["repo:refs_changed"],
];
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
    let registered = register(&*connected.host, &repo, &reference, &hook, &url, &secret).await;
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
    let now = app.clock.now();
    match registered {
        Ok(uuid) => {
            app.db
                .write(move |tx| {
                    Ok::<_, LinkError>(store::hook_registered(
                        tx,
                        org,
                        &hook,
                        &uuid,
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
                    Ok::<_, LinkError>(store::hook_state(
                        tx,
                        org,
                        repo_id,
                        state,
                        Some(&text),
                        now,
                    )?)
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

async fn register(
    cloud: &dyn CodeHost,
    repo: &Repo,
    reference: &RepoRef,
    hook: &Hook,
    url: &str,
    secret: &Secret,
) -> Result<String, bitbucket::Error> {
    let ours = our_hooks(cloud, reference, hook.hook_uuid.as_deref(), url).await?;
    let uuid = put_what_is_allowed(cloud, repo, reference, ours.first(), url, secret).await?;
    for double in ours.iter().filter(|found| **found != uuid) {
        cloud.delete_hook(reference, double).await?;
    }
    Ok(uuid)
}

/// A Bitbucket without issues may not know their events, and events whose read scope the credential lacks are refused
/// (bitbucket.md §6): the pushes must still come.
async fn put_what_is_allowed(
    cloud: &dyn CodeHost,
    repo: &Repo,
    reference: &RepoRef,
    existing: Option<&String>,
    url: &str,
    secret: &Secret,
) -> Result<String, bitbucket::Error> {
    let with_tracker = [EVENTS, TRACKER_EVENTS].concat();
    let mut choices: Vec<&[&str]> = vec![EVENTS, PUSH_EVENTS];
    if repo.has_tracker == Some(true) {
        choices.insert(0, &with_tracker);
    }
    if repo.provider.as_deref() == Some(SERVER_REPO_PROVIDER) {
        choices = SERVER_EVENTS.to_vec();
    }
    let mut refused = None;
    for events in choices {
        match put(cloud, reference, existing, url, events, secret).await {
            Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Forbidden) => {
                // What the richest choice met says most.
                refused.get_or_insert(error);
            }
            result => return result,
        }
    }
    Err(refused
        .unwrap_or_else(|| bitbucket::Error::of_credential(Kind::BadCall, "no events to ask for")))
}

/// Uuids of the hooks that are ours: the one we remember first, then those that post to our address.
async fn our_hooks(
    cloud: &dyn CodeHost,
    reference: &RepoRef,
    remembered: Option<&str>,
    url: &str,
) -> Result<Vec<String>, bitbucket::Error> {
    let listing = cloud.hooks(reference, Caps::DEFAULT).await?;
    let mut ours: Vec<String> = listing
        .items
        .into_iter()
        .filter(|hook| {
            hook.url.as_deref() == Some(url)
                || (hook.uuid.is_some() && hook.uuid.as_deref() == remembered)
        })
        .filter_map(|hook| hook.uuid)
        .collect();
    ours.sort_by_key(|uuid| Some(uuid.as_str()) != remembered);
    Ok(ours)
}

async fn put(
    cloud: &dyn CodeHost,
    reference: &RepoRef,
    existing: Option<&String>,
    url: &str,
    events: &[&str],
    secret: &Secret,
) -> Result<String, bitbucket::Error> {
    let spec = HookSpec {
        description: DESCRIPTION,
        url,
        events,
        secret,
    };
    if let Some(uuid) = existing {
        match cloud.update_hook(reference, uuid, &spec).await {
            // Deleted since we looked.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(uuid.clone()),
        }
    }
    let made = cloud.create_hook(reference, &spec).await?;
    // Without its uuid it is found by its address the next time.
    Ok(made.uuid.unwrap_or_default())
}

/// Deletes our hooks of a repository at Bitbucket; one that is gone already is fine.
pub(super) async fn delete(
    cloud: &dyn CodeHost,
    url: &str,
    reference: &RepoRef,
    remembered: Option<&str>,
) -> Result<(), bitbucket::Error> {
    let ours = match our_hooks(cloud, reference, remembered, url).await {
        Err(error) if error.is_absent() => return Ok(()),
        ours => ours?,
    };
    for uuid in ours {
        cloud.delete_hook(reference, &uuid).await?;
    }
    Ok(())
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

/// The repository that a delivery is about, and the secrets its signature may be made with.
#[derive(Debug)]
pub struct RepoSecrets {
    /// The repository.
    pub repo: Repo,
    /// One, or two during a rotation.
    pub secrets: Vec<Secret>,
}

#[derive(Default)]
struct SecretsCache(FreshCache<String, Arc<RepoSecrets>>);

/// To be called after a write that changed a link, a repository's status or a hook's secret has committed.
pub fn forget_cached(app: &App) {
    app.cache::<SecretsCache>().0.forget();
}

/// The active repository with this uuid (in braces) and the secrets of its hook; `None` when the organization
/// has no such repository in use. Kept for a second, and forgotten at once when this process changes something;
/// a caller whose signature check fails may ask again with `fresh`, in case another process has just rotated.
///
/// # Errors
/// 503 when the database does not answer; 500 when a secret cannot be opened.
pub async fn repo_secrets(
    app: &App,
    org: OrgId,
    uuid: &str,
    fresh: bool,
) -> AppResult<Option<Arc<RepoSecrets>>> {
    let (cache, now) = (app.cache::<SecretsCache>(), app.clock.now());
    let key = format!("{org}/{uuid}");
    if let Some(found) = cache.0.get(&key, now).filter(|_| !fresh) {
        return Ok(Some(found));
    }
    let ticket = cache.0.ticket();
    let uuid = uuid.to_owned();
    let row = app
        .db
        .read(move |conn| read_secrets(conn, org, &uuid))
        .await?;
    let Some((repo, hook)) = row else {
        return Ok(None);
    };
    let mut secrets = vec![open(&app.sealer, repo.id, &hook.sealed_secret)?];
    if let Some(previous) = &hook.sealed_previous
        && hook.previous_until.is_none_or(|until| now < until)
    {
        secrets.push(open(&app.sealer, repo.id, previous)?);
    }
    let found = Arc::new(RepoSecrets { repo, secrets });
    cache.0.put(ticket, key, Arc::clone(&found), now);
    Ok(Some(found))
}

fn read_secrets(conn: &mut Conn, org: OrgId, uuid: &str) -> AppResult<Option<(Repo, Hook)>> {
    let Some(repo) = store::find_repo_by_external(conn, org, uuid)?
        .filter(|repo| repo.status == RepoStatus::Active)
    else {
        return Ok(None);
    };
    let Some(link) = repo.link_id else {
        return Ok(None);
    };
    // What Bitbucket sends is signed by the hook's own secret, whatever has become of our credential.
    let listens =
        |link: store::Link| matches!(link.status, LinkStatus::Active | LinkStatus::Broken);
    if !store::find_link(conn, org, link)?.is_some_and(listens) {
        return Ok(None);
    }
    Ok(store::find_hook(conn, org, repo.id)?.map(|hook| (repo, hook)))
}

/// The newest delivery of each repository, written once per commit.
#[derive(Default)]
struct Deliveries(BTreeMap<RepoId, Micros>);

impl Fold for Deliveries {
    fn merge(&mut self, other: Self) {
        for (repo, at) in other.0 {
            let newest = self.0.entry(repo).or_insert(at);
            *newest = (*newest).max(at);
        }
    }

    fn flush(self, conn: &mut Conn) -> diesel::QueryResult<()> {
        // In the order of ids, so that two processes cannot wait for each other.
        self.0
            .into_iter()
            .try_for_each(|(repo, at)| store::touch_delivery(conn, repo, at))
    }
}

/// Notes that a delivery of this repository has arrived.
pub fn note_delivery(tx: &mut Tx<'_>, repo: RepoId, at: Micros) {
    tx.fold::<Deliveries>(|deliveries| deliveries.merge(Deliveries(BTreeMap::from([(repo, at)]))));
}

/// Seals every hook secret under the first key again. Answers how many hooks were changed.
///
/// # Errors
/// When a secret cannot be opened with the configured keys, or the database fails.
pub async fn reseal(app: &App) -> AppResult<usize> {
    const SLICE: i64 = 100;
    let (mut after, mut changed) = (RepoId(0), 0);
    loop {
        let hooks = app
            .db
            .read(move |conn| Ok::<_, AppError>(store::hooks_after(conn, after, SLICE)?))
            .await?;
        let Some(last) = hooks.last() else {
            return Ok(changed);
        };
        after = last.repo_id;
        let mut fresh = Vec::new();
        for hook in hooks {
            let old = std::iter::once(&hook.sealed_secret).chain(&hook.sealed_previous);
            if !old
                .into_iter()
                .any(|sealed| app.sealer.needs_reseal(sealed))
            {
                continue;
            }
            let again = |sealed: &[u8]| {
                let plain = open(&app.sealer, hook.repo_id, sealed)?;
                Ok::<_, AppError>(
                    app.sealer
                        .seal(&seal_context(hook.repo_id), plain.expose_bytes()),
                )
            };
            let secret = again(&hook.sealed_secret)?;
            let previous = hook.sealed_previous.as_deref().map(again).transpose()?;
            fresh.push((hook, secret, previous));
        }
        changed += app
            .db
            .write(move |tx| {
                let mut changed = 0;
                for (hook, secret, previous) in &fresh {
                    changed += store::replace_sealed(tx, hook, secret, previous.as_deref())?;
                }
                Ok::<_, AppError>(changed)
            })
            .await?;
    }
}
