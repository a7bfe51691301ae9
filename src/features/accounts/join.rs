//! The page behind an invitation's link. The code is in the query, which is never logged, or in the form.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::pages::{signed_in_answer, start_session};
use super::{
    CsrfForm, Flash, Invitation, Joiner, Shell, SignedIn, User, UserId, find_invitation,
    hash_password, members, redirect_with,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::kit::crypto::Secret;

/// The code of the link.
#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    code: String,
}

/// Form of the page; name and password only from somebody new.
#[derive(Deserialize)]
pub struct Join {
    #[serde(default)]
    code: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

/// What the visitor has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// Choose a password.
    New,
    /// Sign in: the account is there.
    SignIn,
    /// Sign out: this is somebody else's invitation.
    Other,
    /// Confirm.
    Confirm,
    /// Nothing: the link is used, withdrawn or too old.
    Gone,
}

/// `GET /join/?code=…`.
///
/// # Errors
/// 503 when the database does not answer; an unknown code is a page with status 404.
pub async fn page(
    app: web::Data<App>,
    req: HttpRequest,
    link: web::Query<Link>,
) -> AppResult<HttpResponse> {
    let code = link.into_inner().code;
    let invitation = lookup(&app, &code).await?;
    let visitor = visitor(&req).await?;
    render(
        &app,
        &req,
        &code,
        invitation.as_ref(),
        visitor.as_ref(),
        "",
        &Map::new(),
    )
}

async fn lookup(app: &App, code: &str) -> AppResult<Option<Invitation>> {
    let (code, now) = (code.to_owned(), app.clock.now());
    app.db
        .read(move |conn| find_invitation(conn, &code, now))
        .await
}

async fn visitor(req: &HttpRequest) -> AppResult<Option<User>> {
    use actix_web::FromRequest;
    match SignedIn::extract(req).await {
        Ok(signed_in) => Ok(Some(signed_in.user)),
        Err(error) if error.code() == "unauthenticated" => Ok(None),
        Err(error) => Err(error),
    }
}

fn step(invitation: &Invitation, visitor: Option<&User>) -> Step {
    match (visitor, &invitation.account) {
        (Some(visitor), Some(account)) if visitor.id == account.id => Step::Confirm,
        (Some(_), _) => Step::Other,
        (None, Some(_)) => Step::SignIn,
        (None, None) => Step::New,
    }
}

fn render(
    app: &App,
    req: &HttpRequest,
    code: &str,
    invitation: Option<&Invitation>,
    visitor: Option<&User>,
    name: &str,
    errors: &Map<String, Value>,
) -> AppResult<HttpResponse> {
    let step = invitation.map_or(Step::Gone, |invitation| step(invitation, visitor));
    let status = match step {
        Step::Gone => StatusCode::NOT_FOUND,
        _ if errors.is_empty() => StatusCode::OK,
        _ => StatusCode::BAD_REQUEST,
    };
    let title = match invitation {
        Some(invitation) => format!("Join {}", invitation.org.name),
        None => "Invitation".to_owned(),
    };
    let back: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("next", &format!("/join/?code={code}"))
        .finish();
    let content = json!({
        "step": step,
        "code": code,
        "sign_in_url": format!("/sign-in/?{back}"),
        "invitation": invitation.map(|invitation| json!({
            "org_name": invitation.org.name,
            "email": invitation.row.email,
            "role": invitation.row.role,
            "invited_by": invitation.row.invited_by,
            "expires_at": invitation.row.expires_at,
        })),
        "visitor": visitor.map(|user| &user.email),
        "values": { "name": name },
        "errors": errors,
    });
    Shell::new(app, req, title, "").page_with_status(app, status, "accounts/join.html", content)
}

/// `POST /join/`: makes the account where there is none, and the member.
///
/// # Errors
/// 403 for a form of another site; the page again, with what to correct.
pub async fn submit(
    app: web::Data<App>,
    req: HttpRequest,
    form: CsrfForm<Join>,
) -> AppResult<HttpResponse> {
    let Join {
        code,
        name,
        password,
    } = form.0;
    let name: String = name.trim().chars().take(100).collect();
    let invitation = lookup(&app, &code).await?;
    let visitor = visitor(&req).await?;
    let again = |errors: &Map<String, Value>| {
        render(
            &app,
            &req,
            &code,
            invitation.as_ref(),
            visitor.as_ref(),
            &name,
            errors,
        )
    };
    let Some(found) = &invitation else {
        return again(&Map::new());
    };
    match (step(found, visitor.as_ref()), &visitor) {
        (Step::Confirm, Some(user)) => confirm(&app, code.clone(), user.id).await,
        (Step::New, _) => match hash_password(Secret::new(password)).await {
            Ok(hash) => begin(&app, code.clone(), name.clone(), hash).await,
            Err(error) if error.code() == "invalid" => {
                let mut errors = Map::new();
                errors.insert("password".into(), json!(error.detail()));
                again(&errors)
            }
            Err(error) => Err(error),
        },
        _ => again(&Map::new()),
    }
}

/// Makes a member of an account that is there.
async fn confirm(app: &App, code: String, user: UserId) -> AppResult<HttpResponse> {
    let now = app.clock.now();
    let (org, _) = app
        .db
        .write(move |tx| members::join(tx, &code, &Joiner::Account(user), now))
        .await?;
    let welcome = Flash::ok(format!("You are a member of {} now.", org.name));
    Ok(redirect_with(
        app,
        &format!("/o/{}/errors/", org.slug),
        &welcome,
    ))
}

/// Makes account and member, and signs the person in.
async fn begin(app: &App, code: String, name: String, hash: String) -> AppResult<HttpResponse> {
    let now = app.clock.now();
    let (org, session) = app
        .db
        .write(move |tx| {
            let joiner = Joiner::New {
                name: &name,
                password_hash: &hash,
            };
            let (org, user) = members::join(tx, &code, &joiner, now)?;
            Ok::<_, AppError>((org, start_session(tx, user.id, now)?))
        })
        .await?;
    let welcome = Flash::ok(format!("Welcome. You are a member of {} now.", org.name));
    let to = format!("/o/{}/errors/", org.slug);
    signed_in_answer(app, &to, session, Some(&welcome))
}
