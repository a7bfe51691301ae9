//! The console's page of projects: each with its DSN and how busy it is, and the form for a new one.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::store;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    self, CsrfForm, Flash, NewProject, OrgAccess, OrgId, Project, ProjectId, Scope, Shell,
    SignedIn, need, redirect_with,
};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::db::Conn;

/// Platforms with lines to paste on the page.
const PLATFORMS: [(&str, &str); 4] = [
    ("python", "Python"),
    ("node", "Node.js"),
    ("javascript", "Browser"),
    ("rust", "Rust"),
];
/// Longest name, in characters.
const NAME_LIMIT: usize = 64;
const DAY_HOURS: i64 = 24;

/// How busy a project is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busy {
    /// Unresolved groups.
    pub(super) open_groups: i64,
    /// Events of the last 24 hours.
    pub(super) events: i64,
    /// When the latest event arrived.
    pub(super) last_event: Option<Micros>,
}

#[derive(Serialize)]
struct ProjectRow {
    slug: String,
    name: String,
    platform: Option<String>,
    dsn: String,
    open_groups: i64,
    events_24h: i64,
    last_event_at: Option<Micros>,
    is_open: bool,
}

/// The form for a new project, as sent.
#[derive(Debug, Default, Clone, Deserialize, Serialize)]
pub struct ProjectForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    slug: String,
    #[serde(default)]
    platform: String,
}

/// Which project is unfolded: the one that was just made.
#[derive(Debug, Default, Deserialize)]
pub struct Opened {
    #[serde(default)]
    open: String,
}

/// `GET /o/{org}/settings/projects/`.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn page(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::ProjectRead>,
    signed_in: SignedIn,
    query: web::Query<Opened>,
) -> AppResult<HttpResponse> {
    let form = (ProjectForm::default(), Map::new());
    render(
        &app,
        &req,
        &access,
        &signed_in,
        &query.open,
        form,
        StatusCode::OK,
    )
    .await
}

async fn render<R>(
    app: &App,
    req: &HttpRequest,
    access: &OrgAccess<R>,
    signed_in: &SignedIn,
    open: &str,
    (values, errors): (ProjectForm, Map<String, Value>),
    status: StatusCode,
) -> AppResult<HttpResponse> {
    let (org, state, open) = (access.org.id, app.clone(), open.to_owned());
    let projects = app
        .db
        .read(move |conn| rows(conn, &state, org, &open))
        .await?;
    let platforms: Vec<_> = PLATFORMS
        .iter()
        .map(|(value, label)| json!({ "value": value, "label": label }))
        .collect();
    let content = json!({
        "projects": projects,
        "platforms": platforms,
        "can_manage": access.may(Scope::ProjectWrite),
        "form": { "values": values, "errors": errors, "form_error": null },
    });
    Shell::of_org(app, req, "Projects", "settings", &access.org, signed_in).page_with_status(
        app,
        status,
        "accounts/projects.html",
        content,
    )
}

fn rows(conn: &mut Conn, app: &App, org: OrgId, open: &str) -> AppResult<Vec<ProjectRow>> {
    let projects = accounts::list_projects(conn, org)?;
    let keys = accounts::list_keys(conn, org)?;
    let since = app.clock.now().secs() / 3_600 - DAY_HOURS + 1;
    let busy: HashMap<ProjectId, Busy> = store::busy(conn, org, since)?;
    let only = projects.len() == 1;
    Ok(projects
        .into_iter()
        .map(|project| {
            let key = keys
                .iter()
                .find(|key| key.project_id == project.id && key.active);
            let busy = busy.get(&project.id).copied().unwrap_or_default();
            ProjectRow {
                dsn: key
                    .map(|key| accounts::dsn(&app.config.public_url, key))
                    .unwrap_or_default(),
                open_groups: busy.open_groups,
                events_24h: busy.events,
                last_event_at: busy.last_event,
                is_open: only || project.slug == open,
                platform: Some(project.platform)
                    .filter(|platform| !platform.is_empty() && platform != "other"),
                slug: project.slug,
                name: project.name,
            }
        })
        .collect())
}

/// `POST /o/{org}/settings/projects/`: makes a project with its DSN.
///
/// # Errors
/// The page again, with what to correct: 400 for a bad name or short name, 409 for a taken one.
pub async fn create(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::ProjectWrite>,
    signed_in: SignedIn,
    form: CsrfForm<ProjectForm>,
) -> AppResult<HttpResponse> {
    let form = form.0;
    let (field, text, status) = match make(&app, &access, &form).await {
        Ok(project) => {
            let to = format!(
                "/o/{0}/settings/projects/?open={1}#project-{1}",
                access.org.slug, project.slug
            );
            let flash = Flash::ok(format!(
                "The project {} is ready. Give your program its DSN.",
                project.name
            ));
            return Ok(redirect_with(&app, &to, &flash));
        }
        Err(Refused::Name) => {
            let text = format!("A name has 1 to {NAME_LIMIT} characters.");
            ("name", text, StatusCode::BAD_REQUEST)
        }
        Err(Refused::Other(error)) => match error.code() {
            "invalid" => ("slug", error.detail().to_owned(), StatusCode::BAD_REQUEST),
            "conflict" => {
                let text = "Another project uses this short name.".to_owned();
                ("slug", text, StatusCode::CONFLICT)
            }
            _ => return Err(error),
        },
    };
    let mut errors = Map::new();
    errors.insert(field.into(), json!(text));
    render(&app, &req, &access, &signed_in, "", (form, errors), status).await
}

/// Why a project was not made.
enum Refused {
    Name,
    Other(AppError),
}

impl From<AppError> for Refused {
    fn from(error: AppError) -> Self {
        Self::Other(error)
    }
}

async fn make(
    app: &App,
    access: &OrgAccess<need::ProjectWrite>,
    form: &ProjectForm,
) -> Result<Project, Refused> {
    let name = form.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_LIMIT {
        return Err(Refused::Name);
    }
    let known = PLATFORMS.iter().any(|(value, _)| *value == form.platform);
    let new = NewProject {
        slug: form.slug.trim().to_owned(),
        name,
        platform: if known { &form.platform } else { "other" }.to_owned(),
    };
    let (org, actor, now) = (access.org.id, access.caller.name(), app.clock.now());
    let made = app.db.write(move |tx| {
        let (project, _) = accounts::create_project(tx, org, &new, now)?;
        let (action, data) = ("accounts.create_project", json!({}));
        audit::record(tx, Some(org), &actor, action, &new.slug, &data, now)?;
        Ok::<_, AppError>(project)
    });
    Ok(made.await?)
}
