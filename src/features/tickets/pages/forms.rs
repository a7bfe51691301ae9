//! The forms that make and link a ticket: on pages of their own, which also work without script, and in the dialogs of
//! the error's page. The tracker says which fields the first one has and which of the two it offers.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::{page_of, shell};
use crate::app::App;
use crate::error::AppResult;
use crate::features::accounts::{CsrfForm, Flash, Org, Project, SignedIn, need, redirect_with};
use crate::features::groups::{Actor, Group, GroupAccess};
use crate::features::links::{self, Link, LinkId, LinkStatus};
use crate::features::tickets::api::search_url;
use crate::features::tickets::backend::{FieldKind, NO_FIELD};
use crate::features::tickets::{
    self as tickets, BackendKind, CreateForm, LinkForm, Ticket, TicketError, TicketStatus, forms,
};
use crate::kit::db::Conn;

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Link,
}

impl Action {
    const fn title(self) -> &'static str {
        match self {
            Self::Create => "Create issue",
            Self::Link => "Link issue",
        }
    }

    const fn template(self) -> &'static str {
        match self {
            Self::Create => "groups/create_ticket.html",
            Self::Link => "groups/link_ticket.html",
        }
    }

    const fn not_offered(self) -> &'static str {
        match self {
            Self::Create => "The tracker of this workspace takes no new issues from here.",
            Self::Link => "Issues of this workspace's tracker cannot be linked.",
        }
    }
}

/// What a form holds or sends, by the name of its fields.
type Values = BTreeMap<String, String>;

fn value<'a>(values: &'a Values, name: &str) -> &'a str {
    values.get(name).map_or("", String::as_str)
}

/// A choice of a select.
#[derive(Debug, Clone, Serialize)]
struct Choice {
    value: String,
    label: String,
}

/// A field that only this tracker has.
#[derive(Debug, Clone, Serialize)]
struct FieldPart {
    name: &'static str,
    label: &'static str,
    /// `line`, `text` or `choice`.
    kind: &'static str,
    /// Longest line, in characters.
    max: usize,
    choices: Vec<Choice>,
    value: String,
    error: String,
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
pub(super) struct Wrong {
    errors: BTreeMap<&'static str, String>,
    form_error: Option<String>,
}

impl Wrong {
    fn field(field: &'static str, text: impl Into<String>) -> Self {
        Self::fields(vec![(field, text.into())])
    }

    fn fields(refused: Vec<(&'static str, String)>) -> Self {
        let mut wrong = Self::default();
        for (field, text) in refused {
            if field == NO_FIELD {
                wrong.form_error = Some(text);
            } else {
                wrong.errors.insert(field, text);
            }
        }
        wrong
    }

    fn form(text: impl Into<String>) -> Self {
        Self {
            errors: BTreeMap::new(),
            form_error: Some(text.into()),
        }
    }

    /// All of it in one text, where there is no form.
    pub(super) fn into_text(self) -> String {
        let texts: Vec<_> = self
            .form_error
            .into_iter()
            .chain(self.errors.into_values())
            .collect();
        texts.join(" ")
    }
}

/// A form as the templates want it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FormPart {
    integration: Integration,
    integrations: Vec<Integration>,
    search_url: String,
    client_key: String,
    repos: Vec<Choice>,
    fields: Vec<FieldPart>,
    values: Values,
    #[serde(flatten)]
    wrong: Wrong,
}

#[derive(Serialize)]
struct GroupPart {
    id: String,
    short_id: String,
    title: String,
}

#[derive(Serialize)]
struct FormPage {
    group: GroupPart,
    reason: Option<String>,
    form: Option<FormPart>,
}

/// What the forms start with, as far as the database knows.
pub(super) struct Start {
    link: Link,
    links: Vec<Link>,
    repos: Vec<String>,
    repo: String,
}

impl Start {
    /// The chosen workspace, else the first whose connection lets us make tickets; or why there is none.
    pub(super) fn read(
        conn: &mut Conn,
        org: &Org,
        project: &Project,
        wanted: Option<LinkId>,
    ) -> AppResult<Result<Self, String>> {
        let all = links::list_links(conn, org.id)?;
        let active = || all.iter().filter(|link| link.status == LinkStatus::Active);
        let usable: Vec<Link> = active()
            .filter(|link| link.require("tickets").is_ok())
            .cloned()
            .collect();
        let chosen = usable
            .iter()
            .find(|link| Some(link.id) == wanted)
            .or(usable.first())
            .cloned();
        let Some(link) = chosen else {
            let off = active().find_map(|link| link.require("tickets").err());
            return Ok(Err(match (off, all.first()) {
                (Some(off), _) => format!("{off} Connect the workspace in another way as well."),
                (None, Some(link)) => link
                    .status_reason
                    .clone()
                    .unwrap_or_else(|| "The connection is disabled.".to_owned()),
                (None, None) => {
                    "Connect a Bitbucket workspace to create issues from here.".to_owned()
                }
            }));
        };
        let (repos, repo) = forms::repo_choices(conn, org.id, link.id, project)?;
        Ok(Ok(Self {
            link,
            links: usable,
            repos,
            repo,
        }))
    }

    /// Whether the tracker lets us do it.
    pub(super) fn offers(&self, action: Action) -> bool {
        let can = BackendKind::of_link(&self.link).capabilities();
        match action {
            Action::Create => can.create,
            Action::Link => can.link,
        }
    }

    /// What a form starts with.
    pub(super) fn first_values(
        &self,
        app: &App,
        conn: &mut Conn,
        org: &Org,
        group: &Group,
        project: &Project,
        action: Action,
    ) -> AppResult<Values> {
        let mut values = Values::from([("repo".to_owned(), self.repo.clone())]);
        if action == Action::Create {
            let text = forms::default_text(app, conn, org, group, project)?;
            for field in BackendKind::of_link(&self.link).form_fields() {
                values.insert(field.name.to_owned(), text.of(field).to_owned());
            }
        }
        Ok(values)
    }

    pub(super) fn form(
        &self,
        org: &Org,
        action: Action,
        client_key: Option<String>,
        sent: Values,
        wrong: Wrong,
    ) -> FormPart {
        let repo = value(&sent, "repo");
        let mut repos = self.repos.clone();
        // A repository that was searched for stays chosen when the form comes back.
        if !repo.is_empty() && !repos.iter().any(|known| known == repo) {
            repos.insert(0, repo.to_owned());
        }
        let (names, fields): (&[&str], _) = match action {
            Action::Create => (&["repo"], self.own_fields(&sent, &wrong)),
            Action::Link => (&["repo", "external_issue", "comment"], Vec::new()),
        };
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
            fields,
            values: names
                .iter()
                .map(|name| ((*name).to_owned(), value(&sent, name).to_owned()))
                .collect(),
            wrong,
        }
    }

    fn own_fields(&self, sent: &Values, wrong: &Wrong) -> Vec<FieldPart> {
        let choices = |known: &[(&str, &str)]| {
            known
                .iter()
                .map(|(value, label)| Choice {
                    value: (*value).to_owned(),
                    label: (*label).to_owned(),
                })
                .collect()
        };
        BackendKind::of_link(&self.link)
            .form_fields()
            .iter()
            .map(|field| {
                let (kind, max, choices) = match field.kind {
                    FieldKind::Line(max) => ("line", max, Vec::new()),
                    FieldKind::Text(_) => ("text", 0, Vec::new()),
                    FieldKind::Choice(known) => ("choice", 0, choices(known)),
                };
                FieldPart {
                    name: field.name,
                    label: field.label,
                    kind,
                    max,
                    choices,
                    value: value(sent, field.name).to_owned(),
                    error: wrong.errors.get(field.name).cloned().unwrap_or_default(),
                }
            })
            .collect()
    }
}

/// Which connected workspace a form is for.
#[derive(Debug, Deserialize)]
pub struct Chosen {
    integration: Option<String>,
}

impl Chosen {
    fn link(&self) -> Option<LinkId> {
        self.integration.as_deref().and_then(|id| id.parse().ok())
    }
}

/// What either form sends.
#[derive(Debug, Deserialize)]
pub struct Sent {
    integration: LinkId,
    #[serde(default)]
    client_key: String,
    #[serde(flatten)]
    values: Values,
}

/// `GET …/tickets/new/`: the form that creates a ticket.
///
/// # Errors
/// 403 without the scope, 404.
pub async fn create_page(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    signed_in: SignedIn,
    chosen: web::Query<Chosen>,
) -> AppResult<HttpResponse> {
    let page = Page {
        app: &app,
        req: &req,
        access: &access,
        signed_in: &signed_in,
    };
    page.first(Action::Create, &chosen).await
}

/// `GET …/tickets/link/`: the form that links a ticket.
///
/// # Errors
/// 403 without the scope, 404.
pub async fn link_page(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    signed_in: SignedIn,
    chosen: web::Query<Chosen>,
) -> AppResult<HttpResponse> {
    let page = Page {
        app: &app,
        req: &req,
        access: &access,
        signed_in: &signed_in,
    };
    page.first(Action::Link, &chosen).await
}

/// The page of a form, for whom and of which error.
struct Page<'a> {
    app: &'a App,
    req: &'a HttpRequest,
    access: &'a GroupAccess<need::EventWrite>,
    signed_in: &'a SignedIn,
}

impl Page<'_> {
    /// The form as it first opens.
    async fn first(&self, action: Action, chosen: &Chosen) -> AppResult<HttpResponse> {
        let (wrong, status) = (Wrong::default(), StatusCode::OK);
        self.render(action, chosen.link(), None, wrong, status)
            .await
    }

    async fn render(
        &self,
        action: Action,
        wanted: Option<LinkId>,
        sent: Option<(String, Values)>,
        wrong: Wrong,
        status: StatusCode,
    ) -> AppResult<HttpResponse> {
        let (state, org, group, project) = (
            self.app.clone(),
            self.access.org.clone(),
            self.access.group.clone(),
            self.access.project.clone(),
        );
        let content = self
            .app
            .db
            .read(move |conn| {
                let (reason, form) = match Start::read(conn, &org, &project, wanted)? {
                    Ok(start) if start.offers(action) => {
                        let (key, values) = match sent {
                            Some((key, values)) => (Some(key), values),
                            None => (
                                None,
                                start.first_values(&state, conn, &org, &group, &project, action)?,
                            ),
                        };
                        (None, Some(start.form(&org, action, key, values, wrong)))
                    }
                    Ok(_) => (Some(action.not_offered().to_owned()), None),
                    Err(reason) => (Some(reason), None),
                };
                let group = GroupPart {
                    id: group.id.to_string(),
                    short_id: group.short_id(&project),
                    title: group.title.clone(),
                };
                AppResult::Ok(FormPage {
                    group,
                    reason,
                    form,
                })
            })
            .await?;
        shell(
            self.app,
            self.req,
            action.title(),
            &self.access.org,
            self.signed_in,
        )
        .page_with_status(self.app, status, action.template(), content)
    }
}

/// `POST …/tickets/new/`: creates a ticket. The same form again is the same ticket.
///
/// # Errors
/// 404. What the form or Bitbucket refuses comes back as the form, with 400.
pub async fn create_submit(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    signed_in: SignedIn,
    form: CsrfForm<Sent>,
) -> AppResult<HttpResponse> {
    let Sent {
        integration,
        client_key,
        values,
    } = form.0;
    let fields = values
        .iter()
        .map(|(name, text)| (name.clone(), text.as_str().into()));
    let wanted = CreateForm {
        repo: value(&values, "repo").to_owned(),
        title: value(&values, "title").to_owned(),
        description: value(&values, "description").to_owned(),
        fields: fields.collect(),
    };
    let (org, group, actor) = (&access.org, &access.group, Actor::of(&access.caller));
    let key = Some(client_key.as_str()).filter(|key| !key.is_empty());
    let made = tickets::create(
        &app,
        org,
        group,
        &access.project,
        integration,
        &wanted,
        key,
        &actor,
    )
    .await;
    let wrong = match outcome(&app, &page_of(org, group.id), made, "created")? {
        Ok(answer) => return Ok(answer),
        Err(wrong) => wrong,
    };
    // The key stays: sending the corrected form revives the refused ticket instead of making a second one.
    let sent = Some((client_key, values));
    let page = Page {
        app: &app,
        req: &req,
        access: &access,
        signed_in: &signed_in,
    };
    page.render(
        Action::Create,
        Some(integration),
        sent,
        wrong,
        StatusCode::BAD_REQUEST,
    )
    .await
}

/// `POST …/tickets/link/`: links a ticket that exists.
///
/// # Errors
/// 404. What the form or Bitbucket refuses comes back as the form, with 400; 503 while Bitbucket has trouble.
pub async fn link_submit(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    signed_in: SignedIn,
    form: CsrfForm<Sent>,
) -> AppResult<HttpResponse> {
    let Sent {
        integration,
        client_key,
        values,
    } = form.0;
    let wanted = LinkForm {
        repo: value(&values, "repo").to_owned(),
        external_issue: value(&values, "external_issue").to_owned(),
        comment: value(&values, "comment").to_owned(),
    };
    let (org, group, actor) = (&access.org, &access.group, Actor::of(&access.caller));
    let linked = tickets::link(
        &app,
        org,
        group,
        &access.project,
        integration,
        &wanted,
        &actor,
    )
    .await;
    let (wrong, status) = match linked {
        // Nothing waits for Bitbucket here: the person tries again.
        Err(TicketError::Busy(text, _) | TicketError::Limited(text, _)) => {
            (Wrong::form(text), StatusCode::SERVICE_UNAVAILABLE)
        }
        linked => match outcome(&app, &page_of(org, group.id), linked, "linked")? {
            Ok(answer) => return Ok(answer),
            Err(wrong) => (wrong, StatusCode::BAD_REQUEST),
        },
    };
    let sent = Some((client_key, values));
    let page = Page {
        app: &app,
        req: &req,
        access: &access,
        signed_in: &signed_in,
    };
    page.render(Action::Link, Some(integration), sent, wrong, status)
        .await
}

/// What a person sees after asking for a ticket: the error's page with a message, or the form with what was wrong.
pub(super) fn outcome(
    app: &App,
    to: &str,
    made: Result<Ticket, TicketError>,
    done: &str,
) -> AppResult<Result<HttpResponse, Wrong>> {
    let on = |flash: Flash| Ok(Ok(redirect_with(app, to, &flash)));
    let pending = || {
        on(Flash::warn(
            "Bitbucket has not answered yet. The issue is being created; it is safe to leave this page.",
        ))
    };
    match made {
        Ok(ticket) if ticket.state == TicketStatus::Pending => pending(),
        Ok(ticket) => on(Flash::ok(format!(
            "{} is {done}.",
            ticket.ticket_key.unwrap_or_default()
        ))),
        Err(TicketError::Pending) => pending(),
        Err(TicketError::Busy(text, _) | TicketError::Limited(text, _)) => {
            on(Flash::warn(format!(
                "{} The issue will be created as soon as Bitbucket takes it.",
                sentence(&text)
            )))
        }
        Err(TicketError::Field(field, text)) => {
            let field = if field == "externalIssue" {
                "external_issue"
            } else {
                field
            };
            Ok(Err(Wrong::field(field, text)))
        }
        Err(TicketError::Fields(fields)) => Ok(Err(Wrong::fields(fields))),
        Err(TicketError::Refused(text)) => Ok(Err(Wrong::form(text))),
        Err(TicketError::AlreadyLinked) => Ok(Err(Wrong::field(
            "external_issue",
            "That issue is already linked to this error.",
        ))),
        Err(error @ (TicketError::NotFound | TicketError::App(_))) => Err(error.into()),
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}
