//! Stand-in until the real feature is merged.
#![allow(missing_docs, reason = "stand-in")]

use std::sync::Arc;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::bitbucket::{self, Cloud, Credential, RepoRef};
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::kit::clock::Micros;
use crate::kit::crypto::Secret;
use crate::kit::db::{Conn, DbError, Tx};
use crate::kit::ids::{row_id, text_enum};
use crate::kit::jobs::{Attempt, Job, Verdict};
use crate::schema::{links, repo_hooks, repos};

row_id! {
    /// Row id of a link.
    LinkId
}
row_id! {
    /// Row id of a repository.
    RepoId
}
text_enum! {
    /// x
    LinkStatus {
        /// x
        Active = "active",
        /// x
        Disabled = "disabled",
        /// x
        Removed = "removed",
    }
}
text_enum! {
    /// x
    RepoStatus {
        /// x
        Active = "active",
        /// x
        Disabled = "disabled",
        /// x
        Hidden = "hidden",
        /// x
        Removed = "pending_deletion",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = repos)]
pub struct Repo {
    pub id: RepoId,
    pub org_id: OrgId,
    pub link_id: Option<LinkId>,
    pub external_id: Option<String>,
    pub name: String,
    pub url: Option<String>,
    pub main_branch: Option<String>,
    pub status: RepoStatus,
    pub has_tracker: Option<bool>,
    pub created_at: Micros,
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = links)]
pub struct Link {
    pub id: LinkId,
    pub org_id: OrgId,
    pub external_id: String,
    pub workspace_uuid: String,
    pub name: String,
    pub domain_name: String,
    pub status: LinkStatus,
    pub status_reason: Option<String>,
    config: String,
    pub created_at: Micros,
}

#[derive(Debug, Clone)]
pub struct LinkConfig {
    pub sync_status_forward: bool,
}
impl Link {
    pub fn config(&self) -> LinkConfig {
        LinkConfig { sync_status_forward: true }
    }
}

#[derive(Debug, Clone)]
pub struct Connected {
    pub link: Link,
    pub cloud: Cloud,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("there is no such connection or repository")]
    NotFound,
    #[error("{0}")]
    Off(String),
    #[error("{0}")]
    Invalid(String),
    #[error("A repository with that configuration already exists")]
    Exists,
    #[error("{0}")]
    Upstream(bitbucket::Error),
    #[error(transparent)]
    App(#[from] AppError),
}
impl From<bitbucket::Error> for LinkError {
    fn from(error: bitbucket::Error) -> Self {
        Self::Upstream(error)
    }
}
impl From<DbError> for LinkError {
    fn from(error: DbError) -> Self {
        Self::App(error.into())
    }
}
impl From<diesel::result::Error> for LinkError {
    fn from(error: diesel::result::Error) -> Self {
        Self::App(error.into())
    }
}

#[derive(Debug)]
pub struct RepoSecrets {
    pub repo: Repo,
    pub secrets: Vec<Secret>,
}

#[derive(Default)]
struct Held(std::sync::Mutex<std::collections::HashMap<String, Arc<RepoSecrets>>>);

pub async fn repo_secrets(app: &App, org: OrgId, uuid: &str, fresh: bool) -> AppResult<Option<Arc<RepoSecrets>>> {
    let key = format!("{org}/{uuid}");
    let held = app.cache::<Held>();
    if !fresh && let Some(found) = held.0.lock().ok().and_then(|h| h.get(&key).cloned()) {
        return Ok(Some(found));
    }
    let (owned, sealer) = (uuid.to_owned(), Arc::clone(&app.sealer));
    let found = app
        .db
        .read(move |conn| {
            let Some(repo) = find_repo_by_external(conn, org, &owned)?.filter(|r| r.status == RepoStatus::Active) else {
                return Ok::<_, AppError>(None);
            };
            let row: Option<(Vec<u8>, Option<Vec<u8>>)> = repo_hooks::table
                .filter(repo_hooks::repo_id.eq(repo.id))
                .select((repo_hooks::sealed_secret, repo_hooks::sealed_previous))
                .first(conn)
                .optional()?;
            let context = format!("repo_hook.secret:{}", repo.id);
            Ok(row.map(|(current, previous)| {
                let secrets = [Some(current), previous]
                    .into_iter()
                    .flatten()
                    .filter_map(|s| sealer.open(&context, &s).ok())
                    .map(|b| Secret::new(String::from_utf8_lossy(&b).into_owned()))
                    .collect();
                Arc::new(RepoSecrets { repo, secrets })
            }))
        })
        .await?;
    if let (Some(found), Ok(mut held)) = (&found, held.0.lock()) {
        held.insert(key, Arc::clone(found));
    }
    Ok(found)
}

pub fn find_repo_by_external(conn: &mut Conn, org: OrgId, external_id: &str) -> QueryResult<Option<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::external_id.eq(external_id))
        .select(Repo::as_select())
        .first(conn)
        .optional()
}

pub fn find_repo_by_name(conn: &mut Conn, org: OrgId, name: &str) -> QueryResult<Option<Repo>> {
    repos::table.filter(repos::org_id.eq(org)).filter(repos::name.eq(name)).select(Repo::as_select()).first(conn).optional()
}

pub fn find_repo(conn: &mut Conn, org: OrgId, id: RepoId) -> QueryResult<Option<Repo>> {
    repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq(id)).select(Repo::as_select()).first(conn).optional()
}

pub fn repos_by_ids(conn: &mut Conn, org: OrgId, ids: &[RepoId]) -> QueryResult<Vec<Repo>> {
    repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq_any(ids)).select(Repo::as_select()).load(conn)
}

pub fn repos_of_link(conn: &mut Conn, org: OrgId, link: LinkId) -> QueryResult<Vec<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .filter(repos::link_id.eq(link))
        .filter(repos::status.ne(RepoStatus::Removed))
        .order((repos::name, repos::id))
        .select(Repo::as_select())
        .load(conn)
}

#[derive(Debug, Clone, Default)]
pub struct RepoFilter {
    pub query: Option<String>,
    pub status: Option<RepoStatus>,
    pub link: Option<LinkId>,
    pub healthy: Option<bool>,
}

pub fn list_repos(conn: &mut Conn, org: OrgId, _filter: &RepoFilter, offset: i64, limit: i64) -> QueryResult<Vec<Repo>> {
    repos::table
        .filter(repos::org_id.eq(org))
        .order((repos::name, repos::id))
        .offset(offset)
        .limit(limit)
        .select(Repo::as_select())
        .load(conn)
}

pub fn find_link(conn: &mut Conn, org: OrgId, id: LinkId) -> QueryResult<Option<Link>> {
    links::table.filter(links::org_id.eq(org)).filter(links::id.eq(id)).select(Link::as_select()).first(conn).optional()
}

pub fn list_links(conn: &mut Conn, org: OrgId) -> QueryResult<Vec<Link>> {
    links::table.filter(links::org_id.eq(org)).order(links::id).select(Link::as_select()).load(conn)
}

pub async fn client_for_link(app: &App, org: OrgId, link: LinkId) -> Result<Connected, LinkError> {
    let row = app
        .db
        .read(move |conn| Ok::<_, LinkError>(find_link(conn, org, link)?))
        .await?
        .ok_or(LinkError::NotFound)?;
    if row.status != LinkStatus::Active {
        return Err(LinkError::Off("The connection is disabled.".into()));
    }
    let config: serde_json::Value = serde_json::from_str(&row.config).unwrap_or_default();
    let token = config.get("test_token").and_then(|t| t.as_str()).unwrap_or_default().to_owned();
    Ok(Connected { cloud: app.bitbucket.for_credential(Credential::Bearer(Secret::new(token))), link: row })
}

pub async fn client_for_repo(app: &App, org: OrgId, id: RepoId) -> Result<(Repo, RepoRef, Connected), LinkError> {
    let repo = app.db.read(move |conn| find_repo(conn, org, id)?.ok_or(LinkError::NotFound)).await?;
    if repo.status != RepoStatus::Active {
        return Err(LinkError::Off(format!("The repository {} is not in use.", repo.name)));
    }
    let link = repo.link_id.ok_or_else(|| LinkError::Off("not linked".into()))?;
    let connected = client_for_link(app, org, link).await?;
    let external = repo.external_id.as_deref().unwrap_or_default();
    let reference = RepoRef::from_full_name(&format!("{}/{external}", connected.link.workspace_uuid))
        .map_err(|error| LinkError::Off(error.to_string()))?;
    Ok((repo, reference, connected))
}

pub fn note_rename(tx: &mut Tx<'_>, app: &App, repo: &Repo, full_name: &str, now: Micros) -> AppResult<bool> {
    if repo.name == full_name || RepoRef::from_full_name(full_name).is_err() {
        return Ok(false);
    }
    let url = app.bitbucket.web_repository(full_name);
    Ok(diesel::update(repos::table.filter(repos::id.eq(repo.id)))
        .set((repos::name.eq(full_name), repos::url.eq(Some(url)), repos::updated_at.eq(now)))
        .execute(tx.conn())?
        == 1)
}

pub async fn remove_repository(app: &App, org: OrgId, id: RepoId, _actor: &str) -> AppResult<Repo> {
    app.db
        .write(move |tx| {
            diesel::update(repos::table.filter(repos::org_id.eq(org)).filter(repos::id.eq(id)))
                .set(repos::status.eq(RepoStatus::Removed))
                .execute(tx.conn())?;
            find_repo(tx, org, id)?.ok_or_else(AppError::not_found)
        })
        .await
}

pub fn note_delivery(tx: &mut Tx<'_>, repo: RepoId, at: Micros) {
    let _ = diesel::update(repo_hooks::table.filter(repo_hooks::repo_id.eq(repo)))
        .set(repo_hooks::last_delivery_at.eq(Some(at)))
        .execute(tx.conn());
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SyncRepos {
    pub org: OrgId,
    pub link: LinkId,
}
impl Job for SyncRepos {
    type State = App;
    const KIND: &'static str = "links.sync_repos";
    async fn run(self, _app: App, _attempt: Attempt) -> anyhow::Result<Verdict> {
        Ok(Verdict::Done)
    }
}

pub fn repository_object(repo: &Repo) -> serde_json::Value {
    serde_json::json!({
        "id": repo.id.to_string(), "name": repo.name, "url": repo.url,
        "provider": {"id": "integrations:bitbucket", "name": "Bitbucket"}, "status": repo.status,
        "dateCreated": repo.created_at.to_rfc3339(),
        "integrationId": repo.link_id.map(|id| id.to_string()),
        "externalSlug": repo.name, "externalId": repo.external_id,
    })
}

pub fn integration_object(link: &Link) -> serde_json::Value {
    serde_json::json!({"id": link.id.to_string(), "name": link.name, "domainName": link.domain_name, "status": link.status,
        "provider": {"key": "bitbucket", "slug": "bitbucket", "name": "Bitbucket"}})
}
