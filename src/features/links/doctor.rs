//! What `tracebucket check` wants to know of connections: do their credentials work, can their secrets be opened.

use serde::Serialize;

use super::client::{client_for_link, describe};
use super::digest::concerns;
use super::store::{self, Link};
use super::{LinkError, LinkStatus, RepoId, hooks};
use crate::app::App;
use crate::error::{AppError, AppResult};

/// How one connection fares.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// `organization → workspace`.
    pub name: String,
    /// False for one that the workspace or the organization ended: nothing is wrong then.
    pub in_use: bool,
    /// What is wrong and what to do, if something is.
    pub problem: Option<String>,
    /// What else somebody should look at: a credential that ends or is old, webhooks that need repair.
    pub concerns: Vec<String>,
}

/// Asks Bitbucket with each connection's credential.
///
/// # Errors
/// When the database does not answer.
pub async fn check_connections(app: &App) -> AppResult<Vec<Finding>> {
    let links = app
        .db
        .read(|conn| Ok::<_, AppError>(store::every_link(conn)?))
        .await?;
    let mut findings = Vec::with_capacity(links.len());
    for (org, link) in links {
        let in_use = matches!(link.status, LinkStatus::Active | LinkStatus::Broken);
        let problem = if link.status == LinkStatus::Active {
            ask(app, &link).await?
        } else {
            link.status_reason.clone()
        };
        findings.push(Finding {
            name: format!("{org} → {}", link.title()),
            in_use,
            problem,
            concerns: ending(app, &link).await?,
        });
    }
    Ok(findings)
}

/// The same as the digest of the day has, but for what [`ask`] has just found.
async fn ending(app: &App, link: &Link) -> AppResult<Vec<String>> {
    let (org, id) = (link.org_id, link.id);
    let (credential, failed) = app
        .db
        .read(move |conn| {
            let credential = store::find_credential(conn, org, id)?;
            Ok::<_, AppError>((credential, store::failed_hooks(conn)?))
        })
        .await?;
    let hooks = failed.get(&id).copied().unwrap_or(0);
    let found = concerns(link, credential.as_ref(), hooks, app.clock.now());
    let status = link.status_reason.as_deref();
    Ok(found
        .into_iter()
        .map(|concern| concern.text)
        .filter(|text| Some(text.as_str()) != status)
        .collect())
}

async fn ask(app: &App, link: &Link) -> AppResult<Option<String>> {
    let connected = match client_for_link(app, link.org_id, link.id).await {
        Ok(connected) => connected,
        Err(LinkError::App(error)) if error.code() == "internal" => {
            return Ok(Some(
                "its secret cannot be opened with the configured keys; put the key that sealed it back into secret_keys"
                    .to_owned(),
            ));
        }
        Err(LinkError::App(error)) => return Err(error),
        Err(error) => return Ok(Some(error.to_string())),
    };
    let answer = connected.host.probe().await;
    Ok(answer.err().map(|error| describe(&error)))
}

/// How many webhook secrets there are, and how many of them no configured key opens.
///
/// # Errors
/// When the database does not answer.
pub async fn check_secrets(app: &App) -> AppResult<(usize, usize)> {
    const SLICE: i64 = 200;
    let (mut after, mut total, mut closed) = (RepoId(0), 0, 0);
    loop {
        let slice = app
            .db
            .read(move |conn| Ok::<_, AppError>(store::hooks_after(conn, after, SLICE)?))
            .await?;
        let Some(last) = slice.last() else {
            return Ok((total, closed));
        };
        after = last.repo_id;
        total += slice.len();
        closed += slice
            .iter()
            .filter(|hook| hooks::open(&app.sealer, hook.repo_id, &hook.sealed_secret).is_err())
            .count();
    }
}
