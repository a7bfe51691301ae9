//! `/api/0` of events.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::{RawValue, to_raw_value};

use super::{Params, paged};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgAccess, need, require_project};
use crate::features::groups::store::events::{self, EventsOf, Neighbours};
use crate::features::groups::wire::time;
use crate::features::groups::{EventRow, GroupAccess, Pick, StoredEvent, event_of};
use crate::kit::db::Conn;
use crate::kit::web::cursor::Page;
use crate::sentry::wire::{EventBody, EventIdentity};

/// Events in memory at once; each may be a megabyte.
const AT_ONCE: usize = 5;

/// An event in Sentry's shape. `full` false leaves out what can be large: a list of a hundred must stay small. What
/// the client sent is passed on as text, because it may be nested deeper than a JSON tree of ours may be.
fn body(stored: &StoredEvent, neighbours: &Neighbours, full: bool) -> AppResult<Box<RawValue>> {
    let event = stored.event()?;
    let identity = EventIdentity {
        event_id: stored.event_id,
        group_id: stored.group.0,
        project_id: stored.project.0,
        received: time(stored.received_at),
        next: neighbours.newer.map(|(_, id)| id),
        previous: neighbours.older.map(|(_, id)| id),
    };
    let mut body = EventBody::new(&event, &identity);
    body.date_created = time(stored.occurred_at);
    if !full {
        body.entries.clear();
        body.contexts = None;
        body.packages = None;
        body.context = None;
    }
    to_raw_value(&body).map_err(AppError::internal)
}

async fn list(app: &App, req: &HttpRequest, of: EventsOf) -> AppResult<HttpResponse> {
    let page = Params::of(req).page()?;
    let page = app
        .db
        .read(move |conn| {
            let rows = events::page(conn, of, page.key_range(), page.sql_limit())?;
            let page = page.keyed_page(rows, |row| row.0);
            let mut bodies = Vec::with_capacity(page.rows.len());
            for some in page.rows.chunks(AT_ONCE) {
                bodies.extend(brief(conn, some)?);
            }
            Ok::<_, AppError>(Page {
                rows: bodies,
                previous: page.previous,
                next: page.next,
            })
        })
        .await?;
    Ok(paged(app, req, &page))
}

/// The events of these rows, in their order.
fn brief(conn: &mut Conn, rows: &[EventRow]) -> AppResult<Vec<Box<RawValue>>> {
    let stored = events::load(conn, rows)?;
    let ordered = rows
        .iter()
        .filter_map(|row| stored.iter().find(|event| event.row == *row));
    ordered
        .map(|event| body(event, &Neighbours::default(), false))
        .collect()
}

/// `GET …/issues/{issue}/events/`: the events of a group, newest first.
///
/// # Errors
/// 400 for a cursor without meaning, 404.
pub async fn list_of_group(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    list(&app, &req, EventsOf::Group(access.group.id)).await
}

/// `GET /projects/{org}/{project}/events/`: the events of a project, newest first.
///
/// # Errors
/// 400 for a cursor without meaning, 404.
pub async fn list_of_project(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    access: OrgAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    let (org, project) = (access.org.id, path.into_inner().1);
    let project = app
        .db
        .read(move |conn| require_project(conn, org, &project))
        .await?;
    list(&app, &req, EventsOf::Project(project.id)).await
}

/// `GET …/issues/{issue}/events/{event}/`: `latest`, `oldest`, or an event id.
///
/// # Errors
/// 404.
pub async fn one_of_group(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    let pick = match req.match_info().get("event").unwrap_or_default() {
        "latest" | "recommended" => Pick::Latest,
        "oldest" => Pick::Oldest,
        id => Pick::Id(id.parse().map_err(|_| AppError::not_found())?),
    };
    let group = access.group;
    one(&app, move |conn| event_of(conn, &group, pick)).await
}

/// `GET /projects/{org}/{project}/events/{event}/`: an event by its id.
///
/// # Errors
/// 404.
pub async fn one_of_project(
    app: web::Data<App>,
    path: web::Path<(String, String, String)>,
    access: OrgAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    let (_, project, event) = path.into_inner();
    let id = event.parse().map_err(|_| AppError::not_found())?;
    let org = access.org.id;
    one(&app, move |conn| {
        let project = require_project(conn, org, &project)?;
        events::event_in(conn, &project, id)
    })
    .await
}

async fn one(
    app: &App,
    find: impl FnOnce(&mut Conn) -> AppResult<Option<StoredEvent>> + Send + 'static,
) -> AppResult<HttpResponse> {
    let (stored, neighbours) = app
        .db
        .read(move |conn| {
            let stored = find(conn)?.ok_or_else(AppError::not_found)?;
            let neighbours = events::neighbours(conn, &stored)?;
            Ok::<_, AppError>((stored, neighbours))
        })
        .await?;
    Ok(HttpResponse::Ok().json(body(&stored, &neighbours, true)?))
}
