//! Bringing a link's repositories in line with its workspace, and adopting those that releases know.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use super::client::{client_for_link, remember};
use super::hooks::{self, forget_cached};
use super::repos::{facts, require_in_use, take};
use super::store::{self, Link, RepoFacts, Taken};
use super::{EnsureHook, LinkError, LinkId, RepoStatus};
use crate::app::App;
use crate::bitbucket::RepoRef;
use crate::bitbucket::page::Caps;
use crate::error::AppResult;
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::Sealer;
use crate::kit::db::Tx;

/// Adopts repositories that releases know, brings the link's own up to date, and asks for every hook. One list
/// call over all pages, and none when there is nothing to look up.
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
    let listing = connected.host.repositories("", Caps::DEFAULT).await;
    remember(app, &connected.link, &listing).await?;
    let known: HashSet<String> = own
        .iter()
        .filter_map(|repo| repo.external_id.clone())
        .collect();
    let names: HashSet<String> = unlinked
        .iter()
        .flat_map(|repo| std::iter::once(repo.name.clone()).chain(repo.url.clone()))
        .collect();
    let mut wanted: Vec<RepoFacts> = listing?
        .items
        .into_iter()
        .map(|repository| facts(&connected.link, repository))
        .filter(|facts| {
            known.contains(&facts.external_id)
                || names.contains(&facts.name)
                || names.contains(&facts.url)
        })
        .collect();
    if !connected.host.lists_main_branches() {
        for facts in &mut wanted {
            if let Ok(reference) = RepoRef::from_full_name(&facts.name) {
                facts.main_branch = connected.host.repository(&reference).await?.main_branch;
            }
        }
    }
    let (sealer, now) = (Arc::clone(&app.sealer), app.clock.now());
    let adopted = app
        .db
        .write(move |tx| {
            require_in_use(tx, &connected.link)?;
            let mut adopted = 0;
            for facts in &wanted {
                adopted += usize::from(bring_up_to_date(tx, &sealer, &connected.link, facts, now)?);
            }
            Ok::<_, LinkError>(adopted)
        })
        .await?;
    forget_cached(app);
    Ok(adopted)
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
