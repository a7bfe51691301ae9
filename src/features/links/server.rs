//! Data Center servers of organizations: where they are, whom their certificates may come from, and whose webhook a
//! delivery is.
//!
//! A tenant names the server, so its address is judged by the rules of all outgoing calls: https, and no private
//! network unless the operator allows it (`egress_allow`). A bundle of authorities is good for its own connection
//! only. Repositories are known by server and number, webhooks by the connection in their address and the number in
//! their body.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::credential::Stored;
use super::hooks::{RepoSecrets, repo_secrets};
use super::store::{self, Repo, SealedCredential};
use super::token::LinkSource;
use super::{CredentialKind, LinkId, LinkStatus, SERVER_REPO_PROVIDER};
use crate::app::App;
use crate::bitbucket::datacenter::{repository_id, web_page};
use crate::bitbucket::{Credential, DataCenter, Host};
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::kit::crypto::sha256;
use crate::kit::http::Egress;

/// Longest bundle of authorities, in bytes.
const MAX_BUNDLE: usize = 64 * 1024;
/// Longest address of a server, in bytes.
const MAX_BASE: usize = 300;
/// Doors kept that trust authorities of their own; beyond that they are made anew.
const MAX_DOORS: usize = 64;

/// Doors by the hash of their bundle: making one reads every public authority too.
#[derive(Default)]
struct Doors(Mutex<HashMap<[u8; 32], Egress>>);

/// The address of a server as a person gives it: no query, no slash at the end.
///
/// # Errors
/// 400 for what is no address, or one that may not be called.
pub(super) fn parse_base(app: &App, text: &str) -> AppResult<Url> {
    let wrong = |text: &str| AppError::field("workspace", text.to_owned());
    let mut url: Url = text
        .trim()
        .parse()
        .ok()
        .filter(|url: &Url| text.len() <= MAX_BASE && url.has_host())
        .ok_or_else(|| {
            wrong("The base URL must be a whole address, as https://git.example.org/bitbucket.")
        })?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("The base URL has neither ? nor #."));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path
        .split('/')
        .any(|part| part == "rest" || part == "projects")
    {
        return Err(wrong(
            "This is an address inside Bitbucket. The base URL is what comes before /projects or /rest.",
        ));
    }
    url.set_path(&path);
    app.egress.check_url(&url).map_err(|refusal| {
        wrong(&format!(
            "This server may not be called: {refusal}. The operator of Tracebucket can allow its network with the setting egress_allow."
        ))
    })?;
    Ok(url)
}

/// A bundle of authorities as a person gives it; empty is none.
///
/// # Errors
/// 400 for what holds no usable certificate, or a private key.
pub(super) fn parse_bundle(app: &App, text: &str) -> AppResult<Option<String>> {
    let wrong = |text: &str| AppError::field("ca", text.to_owned());
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > MAX_BUNDLE {
        return Err(wrong("The CA bundle is longer than 64 KiB."));
    }
    if text.contains("PRIVATE KEY") {
        return Err(wrong(
            "The CA bundle holds a private key. Give the certificate of the authority alone, and replace that key.",
        ));
    }
    app.egress.trusting(text.as_bytes()).map_err(|error| {
        wrong(&format!(
            "The CA bundle cannot be used: {error}. It must be one or more certificates as PEM."
        ))
    })?;
    Ok(Some(text.to_owned()))
}

fn door(app: &App, bundle: &str) -> AppResult<Egress> {
    let (doors, key) = (app.cache::<Doors>(), sha256(bundle.as_bytes()));
    let mut doors = doors.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(door) = doors.get(&key) {
        return Ok(door.clone());
    }
    let door = app
        .egress
        .trusting(bundle.as_bytes())
        .map_err(AppError::internal)?;
    if doors.len() >= MAX_DOORS {
        doors.clear();
    }
    doors.insert(key, door.clone());
    Ok(door)
}

/// A client for a server.
pub(super) fn client(
    app: &App,
    base: Url,
    bundle: Option<&str>,
    credential: Credential,
) -> AppResult<DataCenter> {
    let door = bundle.map(|bundle| door(app, bundle)).transpose()?;
    Ok(app.bitbucket.for_server(door, base, credential))
}

/// The host of a link to Data Center.
pub(super) fn host_of(app: &App, org: OrgId, row: &SealedCredential) -> AppResult<Host> {
    let Stored::DataCenter { base, ca, .. } = Stored::open(&app.sealer, row.link_id, &row.sealed)?
    else {
        return Err(AppError::internal(anyhow::anyhow!(
            "the credential of a Data Center link is of another kind"
        )));
    };
    let base = base.parse().map_err(AppError::internal)?;
    let source = Credential::Source(Arc::new(LinkSource::new(app, org, row)?));
    Ok(Host::DataCenter(client(app, base, ca.as_deref(), source)?))
}

/// The bundle that a connection has now.
pub(super) async fn stored_bundle(
    app: &App,
    org: OrgId,
    link: LinkId,
) -> AppResult<Option<String>> {
    let row = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::find_credential(conn, org, link)?))
        .await?;
    Ok(match row {
        Some(row) => match Stored::open(&app.sealer, link, &row.sealed)? {
            Stored::DataCenter { ca, .. } => ca,
            _ => None,
        },
        None => None,
    })
}

/// The repository that a delivery to a connection's address is about, and the secrets its signature may be made with.
/// It may have been moved to another connection to the same server since its webhook was registered.
///
/// # Errors
/// 503 when the database does not answer; 500 when a secret cannot be opened.
pub async fn server_repo_secrets(
    app: &App,
    org: OrgId,
    link: LinkId,
    number: u64,
    fresh: bool,
) -> AppResult<Option<(String, Option<Arc<RepoSecrets>>)>> {
    let Some(server) = server_of(app, org, link).await? else {
        return Ok(None);
    };
    let id = repository_id(&server, number);
    let found = repo_secrets(app, org, &id, fresh).await?;
    Ok(Some((id, found)))
}

/// Whether the organization has this connection to Data Center.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn server_link_listens(app: &App, org: OrgId, link: LinkId) -> AppResult<bool> {
    let found = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::find_any_link(conn, org, link)?))
        .await?;
    Ok(found.is_some_and(|link| {
        link.kind == CredentialKind::DataCenter && link.status != LinkStatus::Removed
    }))
}

async fn server_of(app: &App, org: OrgId, link: LinkId) -> AppResult<Option<String>> {
    let found = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::find_any_link(conn, org, link)?))
        .await?;
    Ok(found
        .filter(|link| link.kind == CredentialKind::DataCenter)
        .map(|link| link.domain_name))
}

/// The page of a repository under another name.
pub(super) fn repository_url(app: &App, repo: &Repo, full_name: &str) -> String {
    if repo.provider.as_deref() != Some(SERVER_REPO_PROVIDER) {
        return app.bitbucket.web_repository(full_name);
    }
    let url = repo.url.as_deref().unwrap_or_default();
    let base = ["/projects/", "/users/"]
        .iter()
        .find_map(|place| url.rsplit_once(place))
        .map_or(url, |(base, _)| base);
    web_page(base, full_name)
}

/// The page of a commit.
#[must_use]
pub fn commit_url(app: &App, repo: &Repo, hash: &str) -> String {
    match (&repo.url, repo.provider.as_deref()) {
        (Some(url), Some(SERVER_REPO_PROVIDER)) => format!("{url}/commits/{hash}"),
        _ => app.bitbucket.web_commit(&repo.name, hash),
    }
}
