//! Sentry's endpoints of external issues (sentry.md §7.2, §7.3) and the search behind the forms (§15.6).

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::create::require_link;
use super::store::{self, Ticket};
use super::{
    BackendKind, CreateForm, Fields, LinkForm, TicketError, TicketId, backends, forms, link,
    links_with_tickets,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{Org, OrgAccess, need};
use crate::features::groups::{Actor, GroupAccess};
use crate::features::links::{self, LinkId};
use crate::kit::db::Conn;
use crate::kit::web::json::Json;

/// Header with which a caller names its request, so that sending it again is the same request.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

fn integration_id(req: &HttpRequest) -> Result<LinkId, AppError> {
    req.match_info()
        .get("integration")
        .and_then(|id| id.parse().ok())
        .ok_or_else(AppError::not_found)
}

fn object_of(link: &links::Link) -> AppResult<Value> {
    serde_json::to_value(links::integration_object(link)).map_err(AppError::internal)
}

fn external_issue(ticket: &Ticket) -> Value {
    json!({
        "id": ticket.id.to_string(),
        "key": ticket.ticket_key,
        "url": ticket.url,
        "title": ticket.title,
        "description": ticket.description,
        "displayName": ticket.ticket_key,
        // Ours: how it stands with the tracker, and why it could not be told of its error.
        "state": ticket.state,
        "remoteState": ticket.remote_state,
        "error": ticket.last_error,
    })
}

fn created(ticket: &Ticket) -> HttpResponse {
    HttpResponse::Created().json(json!({
        "id": ticket.id.0,
        "key": ticket.ticket_key,
        "url": ticket.url,
        "integrationId": ticket.link_id.0,
        "displayName": ticket.ticket_key,
    }))
}

/// `GET …/issues/{issue}/integrations/`: the links with what this group has at each.
///
/// # Errors
/// 404.
pub async fn list(
    app: web::Data<App>,
    access: GroupAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    let (org, group) = (access.org.id, access.group.id);
    let rows = app
        .db
        .read(move |conn| links_with_tickets(conn, org, group))
        .await?;
    let mut body = Vec::with_capacity(rows.len());
    for (link, tickets) in &rows {
        let mut object = object_of(link)?;
        let linked = tickets
            .iter()
            .filter(|ticket| ticket.ticket_key.is_some())
            .map(external_issue);
        if let Some(object) = object.as_object_mut() {
            object.insert("externalIssues".into(), linked.collect());
        }
        body.push(object);
    }
    Ok(HttpResponse::Ok().json(body))
}

/// Query of the detail endpoint.
#[derive(Debug, Deserialize)]
pub struct ConfigQuery {
    action: Option<String>,
}

/// `GET …/integrations/{integration}/?action=create|link`: the form.
///
/// # Errors
/// 400 for another action, 404.
pub async fn config(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventRead>,
    query: web::Query<ConfigQuery>,
) -> AppResult<HttpResponse> {
    let id = integration_id(&req)?;
    let key = match query.action.as_deref() {
        Some("create") => "createIssueConfig",
        Some("link") => "linkIssueConfig",
        _ => {
            return Err(AppError::invalid(
                "Action is required and should be either link or create",
            ));
        }
    };
    let state = App::clone(&app);
    let GroupAccess {
        org,
        group,
        project,
        ..
    } = access;
    let (found, fields) = app
        .db
        .read(move |conn| {
            let found = require_link(conn, org.id, id)?;
            let (repos, repo) = forms::repo_choices(conn, org.id, id, &project)?;
            let text = forms::default_text(&state, conn, &org, &group, &project)?;
            let fields = Fields {
                search_url: search_url(&org, id),
                repos,
                repo,
                text,
                form: BackendKind::of_link(&found).form_fields(),
            };
            Ok::<_, TicketError>((found, fields))
        })
        .await?;
    let can = BackendKind::of_link(&found).capabilities();
    let offered = if key == "createIssueConfig" {
        can.create
    } else {
        can.link
    };
    if !offered {
        return Err(AppError::invalid(
            "This feature is not supported for this integration.",
        ));
    }
    let mut object = object_of(&found)?;
    if let Some(object) = object.as_object_mut() {
        object.insert(
            key.into(),
            if key == "createIssueConfig" {
                fields.create()
            } else {
                fields.link()
            },
        );
    }
    Ok(HttpResponse::Ok().json(object))
}

/// Where the selects of the forms ask for more.
pub(super) fn search_url(org: &Org, link: LinkId) -> String {
    format!("/extensions/bitbucket/search/{}/{link}/", org.slug)
}

/// `POST …/integrations/{integration}/`: makes a ticket.
///
/// # Errors
/// The rows of sentry.md §7.3.
pub async fn create(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    form: Json<CreateForm>,
) -> AppResult<HttpResponse> {
    let id = integration_id(&req)?;
    let key = req
        .headers()
        .get(IDEMPOTENCY_KEY)
        .and_then(|key| key.to_str().ok());
    let actor = Actor::of(&access.caller);
    let ticket = super::create(
        &app,
        &access.org,
        &access.group,
        &access.project,
        id,
        &form,
        key,
        &actor,
    )
    .await?;
    Ok(created(&ticket))
}

/// `PUT …/integrations/{integration}/`: links a ticket that exists.
///
/// # Errors
/// The rows of sentry.md §7.3.
pub async fn put(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    form: Json<LinkForm>,
) -> AppResult<HttpResponse> {
    let id = integration_id(&req)?;
    let actor = Actor::of(&access.caller);
    let linked = link(
        &app,
        &access.org,
        &access.group,
        &access.project,
        id,
        &form,
        &actor,
    )
    .await;
    match linked {
        Ok(ticket) => Ok(created(&ticket)),
        Err(TicketError::AlreadyLinked) => {
            let text = "That issue is already linked";
            Err(AppError::invalid(text).with_body(json!({ "non_field_errors": [text] })))
        }
        Err(error) => Err(error.into()),
    }
}

/// Query of the deletion.
#[derive(Debug, Deserialize)]
pub struct UnlinkQuery {
    #[serde(rename = "externalIssue")]
    external_issue: Option<String>,
}

/// `DELETE …/integrations/{integration}/?externalIssue=`: unlinks; nothing is deleted in the tracker.
///
/// # Errors
/// 400 without the id, 404 for an unknown one.
pub async fn unlink(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    query: web::Query<UnlinkQuery>,
) -> AppResult<HttpResponse> {
    let link = integration_id(&req)?;
    let wanted = query.external_issue.as_deref().filter(|id| !id.is_empty());
    let wanted = wanted.ok_or_else(|| AppError::invalid("External ID required"))?;
    let id: TicketId = wanted.parse().map_err(|_| AppError::not_found())?;
    super::unlink(
        &app,
        access.org.id,
        access.group.id,
        Some(link),
        id,
        &Actor::of(&access.caller),
    )
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Query of the search.
#[derive(Debug, Deserialize)]
pub struct SearchQuery {
    field: Option<String>,
    query: Option<String>,
    repo: Option<String>,
}

/// `GET /extensions/bitbucket/search/{org}/{integration}/`: choices for the selects.
///
/// # Errors
/// 400 for a missing parameter, an unknown field or a repository without a tracker; 404.
pub async fn search(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::EventRead>,
    query: web::Query<SearchQuery>,
) -> AppResult<HttpResponse> {
    let (id, org) = (integration_id(&req)?, access.org.id);
    app.db
        .read(move |conn: &mut Conn| require_link(conn, org, id).map(drop))
        .await?;
    let field = query
        .field
        .as_deref()
        .ok_or_else(|| AppError::invalid("field is a required parameter"))?;
    let text = query
        .query
        .as_deref()
        .ok_or_else(|| AppError::invalid("query is a required parameter"))?;
    match field {
        "repo" => {
            let found = links::search_repositories(&app, org, id, text).await?;
            let choices: Vec<_> = found
                .iter()
                .map(|repo| json!({ "label": repo.name, "value": repo.identifier }))
                .collect();
            Ok(HttpResponse::Ok().json(choices))
        }
        "externalIssue" => {
            let repo = query.repo.as_deref().filter(|repo| !repo.is_empty());
            let repo = repo.ok_or_else(|| AppError::invalid("repo is a required parameter"))?;
            let opened = backends::open(&app, org, id, repo).await?;
            if !opened.backend.capabilities().search {
                return Ok(HttpResponse::Ok().json(json!([])));
            }
            let found = opened
                .backend
                .search(text)
                .await
                .map_err(|error| match error {
                    super::BackendError::TrackerGone(text) => AppError::invalid(text),
                    error => TicketError::from(error).into(),
                })?;
            let choices: Vec<_> = found
                .iter()
                .map(|ticket| json!({ "label": format!("#{} {}", ticket.number, ticket.title), "value": ticket.number }))
                .collect();
            Ok(HttpResponse::Ok().json(choices))
        }
        _ => Err(AppError::invalid(
            "Unknown field; there are: repo, externalIssue",
        )),
    }
}

/// The ticket of an id in this organization that this group has or asked for.
///
/// # Errors
/// 404.
pub(super) fn require_ticket(
    conn: &mut Conn,
    access_org: crate::features::accounts::OrgId,
    group: crate::features::groups::GroupId,
    id: TicketId,
) -> AppResult<Ticket> {
    store::list_of_group(conn, access_org, group)?
        .into_iter()
        .find(|ticket| ticket.id == id)
        .ok_or_else(AppError::not_found)
}
