//! Pages of tickets: the list of errors with its badges, the page of one error with its ticket panel, and the forms
//! that create, link, unlink and try again. The fields are those of `templates/README.md` and its fixtures.

mod forms;

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::api::require_ticket;
use super::store::{self, Ticket};
use super::{TicketError, TicketId, TicketStatus};
use forms::{Action, FormPart, Start, Wrong};
pub use forms::{create_page, create_submit, link_page, link_submit};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    CsrfForm, Flash, Nothing, Org, OrgAccess, OrgId, Scope, Shell, SignedIn, need, redirect_with,
};
use crate::features::groups::pages as group_pages;
use crate::features::groups::{
    Actor, DetailView, EventRow, GroupAccess, GroupId, TicketBadge, detail_view,
};
use crate::kit::clock::Micros;
use crate::kit::db::Conn;

/// A ticket in the panel.
#[derive(Debug, Clone, Serialize)]
struct Item {
    id: String,
    state: &'static str,
    key: String,
    repo: String,
    url: String,
    title: String,
    remote_status: Option<String>,
    how: &'static str,
    created_at: Micros,
    error: Option<String>,
}

impl Item {
    fn new(ticket: &Ticket) -> Self {
        let exists = matches!(ticket.state, TicketStatus::Linked | TicketStatus::Gone);
        // A ticket that was made here has the form it was made of; one that was linked has an empty one.
        let how = match (exists, ticket.draft.as_str()) {
            (false, _) => "",
            (true, "{}") => "linked",
            (true, _) => "created",
        };
        Self {
            id: ticket.id.to_string(),
            state: shown_state(ticket.state),
            key: ticket.ticket_key.clone().unwrap_or_default(),
            repo: ticket.repo_name.clone(),
            url: ticket.url.clone().unwrap_or_default(),
            title: if exists {
                ticket.title.clone()
            } else {
                String::new()
            },
            remote_status: match ticket.state {
                TicketStatus::Gone => Some("gone".to_owned()),
                _ => ticket.remote_state.clone(),
            },
            how,
            created_at: ticket.created_at,
            error: ticket
                .last_error
                .clone()
                .filter(|_| ticket.state != TicketStatus::Pending),
        }
    }
}

/// The pages know three states; one that is gone on the other side is a link with a reason.
const fn shown_state(state: TicketStatus) -> &'static str {
    match state {
        TicketStatus::Pending => "pending",
        TicketStatus::Linked | TicketStatus::Gone => "linked",
        TicketStatus::Failed => "failed",
    }
}

/// The ticket panel of an error's page.
#[derive(Debug, Serialize)]
struct Panel {
    is_pending: bool,
    reason: Option<String>,
    items: Vec<Item>,
    create: Option<FormPart>,
    link: Option<FormPart>,
}

#[derive(Serialize)]
struct DetailPage {
    #[serde(flatten)]
    view: DetailView,
    tickets: Panel,
}

fn may_write<R>(access: &GroupAccess<R>) -> bool {
    access.may(Scope::EventWrite) || access.may(Scope::EventAdmin)
}

fn shell(
    app: &App,
    req: &HttpRequest,
    title: impl Into<String>,
    org: &Org,
    signed_in: &SignedIn,
) -> Shell {
    Shell::of_org(app, req, title, "errors", org, signed_in)
}

fn page_of(org: &Org, group: GroupId) -> String {
    format!("/o/{}/errors/{group}/", org.slug)
}

/// `GET /o/{org}/errors/`: the list of errors with what tickets they have.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn list(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::EventRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    group_pages::list_with(&app, &req, access, &signed_in, badges).await
}

fn badges(
    conn: &mut Conn,
    org: OrgId,
    groups: &[GroupId],
) -> AppResult<HashMap<GroupId, Vec<TicketBadge>>> {
    let mut found: HashMap<GroupId, Vec<TicketBadge>> = HashMap::new();
    for (group, state, key, remote) in store::badges_of(conn, org, groups)? {
        found.entry(group).or_default().push(TicketBadge {
            state: shown_state(state).to_owned(),
            key: key.unwrap_or_default(),
            remote_status: remote,
        });
    }
    Ok(found)
}

/// `GET /o/{org}/errors/{issue}/` and `…/events/{event}/`: one error, its event and its tickets.
///
/// # Errors
/// 404.
pub async fn detail(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let row: Option<EventRow> = match req.match_info().get("event") {
        Some(event) => Some(event.parse().map_err(|_| AppError::not_found())?),
        None => None,
    };
    let can_write = may_write(&access);
    let tickets = panel(&app, &access, can_write).await?;
    let GroupAccess {
        org,
        group,
        project,
        ..
    } = access;
    let view = detail_view(&app, group, project, row, can_write).await?;
    let title = view.title();
    shell(&app, &req, title, &org, &signed_in).page(
        &app,
        "groups/detail.html",
        DetailPage { view, tickets },
    )
}

async fn panel<R>(app: &App, access: &GroupAccess<R>, can_write: bool) -> AppResult<Panel> {
    let (state, org, group, project) = (
        app.clone(),
        access.org.clone(),
        access.group.clone(),
        access.project.clone(),
    );
    app.db
        .read(move |conn| {
            let items: Vec<Item> = store::list_of_group(conn, org.id, group.id)?
                .iter()
                .map(Item::new)
                .collect();
            let mut panel = Panel {
                is_pending: items.iter().any(|item| item.state == "pending"),
                reason: None,
                items,
                create: None,
                link: None,
            };
            match Start::read(conn, &org, &project, None)? {
                Ok(start) if can_write => {
                    for (action, form) in [
                        (Action::Create, &mut panel.create),
                        (Action::Link, &mut panel.link),
                    ] {
                        if start.offers(action) {
                            let values =
                                start.first_values(&state, conn, &org, &group, &project, action)?;
                            *form = Some(start.form(&org, action, None, values, Wrong::default()));
                        }
                    }
                }
                Ok(_) => {}
                Err(reason) => panel.reason = Some(reason),
            }
            Ok(panel)
        })
        .await
}

fn ticket_id(req: &HttpRequest) -> AppResult<TicketId> {
    req.match_info()
        .get("ticket")
        .and_then(|id| id.parse().ok())
        .ok_or_else(AppError::not_found)
}

async fn ticket_of<R>(app: &App, req: &HttpRequest, access: &GroupAccess<R>) -> AppResult<Ticket> {
    let (org, group, id) = (access.org.id, access.group.id, ticket_id(req)?);
    app.db
        .read(move |conn| require_ticket(conn, org, group, id))
        .await
}

/// `POST …/tickets/{ticket}/unlink/`: takes a ticket off the error; nothing is deleted in Bitbucket.
///
/// # Errors
/// 404 for a ticket that this error does not have.
pub async fn unlink_submit(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let ticket = ticket_of(&app, &req, &access).await?;
    let to = page_of(&access.org, access.group.id);
    let actor = Actor::of(&access.caller);
    match super::unlink(
        &app,
        access.org.id,
        access.group.id,
        None,
        ticket.id,
        &actor,
    )
    .await
    {
        Ok(()) => {
            let text = match &ticket.ticket_key {
                Some(key) => format!("{key} is unlinked. The issue in Bitbucket stays as it is."),
                None => "The request is given up.".to_owned(),
            };
            Ok(redirect_with(&app, &to, &Flash::ok(text)))
        }
        Err(TicketError::Refused(text)) => Ok(redirect_with(&app, &to, &Flash::error(text))),
        Err(error) => Err(error.into()),
    }
}

/// `POST …/tickets/{ticket}/retry/`: tries again what was refused: making the ticket, or telling it of its error.
///
/// # Errors
/// 404 for a ticket that this error does not have.
pub async fn retry_submit(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let ticket = ticket_of(&app, &req, &access).await?;
    let to = page_of(&access.org, access.group.id);
    let exists = matches!(ticket.state, TicketStatus::Linked | TicketStatus::Gone);
    let tried = super::retry(&app, access.org.id, access.group.id, ticket.id).await;
    let tried = match tried {
        Err(TicketError::Busy(text, _) | TicketError::Limited(text, _)) if exists => {
            let text = format!("Not yet. {text}");
            return Ok(redirect_with(&app, &to, &Flash::warn(text)));
        }
        tried => tried,
    };
    let done = if exists { "in step again" } else { "created" };
    match forms::outcome(&app, &to, tried, done)? {
        Ok(answer) => Ok(answer),
        Err(wrong) => Ok(redirect_with(&app, &to, &Flash::error(wrong.into_text()))),
    }
}
