//! Pages of tickets: the list of errors with its badges, the page of one error with its ticket panel, and the forms
//! that create, link, unlink and try again. The fields are those of `templates/README.md` and its fixtures.

mod forms;

use std::collections::{BTreeMap, HashMap};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::api::{require_ticket, search_url};
use super::forms as defaults;
use super::forms::{ISSUE_TYPES, PRIORITIES};
use super::store::{self, Ticket};
use super::{CreateForm, LinkForm, TicketError, TicketId, TicketStatus};
pub use forms::{create_page, create_submit, link_page, link_submit};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    CsrfForm, Flash, Nothing, Org, OrgAccess, OrgId, Project, Scope, Shell, SignedIn, need,
    redirect_with,
};
use crate::features::groups::pages as group_pages;
use crate::features::groups::{
    Actor, DetailView, EventRow, Group, GroupAccess, GroupId, TicketBadge, detail_view,
};
use crate::features::links::{self, Link, LinkId, LinkStatus};
use crate::kit::clock::Micros;
use crate::kit::db::Conn;

/// A choice of a select.
#[derive(Debug, Clone, Serialize)]
struct Choice {
    value: String,
    label: String,
}

impl Choice {
    fn list(known: &[(&str, &str)]) -> Vec<Self> {
        known
            .iter()
            .map(|(value, label)| Self {
                value: (*value).to_owned(),
                label: (*label).to_owned(),
            })
            .collect()
    }
}

/// A connected workspace.
#[derive(Debug, Clone, Serialize)]
struct Integration {
    id: String,
    name: String,
}

impl From<&Link> for Integration {
    fn from(link: &Link) -> Self {
        Self {
            id: link.id.to_string(),
            name: link.name.clone(),
        }
    }
}

/// What was wrong with a form: by field, and as a whole.
#[derive(Debug, Clone, Default, Serialize)]
struct Wrong {
    errors: BTreeMap<&'static str, String>,
    form_error: Option<String>,
}

impl Wrong {
    fn field(field: &'static str, text: impl Into<String>) -> Self {
        Self {
            errors: BTreeMap::from([(field, text.into())]),
            form_error: None,
        }
    }

    fn form(text: impl Into<String>) -> Self {
        Self {
            errors: BTreeMap::new(),
            form_error: Some(text.into()),
        }
    }
}

/// What both forms have.
#[derive(Debug, Clone, Serialize)]
struct FormPart<V> {
    integration: Integration,
    integrations: Vec<Integration>,
    search_url: String,
    client_key: String,
    repos: Vec<Choice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issue_types: Vec<Choice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    priorities: Vec<Choice>,
    values: V,
    #[serde(flatten)]
    wrong: Wrong,
}

/// Values of the form that creates; also what it sends.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct CreateValues {
    repo: String,
    title: String,
    description: String,
    issue_type: String,
    priority: String,
}

/// Values of the form that links; also what it sends.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct LinkValues {
    repo: String,
    external_issue: String,
    comment: String,
}

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
    create: Option<FormPart<CreateValues>>,
    link: Option<FormPart<LinkValues>>,
}

#[derive(Serialize)]
struct DetailPage {
    #[serde(flatten)]
    view: DetailView,
    tickets: Panel,
}

#[derive(Serialize)]
struct GroupPart {
    id: String,
    short_id: String,
    title: String,
}

#[derive(Serialize)]
struct FormPage<V> {
    group: GroupPart,
    reason: Option<String>,
    form: Option<FormPart<V>>,
}

/// What the forms start with, as far as the database knows.
struct Start {
    link: Link,
    links: Vec<Link>,
    repos: Vec<String>,
    repo: String,
}

impl Start {
    /// The chosen workspace, else the first that can be used; or why there is none.
    fn read(
        conn: &mut Conn,
        org: &Org,
        project: &Project,
        wanted: Option<LinkId>,
    ) -> AppResult<Result<Self, String>> {
        let all = links::list_links(conn, org.id)?;
        let usable: Vec<Link> = all
            .iter()
            .filter(|link| link.status == LinkStatus::Active)
            .cloned()
            .collect();
        let chosen = usable
            .iter()
            .find(|link| Some(link.id) == wanted)
            .or(usable.first())
            .cloned();
        let Some(link) = chosen else {
            return Ok(Err(match all.first() {
                Some(link) => link
                    .status_reason
                    .clone()
                    .unwrap_or_else(|| "The connection is disabled.".to_owned()),
                None => "Connect a Bitbucket workspace to create issues from here.".to_owned(),
            }));
        };
        let (repos, repo) = defaults::repo_choices(conn, org.id, link.id, project)?;
        Ok(Ok(Self {
            link,
            links: usable,
            repos,
            repo,
        }))
    }

    fn form<V>(
        &self,
        org: &Org,
        client_key: Option<String>,
        values: V,
        repo: &str,
        wrong: Wrong,
    ) -> FormPart<V> {
        let mut repos = self.repos.clone();
        // A repository that was searched for stays chosen when the form comes back.
        if !repo.is_empty() && !repos.iter().any(|known| known == repo) {
            repos.insert(0, repo.to_owned());
        }
        FormPart {
            integration: (&self.link).into(),
            integrations: self.links.iter().map(Into::into).collect(),
            search_url: search_url(org, self.link.id),
            client_key: client_key
                .filter(|key| !key.is_empty())
                .unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            repos: repos
                .into_iter()
                .map(|name| Choice {
                    label: name.clone(),
                    value: name,
                })
                .collect(),
            issue_types: Vec::new(),
            priorities: Vec::new(),
            values,
            wrong,
        }
    }

    fn create_form(
        &self,
        org: &Org,
        key: Option<String>,
        values: CreateValues,
        wrong: Wrong,
    ) -> FormPart<CreateValues> {
        let repo = values.repo.clone();
        let mut form = self.form(org, key, values, &repo, wrong);
        form.issue_types = Choice::list(ISSUE_TYPES);
        form.priorities = Choice::list(PRIORITIES);
        form
    }

    fn link_form(
        &self,
        org: &Org,
        key: Option<String>,
        values: LinkValues,
        wrong: Wrong,
    ) -> FormPart<LinkValues> {
        let repo = values.repo.clone();
        self.form(org, key, values, &repo, wrong)
    }
}

fn first_values(
    app: &App,
    conn: &mut Conn,
    org: &Org,
    group: &Group,
    project: &Project,
    repo: &str,
) -> AppResult<CreateValues> {
    let text = defaults::default_text(app, conn, org, group, project)?;
    Ok(CreateValues {
        repo: repo.to_owned(),
        title: text.title,
        description: text.description,
        issue_type: "bug".to_owned(),
        priority: "trivial".to_owned(),
    })
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
                    let values = first_values(&state, conn, &org, &group, &project, &start.repo)?;
                    let link = LinkValues {
                        repo: start.repo.clone(),
                        ..LinkValues::default()
                    };
                    panel.create = Some(start.create_form(&org, None, values, Wrong::default()));
                    panel.link = Some(start.link_form(&org, None, link, Wrong::default()));
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

/// `POST …/tickets/{ticket}/retry/`: tries a refused ticket again, as it was asked for.
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
    let made = super::retry(&app, access.org.id, ticket.id).await;
    match forms::outcome(&app, &to, made, "created")? {
        Ok(answer) => Ok(answer),
        Err(wrong) => {
            let text = wrong
                .form_error
                .or_else(|| wrong.errors.into_values().next())
                .unwrap_or_default();
            Ok(redirect_with(&app, &to, &Flash::error(text)))
        }
    }
}
