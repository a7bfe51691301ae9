//! The console's pages of connections and repositories.

mod repositories;

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use repositories::repositories;

use super::client;
use super::probe::warning;
use super::repos::{self, FoundRepo};
use super::store::{self, Hook, Link, Repo, SealedCredential};
use super::{
    BulkState, CredentialKind, HookFinding, HookState, LinkError, LinkId, LinkStatus, RepoId,
    RepoStatus, bulk, digest,
};
use crate::app::App;
use crate::atlassian::descriptor::DESCRIPTOR_PATH;
use crate::bitbucket::page::Caps;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgAccess, OrgId, Scope, Shell, SignedIn, need};
use crate::features::calls::{self, Calls};
use crate::kit::clock::Micros;

/// The one host whose Connect and issue tracker end (bitbucket.md §2.1).
const CLOUD_HOST: &str = "bitbucket.org";
/// Last day of Connect there.
const CONNECT_ENDS: &str = "2027-01-31";

fn shell<R>(
    app: &App,
    req: &HttpRequest,
    title: &str,
    active: &'static str,
    access: &OrgAccess<R>,
    signed_in: &SignedIn,
) -> Shell {
    Shell::of_org(app, req, title, active, &access.org, signed_in)
}

fn host(app: &App) -> String {
    let url = &app.config.bitbucket_web_url;
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[derive(Serialize)]
struct ConnectionPart {
    id: String,
    name: String,
    host: String,
    web_url: String,
    title: String,
    /// What people have called it; the title without the name that stands in for it.
    label: String,
    purpose: String,
    /// Day of its end, as a date field takes it.
    expires_on: Option<String>,
    kind: &'static str,
    kind_label: &'static str,
    is_connect: bool,
    private: bool,
    checked_at: Option<Micros>,
    expires_at: Option<Micros>,
    warning: Option<&'static str>,
    status: &'static str,
    status_detail: Option<String>,
    installed_by: Option<String>,
    installed_at: Micros,
    repo_count: usize,
    hook_problems: usize,
    ends_on: Option<&'static str>,
}

impl ConnectionPart {
    fn new(
        app: &App,
        link: &Link,
        credential: Option<&SealedCredential>,
        repos: &[Repo],
        hooks: &HashMap<RepoId, Hook>,
    ) -> Self {
        let host = match link.kind {
            CredentialKind::DataCenter => link.domain_name.clone(),
            _ => host(app),
        };
        let problems = repos
            .iter()
            .filter(|repo| needs_repair(repo, hooks.get(&repo.id)));
        Self {
            id: link.id.to_string(),
            name: link.name.clone(),
            web_url: match link.kind {
                CredentialKind::DataCenter => link.workspace_uuid.clone(),
                _ => app.bitbucket.web_repository(&link.name),
            },
            title: link.title().to_owned(),
            label: link.label.clone(),
            purpose: link.purpose.clone(),
            expires_on: credential
                .and_then(|row| row.expires_at)
                .map(|end| end.to_rfc3339().chars().take(10).collect()),
            kind: link.kind.as_str(),
            kind_label: link.kind.title(),
            is_connect: link.kind.is_connect(),
            private: link.private,
            checked_at: link.checked_at,
            expires_at: credential.and_then(|row| row.expires_at),
            warning: credential
                .and_then(|row| warning(row.expires_at, row.rotated_at, app.clock.now()))
                .map(|(_, text)| text),
            status: match (link.status, &link.status_reason) {
                (LinkStatus::Active, None) => "active",
                (LinkStatus::Active, Some(_)) | (LinkStatus::Broken, _) => "error",
                _ => "disabled",
            },
            status_detail: link.status_reason.clone(),
            installed_by: (!link.created_by.is_empty()).then(|| link.created_by.clone()),
            installed_at: link.created_at,
            repo_count: repos.len(),
            hook_problems: problems.count(),
            ends_on: (host == CLOUD_HOST
                && link.status == LinkStatus::Active
                && link.kind.is_connect())
            .then_some(CONNECT_ENDS),
            host,
        }
    }
}

fn needs_repair(repo: &Repo, hook: Option<&Hook>) -> bool {
    repo.status == RepoStatus::Active
        && hook.is_none_or(|hook| matches!(hook.state, HookState::Failed | HookState::None))
}

fn hook_part(repo: &Repo, hook: Option<&Hook>) -> Value {
    let finding = hook.filter(|hook| hook.repaired_at.is_none());
    let finding = finding.and_then(|hook| hook.finding);
    let (state, label) = match (repo.status, hook.map(|hook| hook.state)) {
        (RepoStatus::Active, Some(HookState::Active)) => ("active", "registered"),
        (RepoStatus::Active, Some(HookState::Pending)) => ("pending", "setting up"),
        (RepoStatus::Active, Some(HookState::Failed)) => {
            ("failed", finding.map_or("refused", HookFinding::label))
        }
        (RepoStatus::Active, Some(HookState::None) | None) => ("failed", "missing"),
        (RepoStatus::Gone, _) => ("gone", "gone"),
        _ => ("off", "off"),
    };
    let detail = match repo.status {
        RepoStatus::Active => hook.and_then(|hook| hook.last_error.clone()),
        RepoStatus::Gone => Some(
            "Bitbucket does not have this repository any more, or hides it from this connection. \
             Its commits and tickets stay."
                .to_owned(),
        ),
        _ => None,
    };
    // A hook whose setting up has met an error need not wait for the next try.
    let can_repair = needs_repair(repo, hook) || (state == "pending" && detail.is_some());
    let registered = hook.filter(|_| state == "active");
    json!({
        "state": state, "label": label, "detail": detail,
        "can_repair": can_repair, "can_rotate": state == "active",
        "checked_at": hook.and_then(|hook| hook.checked_at),
        "hears": registered.and_then(|hook| hook.events.as_deref()).map(hears),
        "was": registered.and_then(|hook| hook.finding).map(HookFinding::label),
        "repaired_at": registered.and_then(|hook| hook.repaired_at),
    })
}

impl HookFinding {
    const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongEvents => "wrong events",
            Self::SwitchedOff => "switched off",
            Self::WrongAddress => "wrong address",
        }
    }
}

/// What a hook tells us of, in words.
fn hears(events: &str) -> String {
    let kinds = [
        ("repo:push", "pushes"),
        ("pullrequest:", "pull requests"),
        ("issue:", "issues"),
    ];
    let heard = kinds
        .iter()
        .filter(|(start, _)| events.split(' ').any(|event| event.starts_with(start)));
    heard.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

fn tracker_part(repo: &Repo) -> Value {
    if repo.status == RepoStatus::Gone {
        return json!({ "state": "gone", "label": "gone", "detail": null });
    }
    match repo.has_tracker {
        Some(true) => json!({ "state": "on", "label": "on", "detail": null }),
        Some(false) => {
            json!({ "state": "off", "label": "off", "detail": "The repository has no issue tracker" })
        }
        None => json!({ "state": "off", "label": "unknown", "detail": null }),
    }
}

fn repo_part(repo: &Repo, hook: Option<&Hook>, connection_name: Option<&str>) -> Value {
    json!({
        "id": repo.id.to_string(),
        "full_name": repo.name,
        "url": repo.url.clone().unwrap_or_default(),
        "connection_id": repo.link_id.map(|link| link.to_string()),
        "connection_name": connection_name,
        "hook": hook_part(repo, hook),
        "last_delivery_at": hook.and_then(|hook| hook.last_delivery_at),
        "last_error": null,
        "tracker": tracker_part(repo),
    })
}

fn by_repo(hooks: Vec<Hook>) -> HashMap<RepoId, Hook> {
    hooks.into_iter().map(|hook| (hook.repo_id, hook)).collect()
}

/// The organization's connections.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn list(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let (org, person, now) = (access.org.id, signed_in.user.id, app.clock.now());
    let (rows, digest) = app
        .db
        .read(move |conn| {
            let digest = digest::of_today(conn, org, now)?;
            let mut rows = Vec::new();
            for link in store::list_links_of(conn, org, Some(person))? {
                let repos = store::repos_of_link(conn, org, link.id)?;
                let hooks = store::hooks_of(conn, org, &ids(&repos))?;
                let credential = store::find_credential(conn, org, link.id)?;
                rows.push((link, credential, repos, by_repo(hooks)));
            }
            Ok::<_, AppError>((rows, digest))
        })
        .await?;
    let connections: Vec<_> = rows
        .iter()
        .map(|(link, credential, repos, hooks)| {
            ConnectionPart::new(&app, link, credential.as_ref(), repos, hooks)
        })
        .collect();
    let on_cloud = host(&app) == CLOUD_HOST && connections.iter().any(|one| one.is_connect);
    let content = json!({
        "connections": connections,
        "digest": digest,
        "notices": { "connect_ends": on_cloud, "tracker_removed": on_cloud },
        "descriptor_url": app.config.absolute(DESCRIPTOR_PATH),
        "can_manage": can_manage(&access),
    });
    shell(
        &app,
        &req,
        "Connections",
        "connections",
        &access,
        &signed_in,
    )
    .page(&app, "links/list.html", content)
}

fn ids(repos: &[Repo]) -> Vec<RepoId> {
    repos.iter().map(|repo| repo.id).collect()
}

fn can_manage<R>(access: &OrgAccess<R>) -> bool {
    access.may(Scope::OrgIntegrations) || access.may(Scope::OrgWrite)
}

/// Query of one connection's page.
#[derive(Debug, Deserialize)]
pub struct Search {
    search: Option<String>,
    /// Show only calls of this feature.
    calls: Option<String>,
}

/// One connection: its repositories, and a search for more.
///
/// # Errors
/// 404 for another tenant's.
pub async fn detail(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
    query: web::Query<Search>,
) -> AppResult<HttpResponse> {
    let (org, id, person) = (access.org.id, LinkId(path.1), signed_in.user.id);
    let (link, repos, hooks, adding) = app
        .db
        .read(move |conn| {
            let link = store::find_link_of(conn, org, id, Some(person))?
                .ok_or_else(AppError::not_found)?;
            let credential = store::find_credential(conn, org, id)?;
            let others: Vec<Value> = store::list_links(conn, org)?
                .iter()
                .filter(|other| {
                    other.id != id
                        && other.status == LinkStatus::Active
                        && other.workspace_uuid == link.workspace_uuid
                })
                .map(|other| json!({ "value": other.id.to_string(), "label": other.title() }))
                .collect();
            let repos = store::repos_of_link(conn, org, id)?;
            let hooks = by_repo(store::hooks_of(conn, org, &ids(&repos))?);
            let bulk = store::last_bulk(conn, org, id)?;
            let adding = bulk.filter(|bulk| bulk.state != BulkState::Done || bulk.failed > 0);
            let adding = adding.map(|bulk| bulk::part(&bulk, &HashMap::new()));
            Ok::<_, AppError>(((link, credential, others), repos, hooks, adding))
        })
        .await?;
    let (link, credential, others) = link;
    let manages = can_manage(&access);
    let results = match &query.search {
        Some(text) if manages && link.status == LinkStatus::Active => {
            found(&app, org, id, text).await?
        }
        _ => Results::default(),
    };
    let rows: Vec<_> = repos
        .iter()
        .map(|repo| repo_part(repo, hooks.get(&repo.id), None))
        .collect();
    let calls = calls_part(&app, &link, credential.as_ref(), query.calls.clone()).await?;
    let content = json!({
        "connection": ConnectionPart::new(&app, &link, credential.as_ref(), &repos, &hooks),
        "calls": calls,
        "report": link.last_report(),
        "others": others,
        "sync": progress(&repos, &hooks),
        "repos": rows,
        "search": {
            "query": query.search.clone().unwrap_or_default(), "error": results.error, "results": results.rows,
            "more": results.more,
        },
        "adding": adding,
        "capabilities": capabilities(&repos, &hooks),
        "can_manage": manages,
    });
    shell(&app, &req, link.title(), "connections", &access, &signed_in).page(
        &app,
        "links/detail.html",
        content,
    )
}

/// The budget now and the recent calls; those of this process that are not written down yet come first.
async fn calls_part(
    app: &App,
    link: &Link,
    credential: Option<&SealedCredential>,
    feature: Option<String>,
) -> AppResult<Calls> {
    calls::flush(app).await?;
    let budget = client::budget_of(app, link, credential);
    let (org, id, now) = (link.org_id, link.id, app.clock.now());
    app.db
        .read(move |conn| calls::calls_of(conn, org, id.0, &budget, feature.as_deref(), now))
        .await
}

#[derive(Default)]
struct Results {
    rows: Option<Vec<Value>>,
    more: bool,
    error: Option<String>,
}

/// What a search shows: a few pages of Bitbucket's list. Everything that it finds can be added without being shown.
const FOUND: Caps = Caps {
    pages: 3,
    items: 300,
};

/// What a search found, or what to tell the person instead.
async fn found(app: &App, org: OrgId, link: LinkId, text: &str) -> AppResult<Results> {
    let row = |repo: FoundRepo| json!({ "identifier": repo.identifier, "is_installed": repo.is_installed, "default_branch": repo.default_branch });
    match repos::find_repositories(app, org, link, text, FOUND).await {
        Ok((found, complete)) => Ok(Results {
            rows: Some(found.into_iter().map(row).collect()),
            more: !complete,
            error: None,
        }),
        Err(LinkError::App(error)) => Err(error),
        Err(error) => Ok(Results {
            error: Some(error.to_string()),
            ..Results::default()
        }),
    }
}

/// How far the hooks are, while some are being set up.
fn progress(repos: &[Repo], hooks: &HashMap<RepoId, Hook>) -> Option<Value> {
    let active: Vec<&Hook> = repos
        .iter()
        .filter(|repo| repo.status == RepoStatus::Active)
        .filter_map(|repo| hooks.get(&repo.id))
        .collect();
    let pending = |hook: &&&Hook| hook.state == HookState::Pending && hook.last_error.is_none();
    let started = active
        .iter()
        .filter(pending)
        .map(|hook| hook.updated_at)
        .min()?;
    let done = active.len() - active.iter().filter(pending).count();
    Some(json!({ "done": done, "total": active.len(), "started_at": started }))
}

fn capabilities(repos: &[Repo], hooks: &HashMap<RepoId, Hook>) -> Vec<Value> {
    let active: Vec<&Repo> = repos
        .iter()
        .filter(|repo| repo.status == RepoStatus::Active)
        .collect();
    if active.is_empty() {
        return Vec::new();
    }
    let checked = active
        .iter()
        .filter_map(|repo| hooks.get(&repo.id)?.checked_at)
        .max();
    let total = active.len();
    let broken = active
        .iter()
        .filter(|repo| needs_repair(repo, hooks.get(&repo.id)))
        .count();
    let trackers = active
        .iter()
        .filter(|repo| repo.has_tracker == Some(true))
        .count();
    let part = |name: &str, on: bool, reason: Option<String>| json!({ "name": name, "state": if on { "on" } else { "off" }, "reason": reason, "checked_at": checked });
    vec![
        part(
            "Commits of pushes",
            broken < total,
            (broken > 0).then(|| format!("{broken} of {total} webhooks need repair")),
        ),
        part(
            "Create and link issues",
            trackers > 0,
            (trackers < total)
                .then(|| format!("{trackers} of {total} repositories have an issue tracker")),
        ),
    ]
}

/// What comes after connecting.
///
/// # Errors
/// 404 for another tenant's.
pub async fn done(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let (org, id) = (access.org.id, LinkId(path.1));
    let (link, repos) = app
        .db
        .read(move |conn| {
            let link = store::find_link(conn, org, id)?.ok_or_else(AppError::not_found)?;
            Ok::<_, AppError>((link, store::repos_of_link(conn, org, id)?))
        })
        .await?;
    // What was here before the link can only have been adopted.
    let adopted = repos
        .iter()
        .filter(|repo| repo.created_at < link.created_at)
        .count();
    let content = json!({
        "workspace": { "name": link.name },
        "organization": { "slug": access.org.slug, "name": access.org.name },
        "connection_id": link.id.to_string(),
        "adopted": adopted,
    });
    let title = format!("{} is connected", link.name);
    shell(&app, &req, &title, "connections", &access, &signed_in).page(
        &app,
        "installs/link_done.html",
        content,
    )
}
