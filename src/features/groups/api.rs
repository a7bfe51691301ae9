//! `/api/0` of groups, in the shapes and words of sentry.md §16. An error is `{"detail": "…"}`.

pub mod events;
pub mod notes;
mod update;

use actix_web::http::header::{HeaderName, HeaderValue, LINK};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::query::{BadQuery, DEFAULT_QUERY, Search, Sort};
use super::store::activity;
use super::wire::{Around, NewStatus};
use super::{Group, GroupAccess, GroupId, store};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, Caller, Org, OrgAccess, OrgId, UserId, need};
use crate::kit::db::Conn;
use crate::kit::web::cursor::{Page, PageRequest};
use crate::kit::web::json::Json;
use crate::sentry::shortid::ShortId;
use crate::sentry::wire::{ShortIdLookup, StringId};
pub(super) use update::Update;

/// Total number of rows behind a page.
const X_HITS: HeaderName = HeaderName::from_static("x-hits");
/// Activities that the answer for one group holds.
const ACTIVITY: i64 = 100;
/// Groups that one transaction of a bulk update changes.
const BULK_SLICE: i64 = 50;

impl From<BadQuery> for AppError {
    fn from(error: BadQuery) -> Self {
        Self::invalid(error.0)
    }
}

/// The query of a request; keys may repeat.
#[derive(Debug, Clone)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn of(req: &HttpRequest) -> Self {
        Self(
            url::form_urlencoded::parse(req.query_string().as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn page(&self) -> AppResult<PageRequest> {
        let per_page = self.get("per_page").or(self.get("limit"));
        PageRequest::from_query(self.get("cursor"), per_page)
            .map_err(|_| AppError::invalid("Invalid cursor parameter."))
    }
}

/// A page of rows as JSON, with the header that leads to its neighbours.
pub(super) fn paged<T: serde::Serialize>(
    app: &App,
    req: &HttpRequest,
    page: &Page<T>,
) -> HttpResponse {
    let mut response = HttpResponse::Ok().json(&page.rows);
    let link = page.link_header(&app.config.absolute(req.path()), req.query_string());
    if let Ok(link) = HeaderValue::from_str(&link) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// A user of the organization by `me`, a number, or an e-mail address.
pub(super) fn member(
    conn: &mut Conn,
    org: OrgId,
    me: Option<UserId>,
    name: &str,
) -> AppResult<Option<UserId>> {
    let user = match name.parse() {
        _ if name == "me" => me,
        Ok(id) => Some(id),
        Err(_) => accounts::user_by_email(conn, &name.to_lowercase())?.map(|user| user.id),
    };
    let Some(user) = user else { return Ok(None) };
    Ok(accounts::find_member(conn, org, user)?.map(|_| user))
}

/// Reads `project`, `environment` and the query of a list. `in_project` is the project of the path.
pub(super) fn search(
    conn: &mut Conn,
    org: OrgId,
    me: Option<UserId>,
    params: &Params,
    query: &str,
    in_project: Option<&str>,
) -> AppResult<Search> {
    let mut search = Search::parse(query, |name| member(conn, org, me, name))?;
    // -1 means all projects to Sentry's clients.
    let named = params
        .all("project")
        .filter(|project| !project.is_empty() && *project != "-1");
    for project in in_project.into_iter().chain(named) {
        if project.contains('\0') {
            return Err(AppError::not_found());
        }
        search
            .projects
            .push(accounts::require_project(conn, org, project)?.id);
    }
    let environments = params
        .all("environment")
        .filter(|name| !name.is_empty() && !name.contains('\0'));
    search.environments.extend(environments.map(str::to_owned));
    Ok(search)
}

/// `GET /organizations/{org}/issues/`: the groups of an organization.
///
/// # Errors
/// 400 for a query, sort or cursor without meaning, 404 for a project that is not there.
pub async fn list_of_org(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    list(&app, &req, access.org, &access.caller, None).await
}

/// `GET /projects/{org}/{project}/issues/`: the groups of a project.
///
/// # Errors
/// As [`list_of_org`].
pub async fn list_of_project(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    access: OrgAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    list(
        &app,
        &req,
        access.org,
        &access.caller,
        Some(path.into_inner().1),
    )
    .await
}

async fn list(
    app: &App,
    req: &HttpRequest,
    org: Org,
    caller: &Caller,
    project: Option<String>,
) -> AppResult<HttpResponse> {
    let (params, me) = (Params::of(req), caller.user_id());
    let page = params.page()?;
    let sort = Sort::parse(params.get("sort").unwrap_or_default())?;
    let state = app.clone();
    let (groups, hits) = app
        .db
        .read(move |conn| {
            let query = params.get("query").unwrap_or(DEFAULT_QUERY);
            let search = search(conn, org.id, me, &params, query, project.as_deref())?;
            let rows = store::list(
                conn,
                org.id,
                &search,
                sort,
                page.sql_offset(),
                page.sql_limit(),
            )?;
            let hits = store::count(conn, org.id, &search)?;
            let page = page.offset_page(rows);
            let around = Around::load(conn, &state, &org, &page.rows, &[])?;
            let groups = page
                .rows
                .iter()
                .map(|group| around.group(group))
                .collect::<AppResult<Vec<_>>>()?;
            Ok::<_, AppError>((
                Page {
                    rows: groups,
                    previous: page.previous,
                    next: page.next,
                },
                hits,
            ))
        })
        .await?;
    let mut response = paged(app, req, &groups);
    response
        .headers_mut()
        .insert(X_HITS, HeaderValue::from(hits));
    Ok(response)
}

/// `PUT /organizations/{org}/issues/`: changes many groups, named by `id`, by `status`, by `query`, or all.
///
/// # Errors
/// 400 for a change without meaning, 404 for a project that is not there.
pub async fn update_of_org(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::EventWrite>,
    body: Json<Value>,
) -> AppResult<HttpResponse> {
    update_many(&app, &req, access.org.id, &access.caller, None, &body).await
}

/// `PUT /projects/{org}/{project}/issues/`: the same within a project; what `sentry-cli issues` sends.
///
/// # Errors
/// As [`update_of_org`].
pub async fn update_of_project(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    access: OrgAccess<need::EventWrite>,
    body: Json<Value>,
) -> AppResult<HttpResponse> {
    update_many(
        &app,
        &req,
        access.org.id,
        &access.caller,
        Some(path.into_inner().1),
        &body,
    )
    .await
}

async fn update_many(
    app: &App,
    req: &HttpRequest,
    org: OrgId,
    caller: &Caller,
    project: Option<String>,
    body: &Value,
) -> AppResult<HttpResponse> {
    let (params, me) = (Params::of(req), caller.user_id());
    let update = Update::read(app, org, caller, body).await?;
    let search = app
        .db
        .read(move |conn| {
            let mut search = search(
                conn,
                org,
                me,
                &params,
                params.get("query").unwrap_or_default(),
                project.as_deref(),
            )?;
            for id in params.all("id") {
                let id = id
                    .parse()
                    .map_err(|_| AppError::invalid(format!("“{id}” is not the id of an issue.")))?;
                search.ids.push(id);
            }
            if let Some(word) = params.get("status") {
                let status = NewStatus::parse(word);
                let status = status
                    .ok_or_else(|| AppError::invalid(format!("“{word}” is not a status.")))?;
                search.status = Some(status.status());
            }
            Ok::<_, AppError>(search)
        })
        .await?;
    let named = !search.ids.is_empty();
    let found = change_all(app, org, search, &update).await?;
    if named && found == 0 {
        return Ok(HttpResponse::NoContent().finish());
    }
    Ok(HttpResponse::Ok().json(update.answer()))
}

/// Changes every group of a search, some per transaction; answers how many the search named.
pub(super) async fn change_all(
    app: &App,
    org: OrgId,
    search: Search,
    update: &Update,
) -> AppResult<usize> {
    let (mut after, mut found) = (GroupId(0), 0);
    loop {
        let next = search.clone();
        let ids = app
            .db
            .read(move |conn| Ok::<_, AppError>(store::ids(conn, org, &next, after, BULK_SLICE)?))
            .await?;
        let Some(last) = ids.last() else {
            return Ok(found);
        };
        after = *last;
        found += ids.len();
        let (update, now) = (update.clone(), app.clock.now());
        app.db
            .write(move |tx| {
                for group in &ids {
                    update.apply(tx, org, *group, now)?;
                }
                Ok::<_, AppError>(())
            })
            .await?;
    }
}

/// `GET …/issues/{issue}/`: one group.
///
/// # Errors
/// 404.
pub async fn detail(
    app: web::Data<App>,
    access: GroupAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    answer(&app, access.org, access.group).await
}

async fn answer(app: &App, org: Org, group: Group) -> AppResult<HttpResponse> {
    let state = app.clone();
    let (detail, tags) = app
        .db
        .read(move |conn| {
            let activity = activity::list(conn, org.id, group.id, None, ACTIVITY)?;
            let around = Around::load(conn, &state, &org, std::slice::from_ref(&group), &activity)?;
            Ok::<_, AppError>((
                around.detail(&group, &activity)?,
                super::tags::sample(conn, &group)?,
            ))
        })
        .await?;
    let tags = tags
        .iter()
        .map(|tag| json!({ "key": tag.key, "name": tag.key, "totalValues": tag.total }));
    let tags: Value = tags.collect();
    let mut body = serde_json::to_value(detail).map_err(AppError::internal)?;
    if let Some(body) = body.as_object_mut() {
        body.insert("tags".to_owned(), tags);
    }
    Ok(HttpResponse::Ok().json(body))
}

/// `PUT …/issues/{issue}/`: changes one group and answers it.
///
/// # Errors
/// 400 for a change without meaning, 404.
pub async fn update(
    app: web::Data<App>,
    access: GroupAccess<need::EventWrite>,
    body: Json<Value>,
) -> AppResult<HttpResponse> {
    let (org, group, now) = (access.org.id, access.group.id, app.clock.now());
    let update = Update::read(&app, org, &access.caller, &body).await?;
    let changed = app
        .db
        .write(move |tx| {
            update.apply(tx, org, group, now)?;
            store::find(tx, org, group)?.ok_or_else(AppError::not_found)
        })
        .await?;
    answer(&app, access.org, changed.0).await
}

/// `DELETE …/issues/{issue}/`: takes a group away; 202, because its events go later.
///
/// # Errors
/// 404.
pub async fn delete(
    app: web::Data<App>,
    access: GroupAccess<need::EventAdmin>,
) -> AppResult<HttpResponse> {
    let (org, group, now) = (access.org.id, access.group.id, app.clock.now());
    let actor = super::Actor::of(&access.caller);
    app.db
        .write(move |tx| Ok::<_, AppError>(super::delete(tx, org, group, &actor, now)?))
        .await?;
    Ok(HttpResponse::Accepted().json(json!({})))
}

/// `GET /organizations/{org}/shortids/{short}/`: the group of a short id.
///
/// # Errors
/// 404.
pub async fn short_id(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    access: OrgAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    let short: ShortId = path
        .into_inner()
        .1
        .parse()
        .map_err(|_| AppError::not_found())?;
    let (org, state) = (access.org, app.clone());
    let answer = app
        .db
        .read(move |conn| {
            if short.slug.contains('\0') {
                return Err(AppError::not_found());
            }
            let found = store::find_by_short_id(conn, org.id, &short)?;
            let (group, project) = found.ok_or_else(AppError::not_found)?;
            let around = Around::load(conn, &state, &org, std::slice::from_ref(&group), &[])?;
            Ok(ShortIdLookup {
                organization_slug: org.slug.clone(),
                project_slug: project.slug.clone(),
                group_id: StringId(group.id.0),
                short_id: group.short_id(&project),
                group: around.group(&group)?,
            })
        })
        .await?;
    Ok(HttpResponse::Ok().json(answer))
}
