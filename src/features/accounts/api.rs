//! `/api/0` of organizations and projects, in the shapes that `sentry-cli` needs (sentry.md §10.4).

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::need;
use super::{
    AnyAccess, NewProject, Org, OrgAccess, Project, ScopeSet, create_project, require_project,
    store,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::audit;
use crate::kit::web::json::Json;

/// `GET /api/0/`: who the token is.
pub async fn root(access: AnyAccess<need::Any>) -> HttpResponse {
    let scopes = access
        .granted
        .iter()
        .fold(ScopeSet::NONE, |set, granted| set.union(granted.scopes));
    let user = access
        .caller
        .user()
        .map(|user| json!({ "id": user.id.to_string(), "email": user.email, "name": user.name }));
    HttpResponse::Ok()
        .json(json!({ "version": "0", "auth": { "scopes": scopes.names() }, "user": user }))
}

fn org_json(org: &Org) -> Value {
    json!({
        "id": org.id.to_string(),
        "slug": org.slug,
        "name": org.name,
        "dateCreated": org.created_at.to_rfc3339(),
        "isEarlyAdopter": false,
        "require2FA": false,
        "requireEmailVerification": false,
        "status": { "id": "active", "name": "active" },
        "features": [],
    })
}

fn project_json(project: &Project) -> Value {
    json!({
        "id": project.id.to_string(),
        "slug": project.slug,
        "name": project.name,
        "platform": project.platform,
        "status": "active",
        "dateCreated": project.created_at.to_rfc3339(),
        "features": [],
        "isMember": true,
        "hasAccess": true,
    })
}

/// `GET /api/0/organizations/`.
pub async fn list_orgs(access: AnyAccess<need::Any>) -> HttpResponse {
    HttpResponse::Ok().json(
        access
            .granted
            .iter()
            .map(|granted| org_json(&granted.org))
            .collect::<Vec<_>>(),
    )
}

/// `GET /api/0/organizations/{org}/`.
pub async fn org_detail(access: OrgAccess<need::OrgRead>) -> HttpResponse {
    HttpResponse::Ok().json(org_json(&access.org))
}

/// `GET /api/0/organizations/{org}/projects/`.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn list_projects(
    app: web::Data<App>,
    access: OrgAccess<need::ProjectRead>,
) -> AppResult<HttpResponse> {
    let org = access.org.id;
    let projects = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::list_projects(conn, org)?))
        .await?;
    Ok(HttpResponse::Ok().json(projects.iter().map(project_json).collect::<Vec<_>>()))
}

/// Body of a new project.
#[derive(Deserialize)]
pub struct ProjectBody {
    name: String,
    #[serde(default)]
    slug: Option<String>,
    #[serde(default)]
    platform: Option<String>,
}

/// `POST /api/0/organizations/{org}/projects/`.
///
/// # Errors
/// 400 for a bad slug, 409 for a taken one.
pub async fn new_project(
    app: web::Data<App>,
    access: OrgAccess<need::ProjectWrite>,
    body: Json<ProjectBody>,
) -> AppResult<HttpResponse> {
    let body = body.into_inner();
    let new = NewProject {
        slug: body.slug.unwrap_or_else(|| slug_of(&body.name)),
        name: body.name,
        platform: body.platform.unwrap_or_else(|| "other".to_owned()),
    };
    let (org, actor, now) = (access.org.id, access.caller.name(), app.clock.now());
    let (project, _key) = app
        .db
        .write(move |tx| {
            let made = create_project(tx, org, &new, now)?;
            audit::record(
                tx,
                Some(org),
                &actor,
                "accounts.create_project",
                &new.slug,
                &json!({}),
                now,
            )?;
            Ok::<_, AppError>(made)
        })
        .await?;
    Ok(HttpResponse::Created().json(project_json(&project)))
}

/// A slug from a name: lower case, runs of anything else become one hyphen.
#[must_use]
pub fn slug_of(name: &str) -> String {
    let words: Vec<_> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let mut slug = words.join("-");
    slug.truncate(50);
    slug.trim_matches('-').to_owned()
}

/// `GET /api/0/projects/{org}/{project}/`.
///
/// # Errors
/// 404.
pub async fn project_detail(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    access: OrgAccess<need::ProjectRead>,
) -> AppResult<HttpResponse> {
    let (org, wanted) = (access.org.id, path.into_inner().1);
    let project = app
        .db
        .read(move |conn| require_project(conn, org, &wanted))
        .await?;
    Ok(HttpResponse::Ok().json(project_json(&project)))
}

/// `GET /api/0/projects/{org}/{project}/keys/`: the DSNs.
///
/// # Errors
/// 404.
pub async fn project_keys(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    access: OrgAccess<need::ProjectRead>,
) -> AppResult<HttpResponse> {
    let (org, wanted) = (access.org.id, path.into_inner().1);
    let keys = app
        .db
        .read(move |conn| {
            let project = require_project(conn, org, &wanted)?;
            let mut keys = store::list_keys(conn, org)?;
            keys.retain(|key| key.project_id == project.id);
            Ok::<_, AppError>(keys)
        })
        .await?;
    let keys: Vec<_> = keys
        .iter()
        .map(|key| {
            json!({
                "id": key.public_key, "name": key.label, "label": key.label, "public": key.public_key,
                "projectId": key.project_id, "isActive": key.active,
                "dsn": { "public": super::dsn(&app.config.public_url, key) },
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(keys))
}
