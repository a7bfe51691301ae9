//! The webhook of a repository and its secrets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::client::{client_for_repo, remember};
use super::features::{basic_events, hook_events, possible_events};
use super::repos::repository_gone;
use super::store::{self, Hook, Link, Registered, Repo};
use super::{
    CredentialKind, EnsureHook, HookFinding, HookState, LinkError, LinkId, LinkStatus, RepoId,
    RepoStatus,
};
use crate::app::App;
use crate::bitbucket::cloud::{self, HookSpec};
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
    let now = app.clock.now();
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
                    store::hook_state(tx, org, repo_id, state, Some(&text), now)?;
                    if let Some(finding) = finding {
                        store::hook_finding(tx, org, repo_id, finding)?;
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

async fn register(
    app: &App,
    wanted: &Wanted<'_>,
    finding: &mut Option<HookFinding>,
) -> Result<Registered, bitbucket::Error> {
    if let (true, Some(scopes)) = (wanted.is_new(), wanted.link.known_scopes()) {
        let (org, repo, now) = (wanted.repo.org_id, wanted.repo.id, app.clock.now());
        app.db
            .write(move |tx| Ok::<_, AppError>(store::hook_begun(tx, org, repo, now)?))
            .await
            .map_err(|_| {
                bitbucket::Error::of_credential(Kind::Busy, "the hook could not be noted")
            })?;
        if let Some(created) = wanted.create(&scopes).await? {
            return Ok(created);
        }
    }
    wanted.ensure(finding).await
}

/// A hook to bring to Bitbucket, and what is known of the one that is there.
struct Wanted<'a> {
    host: &'a dyn CodeHost,
    link: &'a Link,
    repo: &'a Repo,
    reference: &'a RepoRef,
    hook: &'a Hook,
    url: &'a str,
    secret: &'a Secret,
}

impl Wanted<'_> {
    fn tracker(&self) -> bool {
        self.repo.has_tracker == Some(true)
    }

    /// For a row that has never been anything else: nobody has asked Bitbucket for its hook. What an older installation
    /// of ours left behind is found by the next check.
    fn is_new(&self) -> bool {
        let untouched = self.repo.created_at == self.repo.updated_at;
        untouched && self.hook.hook_uuid.is_none() && self.hook.checked_at.is_none()
    }

    fn events(&self, scopes: Option<&[String]>) -> Vec<&'static str> {
        hook_events(self.link.kind, scopes, self.tracker())
    }

    async fn put(
        &self,
        existing: Option<&str>,
        events: &[&str],
    ) -> Result<String, bitbucket::Error> {
        put(
            self.host,
            self.reference,
            existing,
            self.url,
            events,
            self.secret,
        )
        .await
    }

    /// Registers it without looking first; `None` when Bitbucket does not take it like that.
    async fn create(&self, scopes: &[String]) -> Result<Option<Registered>, bitbucket::Error> {
        let events = self.events(Some(scopes));
        match self.put_known(None, &events).await {
            Ok((uuid, events)) => Ok(Some(registered(uuid, &events, None))),
            // The scopes may be others than we know.
            Err(error) if error.kind() == Kind::Forbidden => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks for it, and changes only what is not as it should be. `finding` is told what was wrong, also when it could
    /// not be put right.
    async fn ensure(
        &self,
        finding: &mut Option<HookFinding>,
    ) -> Result<Registered, bitbucket::Error> {
        let remembered = self.hook.hook_uuid.as_deref();
        let (ours, scopes) = our_hooks(self.host, self.reference, remembered, self.url).await?;
        let scopes = scopes.or_else(|| self.link.known_scopes());
        let wanted = self.events(scopes.as_deref());
        // On Data Center the version of the server decides, and no permission.
        let is_server = self.link.kind == CredentialKind::DataCenter;
        let by_scope = scopes.is_some() && !is_server;
        let first = ours.first();
        *finding = match first {
            None => remembered.map(|_| HookFinding::Missing),
            Some(found) => self.wrong_with(found, &wanted),
        };
        let uuid_of = |hook: &cloud::Hook| hook.uuid.clone().unwrap_or_default();
        let is_right = |found: &cloud::Hook| {
            // Scopes may have come or gone since.
            let all = !by_scope || same(&found.events, &wanted);
            all && finding.is_none() && self.hook.state == HookState::Active
        };
        let done = match first {
            // A check, and all is well: nothing is written.
            Some(found) if is_right(found) => {
                let events: Vec<&str> = found.events.iter().map(String::as_str).collect();
                registered(uuid_of(found), &events, None)
            }
            _ => {
                let existing = first.map(uuid_of);
                let (uuid, events) = if by_scope || is_server {
                    self.put_known(existing.as_deref(), &wanted).await?
                } else {
                    self.put_carefully(existing.as_deref(), &wanted).await?
                };
                registered(uuid, &events, *finding)
            }
        };
        for double in ours.iter().map(uuid_of).filter(|found| *found != done.uuid) {
            self.host.delete_hook(self.reference, &double).await?;
        }
        Ok(done)
    }

    fn wrong_with(&self, found: &cloud::Hook, wanted: &[&str]) -> Option<HookFinding> {
        let asked: Vec<&str> = match &self.hook.events {
            Some(events) => events.split(' ').collect(),
            None => wanted.to_vec(),
        };
        if self.hook.hook_uuid.is_none() {
            None
        } else if found.url.as_deref() != Some(self.url) {
            Some(HookFinding::WrongAddress)
        } else if found.active == Some(false) {
            Some(HookFinding::SwitchedOff)
        } else {
            (!same(&found.events, &asked)).then_some(HookFinding::WrongEvents)
        }
    }

    /// A Bitbucket without issues may not know their events, an old server not all of ours: the pushes must still come.
    async fn put_known(
        &self,
        existing: Option<&str>,
        wanted: &[&'static str],
    ) -> Result<(String, Vec<&'static str>), bitbucket::Error> {
        let fewer = basic_events(self.link.kind, wanted);
        let refused = match self.put(existing, wanted).await {
            Err(error) if error.kind() == Kind::Invalid && fewer.len() < wanted.len() => error,
            result => return Ok((result?, wanted.to_vec())),
        };
        match self.put(existing, &fewer).await {
            // What the richest choice met says most.
            Err(error) if error.kind() == Kind::Invalid => Err(refused),
            result => Ok((result?, fewer)),
        }
    }

    /// Bitbucket does not tell the scopes. What everything needs comes first; then more, and a refusal (bitbucket.md §6)
    /// changes nothing.
    async fn put_carefully(
        &self,
        existing: Option<&str>,
        safe: &[&'static str],
    ) -> Result<(String, Vec<&'static str>), bitbucket::Error> {
        let uuid = self.put(existing, safe).await?;
        let kind = self.link.kind;
        for tracker in [true, false] {
            let more = possible_events(kind, tracker && self.tracker());
            match self.put(Some(&uuid), &more).await {
                Ok(uuid) => return Ok((uuid, more)),
                Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Forbidden) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((uuid, safe.to_vec()))
    }
}

fn same(found: &[String], asked: &[&str]) -> bool {
    found.len() == asked.len() && found.iter().all(|event| asked.contains(&event.as_str()))
}

fn registered(uuid: String, events: &[&str], finding: Option<HookFinding>) -> Registered {
    Registered {
        uuid,
        events: events.join(" "),
        finding,
    }
}

/// The hooks that are ours, the one we remember first, then those that post to our address; and the scopes of the
/// credential, where Bitbucket tells them.
async fn our_hooks(
    host: &dyn CodeHost,
    reference: &RepoRef,
    remembered: Option<&str>,
    url: &str,
) -> Result<(Vec<cloud::Hook>, Option<Vec<String>>), bitbucket::Error> {
    let listing = host.hooks(reference, Caps::DEFAULT).await?;
    let is_ours = |hook: &cloud::Hook| {
        let known = hook.uuid.is_some() && hook.uuid.as_deref() == remembered;
        hook.uuid.is_some() && (known || hook.url.as_deref() == Some(url))
    };
    let mut ours = listing.items;
    ours.retain(is_ours);
    ours.sort_by_key(|hook| hook.uuid.as_deref() != remembered);
    Ok((ours, listing.meta.scopes))
}

async fn put(
    host: &dyn CodeHost,
    reference: &RepoRef,
    existing: Option<&str>,
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
        match host.update_hook(reference, uuid, &spec).await {
            // Deleted since we looked.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(uuid.to_owned()),
        }
    }
    let made = host.create_hook(reference, &spec).await?;
    // Without its uuid it is found by its address the next time.
    Ok(made.uuid.unwrap_or_default())
}

/// Deletes our hooks of a repository at Bitbucket; one that is gone already is fine.
pub(super) async fn delete(
    host: &dyn CodeHost,
    url: &str,
    reference: &RepoRef,
    remembered: Option<&str>,
) -> Result<(), bitbucket::Error> {
    let ours = match our_hooks(host, reference, remembered, url).await {
        Err(error) if error.is_absent() => return Ok(()),
        ours => ours?.0,
    };
    for uuid in ours.into_iter().filter_map(|hook| hook.uuid) {
        host.delete_hook(reference, &uuid).await?;
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
