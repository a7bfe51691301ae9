//! The pages an admin comes to after installing the app: sign in, choose the organization, confirm.
//!
//! Bitbucket's token proves which installation sent the browser here. Whether its user may give the workspace to
//! an organization is decided by our own session and role alone.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{connect, is_linked, list_links};
use crate::app::App;
use crate::atlassian::descriptor::SETUP_PATH;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{CsrfForm, Org, Role, Shell, SignedIn, session_token};
use crate::features::installs::{self, Opened, TokenRefused};
use crate::kit::clock::Micros;

const CONFIRM_PATH: &str = "/extensions/bitbucket/setup/confirm/";
/// What the confirm page promises.
const GAINS: [&str; 3] = [
    "read the repositories that you add, their commits and pull requests",
    "register one webhook in each of them",
    "create and update issues, and comment on them",
];

/// Query of the pages.
#[derive(Debug, Default, Deserialize)]
pub struct Choice {
    #[serde(default)]
    claim: String,
    #[serde(default)]
    org: String,
}

/// Who the browser comes for.
struct Arrived {
    opened: Arc<Opened>,
    claim: String,
    expires: Micros,
}

/// `GET /extensions/bitbucket/setup/`: with Bitbucket's `?jwt=`, or later with the claim that it gave.
/// Writes nothing; without a session cookie it does not even read.
///
/// # Errors
/// 503 when the database does not answer. A link that is not good is a page with 401.
pub async fn setup(
    app: web::Data<App>,
    req: HttpRequest,
    query: web::Query<Choice>,
) -> AppResult<HttpResponse> {
    let arrived = if query.claim.is_empty() || req.query_string().contains("jwt=") {
        by_token(&app, &req).await
    } else {
        by_claim(&app, &query.claim).await
    };
    let arrived = match arrived {
        Ok(arrived) => arrived,
        Err(TokenRefused::App(error)) => return Err(error),
        Err(refused) => return error_page(&app, &req, &refused),
    };
    match visitor(&req).await? {
        Some(visitor) => choice_page(&app, &req, &arrived, &visitor, &query.org).await,
        None => sign_in_page(&app, &req, &arrived),
    }
}

async fn by_token(app: &App, req: &HttpRequest) -> Result<Arrived, TokenRefused> {
    let opened = installs::authenticate(app, &installs::api::signed_request(req)).await?;
    let (claim, expires) = installs::issue_claim(app, &opened.installation);
    Ok(Arrived {
        opened,
        claim,
        expires,
    })
}

async fn by_claim(app: &App, claim: &str) -> Result<Arrived, TokenRefused> {
    let (opened, expires) = installs::redeem_claim(app, claim)
        .await?
        .ok_or(TokenRefused::UnknownTenant)?;
    Ok(Arrived {
        opened,
        claim: claim.to_owned(),
        expires,
    })
}

/// Who is signed in, if anybody.
async fn visitor(req: &HttpRequest) -> AppResult<Option<SignedIn>> {
    if session_token(req).is_none() {
        return Ok(None);
    }
    match SignedIn::extract(req).await {
        Ok(visitor) => Ok(Some(visitor)),
        Err(error) if error.code() == "unauthenticated" => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct SetupPage<'a> {
    workspace: Named<'a>,
    claim: Option<&'a str>,
    sign_in_url: String,
    confirm_url: &'static str,
    organizations: Vec<OrgChoice<'a>>,
    expires_at: Micros,
}

#[derive(Serialize)]
struct OrgChoice<'a> {
    slug: &'a str,
    name: &'a str,
    role: Role,
    is_linked: bool,
    selected: bool,
}

fn with_claim(path: &str, claim: &str) -> String {
    // A claim is base64url and a dot: nothing to encode.
    format!("{path}?claim={claim}")
}

fn sign_in_page(app: &App, req: &HttpRequest, arrived: &Arrived) -> AppResult<HttpResponse> {
    let workspace = &arrived.opened.installation.principal_name;
    let back: String =
        url::form_urlencoded::byte_serialize(with_claim(SETUP_PATH, &arrived.claim).as_bytes())
            .collect();
    let content = SetupPage {
        workspace: Named { name: workspace },
        claim: None,
        sign_in_url: format!("/sign-in/?next={back}"),
        confirm_url: CONFIRM_PATH,
        organizations: Vec::new(),
        expires_at: arrived.expires,
    };
    page(
        app,
        Shell::new(app, req, format!("Connect {workspace}"), "connections"),
        "installs/setup.html",
        content,
    )
}

/// A page whose address holds a claim. The site's referrer policy (`same-origin`) keeps that address from others;
/// `no-referrer` would also take the `Origin` from our own form, which is then refused.
fn page(
    app: &App,
    shell: Shell,
    template: &str,
    content: impl Serialize,
) -> AppResult<HttpResponse> {
    shell.page(app, template, content)
}

async fn choice_page(
    app: &App,
    req: &HttpRequest,
    arrived: &Arrived,
    visitor: &SignedIn,
    wanted: &str,
) -> AppResult<HttpResponse> {
    let installation = &arrived.opened.installation;
    let managed: Vec<&(Org, Role)> = visitor
        .orgs
        .iter()
        .filter(|(_, role)| role.manages())
        .collect();
    let (ids, id) = (
        managed.iter().map(|(org, _)| org.id).collect::<Vec<_>>(),
        installation.id,
    );
    let linked: Vec<bool> = app
        .db
        .read(move |conn| {
            ids.into_iter()
                .map(|org| Ok::<_, AppError>(is_linked(&list_links(conn, org)?, id)))
                .collect()
        })
        .await?;
    let first_free = managed
        .iter()
        .zip(&linked)
        .find(|(_, linked)| !**linked)
        .map(|((org, _), _)| org.slug.as_str());
    let selected = if managed.iter().any(|(org, _)| org.slug == wanted) {
        Some(wanted)
    } else {
        first_free
    };
    let organizations: Vec<_> = managed
        .iter()
        .zip(&linked)
        .map(|((org, role), linked)| OrgChoice {
            slug: &org.slug,
            name: &org.name,
            role: *role,
            is_linked: *linked,
            selected: selected == Some(org.slug.as_str()),
        })
        .collect();
    let content = SetupPage {
        workspace: Named {
            name: &installation.principal_name,
        },
        claim: (!organizations.is_empty()).then_some(arrived.claim.as_str()),
        sign_in_url: "/sign-in/".to_owned(),
        confirm_url: CONFIRM_PATH,
        organizations,
        expires_at: arrived.expires,
    };
    let shell = signed_in_shell(
        app,
        req,
        &format!("Connect {}", installation.principal_name),
        visitor,
    );
    page(app, shell, "installs/setup.html", content)
}

fn signed_in_shell(app: &App, req: &HttpRequest, title: &str, visitor: &SignedIn) -> Shell {
    Shell::new(app, req, title, "connections")
        .user(&visitor.user)
        .orgs(visitor.orgs.iter().map(|(org, _)| org))
}

/// `GET …/setup/confirm/`: names both sides before anything happens.
///
/// # Errors
/// 403 for who may not manage the organization, 404 for an organization of others.
pub async fn confirm_page(
    app: web::Data<App>,
    req: HttpRequest,
    visitor: SignedIn,
    query: web::Query<Choice>,
) -> AppResult<HttpResponse> {
    let arrived = match by_claim(&app, &query.claim).await {
        Ok(arrived) => arrived,
        Err(TokenRefused::App(error)) => return Err(error),
        Err(refused) => return error_page(&app, &req, &refused),
    };
    let org = managed_org(&visitor, &query.org)?.clone();
    let (org_id, id) = (org.id, arrived.opened.installation.id);
    let is_linked = app
        .db
        .read(move |conn| Ok::<_, AppError>(is_linked(&list_links(conn, org_id)?, id)))
        .await?;
    let workspace = &arrived.opened.installation.principal_name;
    let content = json!({
        "workspace": { "name": workspace },
        "organization": { "slug": org.slug, "name": org.name },
        "gains": GAINS,
        "claim": arrived.claim,
        "confirm_url": CONFIRM_PATH,
        "back_url": with_claim(SETUP_PATH, &arrived.claim),
        "is_linked": is_linked,
    });
    let shell = signed_in_shell(&app, &req, &format!("Connect {workspace}"), &visitor);
    page(&app, shell, "installs/setup_confirm.html", content)
}

fn managed_org<'a>(visitor: &'a SignedIn, slug: &str) -> AppResult<&'a Org> {
    let (org, role) = visitor
        .orgs
        .iter()
        .find(|(org, _)| org.slug == slug)
        .ok_or_else(AppError::not_found)?;
    if role.manages() {
        Ok(org)
    } else {
        Err(AppError::forbidden(
            "Only an owner or manager of the organization can connect a workspace.",
        ))
    }
}

/// `POST …/setup/confirm/`: links the workspace of the claim to the chosen organization.
///
/// # Errors
/// 403 for who may not manage the organization or a form of another site, 404 for an organization of others,
/// 409 when the app was removed meanwhile. A claim that is not good is a page with 401.
pub async fn confirm(
    app: web::Data<App>,
    req: HttpRequest,
    visitor: SignedIn,
    form: CsrfForm<Choice>,
) -> AppResult<HttpResponse> {
    let Choice { claim, org } = form.0;
    let arrived = match by_claim(&app, &claim).await {
        Ok(arrived) => arrived,
        Err(TokenRefused::App(error)) => return Err(error),
        Err(refused) => return error_page(&app, &req, &refused),
    };
    let org = managed_org(&visitor, &org)?;
    let actor = if visitor.user.name.is_empty() {
        &visitor.user.email
    } else {
        &visitor.user.name
    };
    let link = connect(&app, org.id, &arrived.opened.installation, actor).await?;
    let done = format!("/o/{}/connections/{}/done/", org.slug, link.id);
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, done))
        .finish())
}

/// The plain page for a link that is not good (401).
fn error_page(app: &App, req: &HttpRequest, refused: &TokenRefused) -> AppResult<HttpResponse> {
    tracing::info!(code = refused.code(), "a setup link was refused");
    let content = json!({
        "error": {
            "status": 401,
            "title": "Bitbucket’s link was not accepted",
            "detail": format!("It was refused: {refused}."),
            "code": refused.code(),
            "next": [
                "Go back to Bitbucket: Workspace settings → Installed apps, and open Tracebucket again.",
                "If it happens again, compare the clocks of this server and of Bitbucket.",
            ],
            "request_id": null,
        },
    });
    Shell::new(app, req, "Not accepted", "").page_with_status(
        app,
        StatusCode::UNAUTHORIZED,
        "installs/setup_error.html",
        content,
    )
}
