//! Repositories: searching them at Bitbucket, adding, adopting, removing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::client::{self, Connected, client_for_link, remember};
use super::hooks::{self, forget_cached};
use super::store::{self, Link, Repo, RepoFacts, Taken};
use super::{
    CredentialKind, EnsureHook, HookState, LinkError, LinkId, LinkStatus, REPO_PROVIDER,
    RemoveHook, RepoId, RepoStatus, SERVER_REPO_PROVIDER, server,
};
use crate::app::App;
use crate::bitbucket::RepoRef;
use crate::bitbucket::host::HostedRepo;
use crate::bitbucket::page::Caps;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::Sealer;
use crate::kit::db::Tx;
use crate::kit::jobs::{cancel, enqueue};

/// Longest name or address of a repository that is stored.
pub(super) const MAX_NAME: usize = 200;

/// Why a removed repository is not changed: it is added again instead.
pub(super) const BEING_REMOVED: &str = "The repository is being removed.";

/// When the job that registers the hook starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookStart {
    /// As soon as a worker is free.
    Now,
    /// After a minute: the caller registers the hook itself and the job is its safety net.
    AsSafetyNet,
}

/// A repository of the workspace, as a search shows it (sentry.md §8.3).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundRepo {
    /// `workspace/slug`.
    pub name: String,
    /// The same; what is sent back to add it.
    pub identifier: String,
    /// Its main branch; none in an empty repository.
    pub default_branch: Option<String>,
    /// Whether the organization uses it already.
    pub is_installed: bool,
    /// The uuid in braces.
    pub external_id: String,
    /// Its page.
    pub url: String,
}

/// What Bitbucket says about a repository of a link.
pub(super) fn facts(link: &Link, found: HostedRepo) -> RepoFacts {
    RepoFacts {
        provider: match link.kind {
            CredentialKind::DataCenter => SERVER_REPO_PROVIDER,
            _ => REPO_PROVIDER,
        },
        external_id: found.id,
        url: found.url,
        name: found.full_name,
        main_branch: found.main_branch,
        has_tracker: found.has_tracker,
    }
}

/// What a search of an API caller walks: a hundred pages of Bitbucket's list.
const WHOLE: Caps = Caps {
    pages: 100,
    items: 10_000,
};

/// Repositories of the link's workspace by name, over all pages; exact matches first. An empty text finds all.
///
/// # Errors
/// [`LinkError`].
pub async fn search_repositories(
    app: &App,
    org: OrgId,
    link: LinkId,
    text: &str,
) -> Result<Vec<FoundRepo>, LinkError> {
    Ok(find_repositories(app, org, link, text, WHOLE).await?.0)
}

/// Repositories of the link's workspace by name, up to the caps; exact matches first. An empty text finds all. False
/// when there are more.
///
/// # Errors
/// [`LinkError`].
pub(super) async fn find_repositories(
    app: &App,
    org: OrgId,
    link: LinkId,
    text: &str,
    caps: Caps,
) -> Result<(Vec<FoundRepo>, bool), LinkError> {
    let connected = client_for_link(app, org, link)
        .await?
        .for_feature("repositories");
    let found = connected.host.repositories(text, caps).await;
    remember(app, &connected.link, &found).await?;
    let found = found?;
    let complete = found.complete;
    let found: Vec<RepoFacts> = found
        .items
        .into_iter()
        .map(|repository| facts(&connected.link, repository))
        .collect();
    let filter = store::RepoFilter {
        status: Some(RepoStatus::Active),
        ..store::RepoFilter::default()
    };
    let active = app
        .db
        .read(move |conn| Ok::<_, LinkError>(store::list_repos(conn, org, &filter, 0, i64::MAX)?))
        .await?;
    let installed: HashSet<String> = active
        .into_iter()
        .filter(|repo| repo.link_id.is_some())
        .filter_map(|repo| repo.external_id)
        .collect();
    let found = found.into_iter().map(|found| FoundRepo {
        identifier: found.name.clone(),
        name: found.name,
        default_branch: found.main_branch,
        is_installed: installed.contains(&found.external_id),
        external_id: found.external_id,
        url: found.url,
    });
    Ok((found.collect(), complete))
}

/// Adds a repository of the link's workspace: asks Bitbucket for it, stores it in the order of sentry.md §8.4,
/// gives it a hook secret, and leaves the hook to a job.
///
/// # Errors
/// [`LinkError::Exists`] when it is in use, [`LinkError::Invalid`] for a name that is none or another workspace's.
pub async fn add_repository(
    app: &App,
    org: OrgId,
    link: LinkId,
    identifier: &str,
    actor: &str,
    start: HookStart,
) -> Result<Repo, LinkError> {
    let connected = client_for_link(app, org, link)
        .await?
        .for_feature("repositories");
    let facts = fetch(app, &connected, identifier).await?;
    let (sealer, actor, now) = (Arc::clone(&app.sealer), actor.to_owned(), app.clock.now());
    let repo = app
        .db
        .write(move |tx| {
            let at = if start == HookStart::Now {
                now
            } else {
                now.plus(Duration::from_secs(60))
            };
            require_in_use(tx, &connected.link)?;
            match take(tx, &sealer, &connected.link, &facts, at, now)? {
                Taken::Exists(_) => Err(LinkError::Exists),
                Taken::Twin(repo) => Ok(repo),
                Taken::Revived(repo) | Taken::Adopted(repo) | Taken::Inserted(repo) => {
                    let data = json!({ "repository": repo.name, "externalId": repo.external_id });
                    audit::record(
                        tx,
                        Some(org),
                        &actor,
                        "links.add_repository",
                        &repo.id.to_string(),
                        &data,
                        now,
                    )?;
                    Ok(repo)
                }
            }
        })
        .await?;
    forget_cached(app);
    Ok(repo)
}

/// The link was in use when its client was made; it must be so still when a repository is put under it.
pub(super) fn require_in_use(tx: &mut Tx<'_>, link: &Link) -> Result<(), LinkError> {
    match store::hold_link(tx, link.org_id, link.id)? {
        Some(now) if matches!(now.status, LinkStatus::Active | LinkStatus::Broken) => Ok(()),
        Some(now) if now.status == LinkStatus::Disabled => Err(client::off(&now)),
        _ => Err(LinkError::NotFound),
    }
}

/// What Bitbucket says about a repository of the link's workspace (`workspace/slug`), or of its server
/// (`PROJECT/slug`).
pub(super) async fn fetch(
    app: &App,
    connected: &Connected,
    identifier: &str,
) -> Result<RepoFacts, LinkError> {
    let reference = RepoRef::from_full_name(identifier.trim()).map_err(|_| {
        LinkError::Invalid(
            "The repository must be named as workspace/repository, on Data Center as PROJECT/repository.".to_owned(),
        )
    })?;
    let fetched = connected.host.repository(&reference).await;
    remember(app, &connected.link, &fetched).await?;
    let fetched = fetched?;
    require_same_workspace(connected, &fetched)?;
    Ok(facts(&connected.link, fetched))
}

fn require_same_workspace(connected: &Connected, fetched: &HostedRepo) -> Result<(), LinkError> {
    match fetched.workspace.as_deref() {
        Some(uuid) if uuid != connected.link.workspace_uuid => Err(LinkError::Invalid(format!(
            "The repository does not belong to the workspace {}.",
            connected.link.name
        ))),
        _ => Ok(()),
    }
}

/// Takes a repository under the link and asks for its hook.
pub(super) fn take(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    link: &Link,
    facts: &RepoFacts,
    hook_at: Micros,
    now: Micros,
) -> AppResult<Taken> {
    let taken = store::take_repo(tx, link.org_id, link.id, facts, now)?;
    if let Taken::Revived(repo) | Taken::Adopted(repo) | Taken::Inserted(repo) = &taken {
        let hook = EnsureHook {
            org: link.org_id,
            repo: repo.id,
            link: link.id,
        };
        hooks::want(tx, sealer, &hook, hook_at, now)?;
    }
    Ok(taken)
}

/// Removes a repository from use. Its hook is deleted by a job; its commits and tickets stay.
///
/// # Errors
/// 404 for another tenant's repository or one that is removed already.
pub async fn remove_repository(app: &App, org: OrgId, id: RepoId, actor: &str) -> AppResult<Repo> {
    change_status(
        app,
        org,
        id,
        actor,
        "links.remove_repository",
        RepoStatus::Removed,
    )
    .await
}

/// Notes that Bitbucket does not have a repository any more. There is no hook to delete: it is forgotten with its
/// secret. The row stays as what commits and tickets refer to; adding the repository again takes it back into use.
///
/// # Errors
/// 404 for another tenant's repository or one that is removed.
pub async fn repository_gone(app: &App, org: OrgId, id: RepoId) -> AppResult<Repo> {
    let now = app.clock.now();
    let repo = app
        .db
        .write(move |tx| {
            let repo = store::hold_repo(tx, org, id)?
                .filter(|repo| repo.status != RepoStatus::Removed)
                .ok_or_else(AppError::not_found)?;
            if repo.status == RepoStatus::Gone {
                return Ok(repo);
            }
            let (name, url) = (&repo.name, repo.url.as_deref());
            store::edit_repo(tx, org, id, RepoStatus::Gone, name, url, now)?;
            store::forget_hook(tx, org, id)?;
            cancel::<EnsureHook>(tx, &EnsureHook::key(id))?;
            let data = json!({ "repository": name });
            let action = "links.repository_gone";
            audit::record(
                tx,
                Some(org),
                "Bitbucket",
                action,
                &id.to_string(),
                &data,
                now,
            )?;
            Ok::<_, AppError>(repo)
        })
        .await?;
    forget_cached(app);
    Ok(repo)
}

async fn change_status(
    app: &App,
    org: OrgId,
    id: RepoId,
    actor: &str,
    action: &'static str,
    status: RepoStatus,
) -> AppResult<Repo> {
    let (actor, now) = (actor.to_owned(), app.clock.now());
    let repo = app
        .db
        .write(move |tx| {
            let repo = store::hold_repo(tx, org, id)?
                .filter(|repo| repo.status != RepoStatus::Removed)
                .ok_or_else(AppError::not_found)?;
            let changed =
                store::edit_repo(tx, org, id, status, &repo.name, repo.url.as_deref(), now)?;
            drop_hook(tx, &repo, now)?;
            let data = json!({ "repository": repo.name });
            audit::record(tx, Some(org), &actor, action, &id.to_string(), &data, now)?;
            Ok::<_, AppError>(changed)
        })
        .await?;
    forget_cached(app);
    Ok(repo)
}

/// Leaves the deletion of the hook to a job.
pub(super) fn drop_hook(tx: &mut Tx<'_>, repo: &Repo, now: Micros) -> AppResult<()> {
    let Some(link) = repo.link_id else {
        return Ok(());
    };
    store::hook_state(tx, repo.org_id, repo.id, HookState::Pending, None, now)?;
    Ok(enqueue(
        tx,
        &RemoveHook {
            org: repo.org_id,
            repo: repo.id,
            link,
        },
        now,
    )?)
}

/// The repository that a release names, made when nobody has heard of it. When its workspace is linked later it
/// is adopted under this name or address.
///
/// # Errors
/// When a statement fails.
pub fn repo_for_release(
    tx: &mut Tx<'_>,
    org: OrgId,
    name: &str,
    url: Option<&str>,
    now: Micros,
) -> AppResult<Repo> {
    tx.lock_key(&format!("links.release_repo:{org}"))?;
    if let Some(known) = store::find_repo_by_name(tx, org, name)? {
        return Ok(known);
    }
    let name: String = name.chars().take(MAX_NAME).collect();
    Ok(store::insert_unlinked(tx, org, &name, url, now)?)
}

/// Takes over a new name that a push told us. True when it was new.
///
/// # Errors
/// When a statement fails.
pub fn note_rename(
    tx: &mut Tx<'_>,
    app: &App,
    repo: &Repo,
    full_name: &str,
    now: Micros,
) -> AppResult<bool> {
    if repo.name == full_name || RepoRef::from_full_name(full_name).is_err() {
        return Ok(false);
    }
    let url = server::repository_url(app, repo, full_name);
    Ok(store::rename_repo(
        tx,
        repo.org_id,
        repo.id,
        full_name,
        &url,
        now,
    )?)
}

/// A change of a repository (`PUT`, sentry.md §8.4).
#[derive(Debug, Clone, Default)]
pub(super) struct RepoChange {
    pub(super) hidden: Option<bool>,
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
}

/// Hides or shows a repository, or renames it. 400 for one that is removed by now.
pub(super) async fn edit(
    app: &App,
    org: OrgId,
    id: RepoId,
    change: RepoChange,
    actor: &str,
) -> AppResult<Repo> {
    let (actor, now, sealer) = (actor.to_owned(), app.clock.now(), Arc::clone(&app.sealer));
    let repo = app
        .db
        .write(move |tx| {
            let repo = store::hold_repo(tx, org, id)?.ok_or_else(AppError::not_found)?;
            if repo.status == RepoStatus::Removed {
                return Err(AppError::invalid(BEING_REMOVED));
            }
            let status = match change.hidden {
                Some(true) => RepoStatus::Hidden,
                Some(false) if repo.status == RepoStatus::Hidden => RepoStatus::Active,
                _ => repo.status,
            };
            let name = change.name.as_deref().unwrap_or(&repo.name);
            let url = change.url.as_deref().or(repo.url.as_deref());
            let changed = store::edit_repo(tx, org, id, status, name, url, now)?;
            match (status == repo.status, status, repo.link_id) {
                (false, RepoStatus::Hidden, _) => drop_hook(tx, &repo, now)?,
                (false, RepoStatus::Active, Some(link)) => {
                    let hook = EnsureHook {
                        org,
                        repo: id,
                        link,
                    };
                    hooks::want(tx, &sealer, &hook, now, now)?;
                }
                _ => {}
            }
            let data = json!({ "status": status, "name": name });
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.edit_repository",
                &id.to_string(),
                &data,
                now,
            )?;
            Ok::<_, AppError>(changed)
        })
        .await?;
    forget_cached(app);
    Ok(repo)
}

/// Puts a known repository under another link, after asking that link's workspace for it.
pub(super) async fn relink(
    app: &App,
    org: OrgId,
    repo: &Repo,
    link: LinkId,
    actor: &str,
) -> Result<(), LinkError> {
    let connected = client_for_link(app, org, link)
        .await?
        .for_feature("repositories");
    let reference = match &repo.external_id {
        Some(_) => client::reference(&connected.link, repo)?,
        None => RepoRef::from_full_name(&repo.name).map_err(|_| {
            LinkError::Invalid(format!(
                "{} is not the name of a repository in Bitbucket.",
                repo.name
            ))
        })?,
    };
    let fetched = connected.host.repository(&reference).await;
    remember(app, &connected.link, &fetched).await?;
    let fetched = fetched?;
    require_same_workspace(&connected, &fetched)?;
    let facts = facts(&connected.link, fetched);
    if repo
        .external_id
        .as_ref()
        .is_some_and(|known| *known != facts.external_id)
    {
        return Err(LinkError::Invalid(format!(
            "What {} calls {} is another repository.",
            connected.link.title(),
            repo.name
        )));
    }
    let (id, sealer, actor, now) = (
        repo.id,
        Arc::clone(&app.sealer),
        actor.to_owned(),
        app.clock.now(),
    );
    app.db
        .write(move |tx| {
            let twin = store::find_repo_by_external(tx, org, &facts.external_id)?;
            if twin.is_some_and(|twin| twin.id != id) {
                return Err(LinkError::Exists);
            }
            require_in_use(tx, &connected.link)?;
            let held = store::hold_repo(tx, org, id)?.ok_or(LinkError::NotFound)?;
            if held.status == RepoStatus::Removed {
                return Err(LinkError::Invalid(BEING_REMOVED.to_owned()));
            }
            let repo = store::write_repo(tx, org, id, link, &facts, now)?;
            let hook = EnsureHook {
                org,
                repo: id,
                link,
            };
            hooks::want(tx, &sealer, &hook, now, now)?;
            let data = json!({ "repository": repo.name, "integration": link });
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.relink_repository",
                &id.to_string(),
                &data,
                now,
            )?;
            Ok(())
        })
        .await?;
    forget_cached(app);
    Ok(())
}
