//! The secrets that deliveries are signed with, and what a delivery leaves on its repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{open, seal_context};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::links::store::{self, Hook, Repo};
use crate::features::links::{LinkStatus, RepoId, RepoStatus};
use crate::kit::cache::FreshCache;
use crate::kit::clock::Micros;
use crate::kit::crypto::Secret;
use crate::kit::db::{Conn, Fold, Tx};

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
