//! Bringing a link's repositories in line with its workspace, and adopting those that releases know.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use super::client::{Connected, client_for_link, remember};
use super::hooks::{self, forget_cached};
use super::repos::{facts, require_in_use, take};
use super::store::{self, Link, RepoFacts, Taken};
use super::{EnsureHook, LinkError, LinkId, RepoStatus};
use crate::app::App;
use crate::bitbucket::RepoRef;
use crate::error::AppResult;
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::Sealer;
use crate::kit::db::Tx;

/// Pages of a hundred that a list may have.
const MAX_PAGES: usize = 1_000;

/// Adopts repositories that releases know, brings the link's own up to date, and asks for every hook. One walk
/// over all pages, a page in memory at a time, and none when there is nothing to look up.
pub(super) async fn sync(app: &App, org: OrgId, link: LinkId) -> Result<usize, LinkError> {
    const UNLINKED_AT_ONCE: i64 = 1_000;
    let connected = client_for_link(app, org, link)
        .await?
        .for_feature("repositories");
    let (unlinked, own) = app
        .db
        .read(move |conn| {
            Ok::<_, LinkError>((
                store::unlinked_repos(conn, org, UNLINKED_AT_ONCE)?,
                store::repos_of_link(conn, org, link)?,
            ))
        })
        .await?;
    if unlinked.is_empty() && own.is_empty() {
        return Ok(0);
    }
    let known: HashSet<String> = own
        .iter()
        .filter_map(|repo| repo.external_id.clone())
        .collect();
    let names: HashSet<String> = unlinked
        .iter()
        .flat_map(|repo| std::iter::once(repo.name.clone()).chain(repo.url.clone()))
        .collect();
    let wanted = |facts: &RepoFacts| {
        known.contains(&facts.external_id)
            || names.contains(&facts.name)
            || names.contains(&facts.url)
    };
    let (mut adopted, mut next) = (0, None);
    for _ in 0..MAX_PAGES {
        let page = connected.host.repositories_page("", next.as_ref()).await;
        remember(app, &connected.link, &page).await?;
        let page = page?;
        let mut listed: Vec<RepoFacts> = page
            .items
            .into_iter()
            .map(|repository| facts(&connected.link, repository))
            .collect();
        listed.retain(wanted);
        complete(&connected, &mut listed).await?;
        adopted += adopt(app, &connected.link, listed).await?;
        let ends = page.next.is_none() || page.next == next;
        next = page.next;
        if ends {
            break;
        }
    }
    forget_cached(app);
    Ok(adopted)
}

/// Asks for the main branch of each where the list does not tell it.
async fn complete(connected: &Connected, listed: &mut [RepoFacts]) -> Result<(), LinkError> {
    if connected.host.lists_main_branches() {
        return Ok(());
    }
    for facts in listed {
        if let Ok(reference) = RepoRef::from_full_name(&facts.name) {
            facts.main_branch = connected.host.repository(&reference).await?.main_branch;
        }
    }
    Ok(())
}

async fn adopt(app: &App, link: &Link, listed: Vec<RepoFacts>) -> Result<usize, LinkError> {
    if listed.is_empty() {
        return Ok(0);
    }
    let (link, sealer, now) = (link.clone(), Arc::clone(&app.sealer), app.clock.now());
    app.db
        .write(move |tx| {
            require_in_use(tx, &link)?;
            let mut adopted = 0;
            for facts in &listed {
                adopted += usize::from(bring_up_to_date(tx, &sealer, &link, facts, now)?);
            }
            Ok::<_, LinkError>(adopted)
        })
        .await
}

/// True when the repository was adopted.
fn bring_up_to_date(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    link: &Link,
    facts: &RepoFacts,
    now: Micros,
) -> AppResult<bool> {
    let org = link.org_id;
    let known = match store::find_repo_by_external(tx, org, &facts.external_id)? {
        Some(repo) => store::hold_repo(tx, org, repo.id)?,
        None => None,
    };
    match known {
        Some(repo) if repo.link_id == Some(link.id) && repo.status == RepoStatus::Active => {
            store::refresh_repo(tx, org, repo.id, facts, now)?;
            let hook = EnsureHook {
                org,
                repo: repo.id,
                link: link.id,
            };
            hooks::want(tx, sealer, &hook, now, now)?;
            Ok(false)
        }
        // It is back.
        Some(repo) if repo.link_id == Some(link.id) && repo.status == RepoStatus::Gone => {
            take(tx, sealer, link, facts, now, now)?;
            Ok(true)
        }
        // Hidden by hand, or another link's.
        Some(_) => Ok(false),
        None => match take(tx, sealer, link, facts, now, now)? {
            Taken::Adopted(repo) => {
                let data = json!({ "repository": repo.name, "externalId": repo.external_id });
                audit::record(
                    tx,
                    Some(org),
                    "Bitbucket",
                    "links.adopt_repository",
                    &repo.id.to_string(),
                    &data,
                    now,
                )?;
                Ok(true)
            }
            _ => Ok(false),
        },
    }
}
