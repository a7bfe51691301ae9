//! `/api/0` of integrations and repositories (sentry.md §8).

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::client::LinkError;
use super::repos::{self, BEING_REMOVED, HookStart, MAX_NAME, RepoChange};
use super::store::{self, Link, RepoFilter};
use super::wire::{FEATURES, directory_entry, org_integration_object, repository_object};
use super::{
    LinkId, LinkStatus, PROVIDER, REPO_PROVIDER, RepoId, RepoStatus, SERVER_PROVIDER,
    SERVER_REPO_PROVIDER, disconnect,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgAccess, OrgId, need};
use crate::features::audit;
use crate::kit::web::cursor::{Page, PageRequest};
use crate::kit::web::json::Json;

/// The query of a request, by name.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(req: &HttpRequest) -> Self {
        Self(
            url::form_urlencoded::parse(req.query_string().as_bytes())
                .into_owned()
                .collect(),
        )
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| matches!(value, "1" | "true"))
    }

    fn page(&self) -> AppResult<PageRequest> {
        PageRequest::from_query(self.get("cursor"), self.get("per_page"))
            .map_err(|error| AppError::invalid(error.to_string()))
    }
}

/// A page of a list with the headers that Sentry's clients follow (sentry.md §10.3).
fn listed<T: Serialize>(app: &App, req: &HttpRequest, page: &Page<T>, hits: i64) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((
            header::LINK,
            page.link_header(&app.config.absolute(req.path()), req.query_string()),
        ))
        .insert_header(("X-Hits", hits))
        .json(&page.rows)
}

/// `GET …/config/integrations/`: the provider directory (sentry.md §8.1).
///
/// # Errors
/// 404 when no provider fits.
pub async fn directory(
    req: HttpRequest,
    _access: OrgAccess<need::OrgRead>,
) -> AppResult<HttpResponse> {
    let wanted = Query::of(&req);
    if wanted
        .get("provider_key")
        .is_some_and(|key| !key.is_empty() && key != PROVIDER)
    {
        return Err(AppError::not_found().with_body(json!({ "detail": "Providers do not exist" })));
    }
    Ok(HttpResponse::Ok().json(json!({ "providers": [directory_entry()] })))
}

/// `GET …/integrations/`.
///
/// # Errors
/// 400 for a cursor that is none.
pub async fn list(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
) -> AppResult<HttpResponse> {
    let (query, org) = (Query::of(&req), access.org.id);
    let request = query.page()?;
    let mut features = query.all("features").peekable();
    let key = query.get("provider_key").unwrap_or_default().to_owned();
    let fits = features.peek().is_none() || features.any(|feature| FEATURES.contains(&feature));
    let mut links = if fits {
        app.db
            .read(move |conn| Ok::<_, AppError>(store::list_links(conn, org)?))
            .await?
    } else {
        Vec::new()
    };
    links.retain(|link| key.is_empty() || link.kind.provider() == key);
    let hits = i64::try_from(links.len()).unwrap_or(i64::MAX);
    let with_config = query.flag("includeConfig").unwrap_or(true);
    let skip = usize::try_from(request.sql_offset()).unwrap_or(usize::MAX);
    let take = usize::try_from(request.sql_limit()).unwrap_or(usize::MAX);
    let rows = links
        .iter()
        .skip(skip)
        .take(take)
        .map(|link| integration(link, with_config))
        .collect::<AppResult<Vec<_>>>()?;
    Ok(listed(&app, &req, &request.offset_page(rows), hits))
}

fn integration(link: &Link, with_config: bool) -> AppResult<Value> {
    let mut value =
        serde_json::to_value(org_integration_object(link)).map_err(AppError::internal)?;
    if let (Some(map), false) = (value.as_object_mut(), with_config) {
        map.remove("configOrganization");
        map.insert("configData".to_owned(), Value::Null);
    }
    Ok(value)
}

async fn require_link(app: &App, org: OrgId, id: LinkId) -> AppResult<Link> {
    app.db
        .read(move |conn| store::find_link(conn, org, id)?.ok_or_else(AppError::not_found))
        .await
}

/// `GET …/integrations/{id}/`.
///
/// # Errors
/// 404 for another tenant's.
pub async fn detail(
    app: web::Data<App>,
    access: OrgAccess<need::OrgRead>,
    path: web::Path<(String, i64)>,
) -> AppResult<HttpResponse> {
    let link = require_link(&app, access.org.id, LinkId(path.1)).await?;
    Ok(HttpResponse::Ok().json(org_integration_object(&link)))
}

/// `POST …/integrations/{id}/`: changes settings; the answer is the integration as it is then.
///
/// # Errors
/// 400 for a setting that does not exist, 404 for another tenant's integration.
pub async fn configure(
    app: web::Data<App>,
    access: OrgAccess<need::Integrations>,
    path: web::Path<(String, i64)>,
    body: Json<Map<String, Value>>,
) -> AppResult<HttpResponse> {
    let (org, id, changes) = (access.org.id, LinkId(path.1), body.into_inner());
    let (actor, now) = (access.caller.name(), app.clock.now());
    let link = app
        .db
        .write(move |tx| {
            tx.lock_key(&format!("links.config:{id}"))?;
            let link = store::find_link(tx, org, id)?.ok_or_else(AppError::not_found)?;
            let config = link.config().changed(&changes)?;
            store::set_link_config(
                tx,
                org,
                id,
                &serde_json::to_string(&config).map_err(AppError::internal)?,
                now,
            )?;
            let data = Value::Object(changes.clone());
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.configure",
                &id.to_string(),
                &data,
                now,
            )?;
            store::find_link(tx, org, id)?.ok_or_else(AppError::not_found)
        })
        .await?;
    Ok(HttpResponse::Ok().json(org_integration_object(&link)))
}

/// `DELETE …/integrations/{id}/`: disconnects the workspace from this organization.
///
/// # Errors
/// 404 for another tenant's.
pub async fn remove(
    app: web::Data<App>,
    access: OrgAccess<need::Integrations>,
    path: web::Path<(String, i64)>,
) -> AppResult<HttpResponse> {
    disconnect(&app, access.org.id, LinkId(path.1), &access.caller.name()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET …/integrations/{id}/repos/`: repositories of the workspace (sentry.md §8.3).
///
/// # Errors
/// 400 with Bitbucket's refusal, 503 when it has trouble, 404 for another tenant's integration.
pub async fn search(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
    path: web::Path<(String, i64)>,
) -> AppResult<HttpResponse> {
    let (query, id) = (Query::of(&req), LinkId(path.1));
    let link = require_link(&app, access.org.id, id).await?;
    if link.status != LinkStatus::Active {
        return Ok(HttpResponse::Ok().json(json!({ "repos": [] })));
    }
    let found = repos::search_repositories(
        &app,
        access.org.id,
        id,
        query.get("search").unwrap_or_default(),
    )
    .await;
    let mut found = match found {
        Ok(found) => found,
        Err(LinkError::Off(_)) => return Ok(HttpResponse::Ok().json(json!({ "repos": [] }))),
        Err(error @ LinkError::Upstream(_)) if !error.is_temporary() => {
            return Err(AppError::invalid(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    if query.flag("installableOnly") == Some(true) {
        found.retain(|repo| !repo.is_installed);
    }
    Ok(HttpResponse::Ok().json(json!({ "repos": found, "searchable": true })))
}

/// `GET …/repos/` (sentry.md §8.4): active ones, unless `status` says otherwise; an empty one says all.
///
/// # Errors
/// 400 for a cursor that is none.
pub async fn list_repos(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
) -> AppResult<HttpResponse> {
    let (query, org) = (Query::of(&req), access.org.id);
    let request = query.page()?;
    let text = |name: &str| {
        query
            .get(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let status = match query.get("status") {
        None | Some("active") => Some(Some(RepoStatus::Active)),
        Some("deleted") => Some(Some(RepoStatus::Removed)),
        Some("") => Some(None),
        Some(word) => RepoStatus::parse(word).map(Some),
    };
    let link = match text("integration_id") {
        Some(id) => id.parse::<LinkId>().ok().map(Some),
        None => Some(None),
    };
    let (rows, hits) = match (status, link) {
        (Some(status), Some(link)) => {
            let filter = RepoFilter {
                query: text("query"),
                status,
                link,
                ..RepoFilter::default()
            };
            app.db
                .read(move |conn| {
                    let rows = store::list_repos(
                        conn,
                        org,
                        &filter,
                        request.sql_offset(),
                        request.sql_limit(),
                    )?;
                    Ok::<_, AppError>((rows, store::count_repos(conn, org, &filter)?))
                })
                .await?
        }
        // A status or id that nothing has.
        _ => (Vec::new(), 0),
    };
    let page = request
        .offset_page(rows)
        .map(|repo| repository_object(&repo));
    Ok(listed(&app, &req, &page, hits))
}

/// `POST …/repos/`: adds a repository (sentry.md §8.4).
///
/// # Errors
/// In Sentry's shapes: 400 `validation` or `repo_exists`, 404 `not found`, 503 `service unavailable`.
pub async fn add_repo(
    app: web::Data<App>,
    access: OrgAccess<need::Integrations>,
    body: Json<Map<String, Value>>,
) -> AppResult<HttpResponse> {
    let text = |name: &str| match body.get(name) {
        Some(Value::String(text)) => Some(text.trim().to_owned()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let known = [
        REPO_PROVIDER,
        PROVIDER,
        SERVER_REPO_PROVIDER,
        SERVER_PROVIDER,
    ];
    if text("provider").is_none_or(|provider| !known.contains(&provider.as_str())) {
        return Err(
            AppError::invalid("Unknown provider").with_body(json!({ "error_type": "validation" }))
        );
    }
    let no_link = || {
        AppError::not_found().with_body(json!({ "error_type": "not found", "errors": { "__all__": "Integration matching query does not exist." } }))
    };
    let link = text("installation")
        .and_then(|id| id.parse::<LinkId>().ok())
        .ok_or_else(no_link)?;
    let identifier = text("identifier")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| validation("identifier is required"))?;
    let actor = access.caller.name();
    match repos::add_repository(
        &app,
        access.org.id,
        link,
        &identifier,
        &actor,
        HookStart::Now,
    )
    .await
    {
        Ok(repo) => Ok(HttpResponse::Created().json(repository_object(&repo))),
        Err(LinkError::NotFound) => Err(no_link()),
        Err(error) => Err(creation_error(error)),
    }
}

fn validation(text: &str) -> AppError {
    AppError::invalid(text.to_owned())
        .with_body(json!({ "error_type": "validation", "errors": { "__all__": text } }))
}

/// A failure of adding a repository in the shapes of sentry.md §8.4.
fn creation_error(error: LinkError) -> AppError {
    let text = error.to_string();
    match error {
        LinkError::App(error) => {
            let unknown = error.code() == "internal";
            if unknown {
                error.with_body(json!({ "error_type": "unknown" }))
            } else {
                error
            }
        }
        LinkError::Exists => AppError::invalid(text.clone()).with_body(
            json!({ "detail": { "code": "repo_exists", "message": text, "extra": {} } }),
        ),
        error if error.is_temporary() => AppError::from(error).with_body(
            json!({ "error_type": "service unavailable", "errors": { "__all__": text } }),
        ),
        _ => validation(&text),
    }
}

/// `PUT …/repos/{id}/` (sentry.md §8.4).
///
/// # Errors
/// 400 for a value that does not fit, an integration that is not one, or a repository that is being removed.
pub async fn edit_repo(
    app: web::Data<App>,
    access: OrgAccess<need::Integrations>,
    path: web::Path<(String, i64)>,
    body: Json<Map<String, Value>>,
) -> AppResult<HttpResponse> {
    let (org, id, actor) = (access.org.id, RepoId(path.1), access.caller.name());
    let repo = app
        .db
        .read(move |conn| store::find_repo(conn, org, id)?.ok_or_else(AppError::not_found))
        .await?;
    if repo.status == RepoStatus::Removed {
        return Err(AppError::invalid(BEING_REMOVED));
    }
    let change = RepoChange {
        hidden: match body
            .get("status")
            .map(|status| status.as_str().unwrap_or_default())
        {
            None => None,
            Some("visible" | "active") => Some(false),
            Some("hidden") => Some(true),
            Some(_) => {
                return Err(AppError::field(
                    "status",
                    "Must be visible, active or hidden.",
                ));
            }
        },
        name: short_text(&body, "name")?,
        url: short_text(&body, "url")?,
    };
    if let Some(wanted) = body.get("integrationId").filter(|wanted| !wanted.is_null()) {
        let wanted = wanted
            .as_str()
            .map_or_else(|| wanted.as_i64(), |text| text.parse().ok())
            .map(LinkId);
        relink(&app, org, &repo, wanted, &actor).await?;
    }
    let repo = repos::edit(&app, org, id, change, &actor).await?;
    Ok(HttpResponse::Ok().json(repository_object(&repo)))
}

fn short_text(body: &Map<String, Value>, name: &str) -> AppResult<Option<String>> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text))
            if !text.trim().is_empty() && text.chars().count() <= MAX_NAME =>
        {
            Ok(Some(text.trim().to_owned()))
        }
        Some(_) => Err(AppError::field(
            name,
            format!("Must be a text of 1 to {MAX_NAME} characters."),
        )),
    }
}

async fn relink(
    app: &App,
    org: OrgId,
    repo: &super::Repo,
    wanted: Option<LinkId>,
    actor: &str,
) -> AppResult<()> {
    let wanted = wanted.ok_or_else(|| AppError::invalid("Invalid integration id"))?;
    if repo.link_id == Some(wanted) {
        return Ok(());
    }
    match repos::relink(app, org, repo, wanted, actor).await {
        Ok(()) => Ok(()),
        Err(LinkError::NotFound | LinkError::Off(_)) => {
            Err(AppError::invalid("Invalid integration id"))
        }
        Err(error @ LinkError::Upstream(_)) if !error.is_temporary() => {
            Err(AppError::invalid(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// `DELETE …/repos/{id}/`: 202 with the repository; its commits and tickets stay.
///
/// # Errors
/// 404 for another tenant's, or one that is removed already.
pub async fn remove_repo(
    app: web::Data<App>,
    access: OrgAccess<need::Integrations>,
    path: web::Path<(String, i64)>,
) -> AppResult<HttpResponse> {
    let repo = repos::remove_repository(&app, access.org.id, RepoId(path.1), &access.caller.name())
        .await?;
    Ok(HttpResponse::build(StatusCode::ACCEPTED).json(repository_object(&repo)))
}
