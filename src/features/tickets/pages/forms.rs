//! The pages of making and linking a ticket, with the forms that also work without script.

use super::*;

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
    render_create(
        &app,
        &req,
        &access,
        &signed_in,
        chosen.link(),
        None,
        Wrong::default(),
        StatusCode::OK,
    )
    .await
}

#[expect(clippy::too_many_arguments, reason = "the parts of one answer")]
async fn render_create<R>(
    app: &App,
    req: &HttpRequest,
    access: &GroupAccess<R>,
    signed_in: &SignedIn,
    wanted: Option<LinkId>,
    sent: Option<(String, CreateValues)>,
    wrong: Wrong,
    status: StatusCode,
) -> AppResult<HttpResponse> {
    let (state, org, group, project) = (
        app.clone(),
        access.org.clone(),
        access.group.clone(),
        access.project.clone(),
    );
    let page = app
        .db
        .read(move |conn| {
            let (reason, form) = match Start::read(conn, &org, &project, wanted)? {
                Ok(start) => {
                    let (key, values) = match sent {
                        Some((key, values)) => (Some(key), values),
                        None => (
                            None,
                            first_values(&state, conn, &org, &group, &project, &start.repo)?,
                        ),
                    };
                    (None, Some(start.create_form(&org, key, values, wrong)))
                }
                Err(reason) => (Some(reason), None),
            };
            Ok::<_, AppError>(FormPage {
                group: group_part(&group, &project),
                reason,
                form,
            })
        })
        .await?;
    shell(app, req, "Create issue", &access.org, signed_in).page_with_status(
        app,
        status,
        "groups/create_ticket.html",
        page,
    )
}

fn group_part(group: &Group, project: &Project) -> GroupPart {
    GroupPart {
        id: group.id.to_string(),
        short_id: group.short_id(project),
        title: group.title.clone(),
    }
}

/// What the form that creates sends.
#[derive(Debug, Deserialize)]
pub struct CreateSent {
    integration: LinkId,
    #[serde(default)]
    client_key: String,
    #[serde(flatten)]
    values: CreateValues,
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
    form: CsrfForm<CreateSent>,
) -> AppResult<HttpResponse> {
    let CreateSent {
        integration,
        client_key,
        values,
    } = form.0;
    let wanted = CreateForm {
        repo: values.repo.clone(),
        title: values.title.clone(),
        description: values.description.clone(),
        issue_type: values.issue_type.clone(),
        priority: values.priority.clone(),
    };
    let (org, group, actor) = (&access.org, &access.group, Actor::of(&access.caller));
    let key = Some(client_key.as_str()).filter(|key| !key.is_empty());
    let made = crate::features::tickets::create(
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
    render_create(
        &app,
        &req,
        &access,
        &signed_in,
        Some(integration),
        sent,
        wrong,
        StatusCode::BAD_REQUEST,
    )
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
    match made {
        Ok(ticket) => on(Flash::ok(format!(
            "{} is {done}.",
            ticket.ticket_key.unwrap_or_default()
        ))),
        Err(TicketError::Pending) => on(Flash::warn(
            "Bitbucket has not answered yet. The issue is being created; it is safe to leave this page.",
        )),
        Err(TicketError::Busy(text, _)) => on(Flash::warn(format!(
            "{} The issue will be created as soon as Bitbucket takes it.",
            sentence(&text)
        ))),
        Err(TicketError::Field(field, text)) => {
            let field = if field == "externalIssue" {
                "external_issue"
            } else {
                field
            };
            Ok(Err(Wrong::field(field, text)))
        }
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
    render_link(
        &app,
        &req,
        &access,
        &signed_in,
        chosen.link(),
        None,
        Wrong::default(),
        StatusCode::OK,
    )
    .await
}

#[expect(clippy::too_many_arguments, reason = "the parts of one answer")]
async fn render_link<R>(
    app: &App,
    req: &HttpRequest,
    access: &GroupAccess<R>,
    signed_in: &SignedIn,
    wanted: Option<LinkId>,
    sent: Option<(String, LinkValues)>,
    wrong: Wrong,
    status: StatusCode,
) -> AppResult<HttpResponse> {
    let (org, group, project) = (
        access.org.clone(),
        access.group.clone(),
        access.project.clone(),
    );
    let page = app
        .db
        .read(move |conn| {
            let (reason, form) = match Start::read(conn, &org, &project, wanted)? {
                Ok(start) => {
                    let (key, values) = match sent {
                        Some((key, values)) => (Some(key), values),
                        None => (
                            None,
                            LinkValues {
                                repo: start.repo.clone(),
                                ..LinkValues::default()
                            },
                        ),
                    };
                    (None, Some(start.link_form(&org, key, values, wrong)))
                }
                Err(reason) => (Some(reason), None),
            };
            Ok::<_, AppError>(FormPage {
                group: group_part(&group, &project),
                reason,
                form,
            })
        })
        .await?;
    shell(app, req, "Link issue", &access.org, signed_in).page_with_status(
        app,
        status,
        "groups/link_ticket.html",
        page,
    )
}

/// What the form that links sends.
#[derive(Debug, Deserialize)]
pub struct LinkSent {
    integration: LinkId,
    #[serde(default)]
    client_key: String,
    #[serde(flatten)]
    values: LinkValues,
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
    form: CsrfForm<LinkSent>,
) -> AppResult<HttpResponse> {
    let LinkSent {
        integration,
        client_key,
        values,
    } = form.0;
    let wanted = LinkForm {
        repo: values.repo.clone(),
        external_issue: values.external_issue.clone(),
        comment: values.comment.clone(),
    };
    let (org, group, actor) = (&access.org, &access.group, Actor::of(&access.caller));
    let linked = crate::features::tickets::link(
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
        Err(TicketError::Busy(text, _)) => (Wrong::form(text), StatusCode::SERVICE_UNAVAILABLE),
        linked => match outcome(&app, &page_of(org, group.id), linked, "linked")? {
            Ok(answer) => return Ok(answer),
            Err(wrong) => (wrong, StatusCode::BAD_REQUEST),
        },
    };
    render_link(
        &app,
        &req,
        &access,
        &signed_in,
        Some(integration),
        Some((client_key, values)),
        wrong,
        status,
    )
    .await
}
