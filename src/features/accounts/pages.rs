//! Pages of people: first owner, sign in and out.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    CsrfForm, Flash, Nothing, Org, Role, Shell, SignedIn, UserId, clear_session_cookie,
    create_member, create_org, first_owner_code, hash_password, redirect_with, session_cookie,
    session_token, store, throttle, verify_password,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::{Secret, TokenHash, constant_time_eq, random_hex};
use crate::kit::db::Tx;

/// How long a browser stays signed in.
const SESSION_LIFE: Duration = Duration::from_secs(14 * 86_400);

/// `/`: to the errors of the first organization, to the sign-in page, or to the first-owner page.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn root(app: web::Data<App>, req: HttpRequest) -> AppResult<HttpResponse> {
    use actix_web::FromRequest;
    if first_owner_code(&app).await?.is_some() {
        return Ok(see_other("/welcome/"));
    }
    match SignedIn::extract(&req).await {
        Ok(signed_in) => Ok(match signed_in.orgs.first() {
            Some((org, _)) => see_other(&format!("/o/{}/errors/", org.slug)),
            None => {
                return Err(AppError::forbidden(
                    "You are not a member of any organization yet.",
                ));
            }
        }),
        Err(_) => Ok(see_other("/sign-in/")),
    }
}

fn see_other(to: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to))
        .finish()
}

/// Only a path of ours: a full URL or `//host` would send a person who just signed in elsewhere.
fn safe_next(next: &str) -> &str {
    let ours =
        next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if ours { next } else { "/" }
}

#[derive(Serialize)]
struct FormPage {
    values: Value,
    errors: Value,
    form_error: Option<String>,
}

/// Form of the first-owner page.
#[derive(Deserialize, Default, Clone)]
pub struct Welcome {
    #[serde(default)]
    org_name: String,
    #[serde(default)]
    org_slug: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
}

/// The first-owner page; 404 once a user exists.
///
/// # Errors
/// 404.
pub async fn welcome(app: web::Data<App>, req: HttpRequest) -> AppResult<HttpResponse> {
    first_owner_code(&app)
        .await?
        .ok_or_else(AppError::not_found)?;
    welcome_page(&app, &req, &Welcome::default(), &Map::new(), StatusCode::OK)
}

fn welcome_page(
    app: &App,
    req: &HttpRequest,
    form: &Welcome,
    errors: &Map<String, Value>,
    status: StatusCode,
) -> AppResult<HttpResponse> {
    let content = FormPage {
        values: json!({ "org_name": form.org_name, "org_slug": form.org_slug, "email": form.email, "code": form.code }),
        errors: Value::Object(errors.clone()),
        form_error: (!errors.is_empty())
            .then(|| "Nothing was created yet. Please correct the fields marked below.".into()),
    };
    Shell::new(app, req, "Set up Tracebucket", "").page_with_status(
        app,
        status,
        "accounts/first_owner.html",
        content,
    )
}

/// Makes the first organization and its owner, once, for who has the code of the terminal.
///
/// # Errors
/// 404 once a user exists; the page again, with what to correct.
pub async fn welcome_submit(
    app: web::Data<App>,
    req: HttpRequest,
    form: CsrfForm<Welcome>,
) -> AppResult<HttpResponse> {
    let code = first_owner_code(&app)
        .await?
        .ok_or_else(AppError::not_found)?;
    let form = form.0;
    throttle::first_owner(&app, &req)?;
    let mut errors = Map::new();
    if !constant_time_eq(form.code.trim().as_bytes(), code.as_bytes()) {
        errors.insert(
            "code".into(),
            json!("That is not the code on the terminal."),
        );
        return welcome_page(&app, &req, &form, &errors, StatusCode::BAD_REQUEST);
    }
    let made = match hash_password(Secret::new(form.password.clone())).await {
        Ok(hash) => make_first_owner(&app, &form, hash).await,
        Err(error) => Err(error),
    };
    match made {
        Ok((token, org)) => {
            let flash = Flash::ok("Welcome. This page is gone now; invite others from Settings.");
            signed_in_answer(
                &app,
                &format!("/o/{}/errors/", org.slug),
                token,
                Some(&flash),
            )
        }
        Err(error) if error.code() == "invalid" || error.code() == "conflict" => {
            let field = if error.detail().contains("slug") {
                "org_slug"
            } else if error.detail().contains("password") {
                "password"
            } else {
                "email"
            };
            errors.insert(field.into(), json!(error.detail()));
            welcome_page(&app, &req, &form, &errors, StatusCode::BAD_REQUEST)
        }
        Err(error) => Err(error),
    }
}

async fn make_first_owner(app: &App, form: &Welcome, hash: String) -> AppResult<(String, Org)> {
    let (form, now) = (form.clone(), app.clock.now());
    app.db
        .write(move |tx| {
            tx.lock_key("accounts:first-owner")?;
            if store::users_exist(tx)? {
                return Err(AppError::not_found());
            }
            let org = create_org(tx, form.org_slug.trim(), &form.org_name, now)?;
            let user = create_member(tx, org.id, &form.email, "", &hash, Role::Owner, now)?;
            let session = start_session(tx, user.id, now)?;
            audit::record(
                tx,
                Some(org.id),
                &user.email,
                "accounts.first_owner",
                &user.email,
                &json!({}),
                now,
            )?;
            Ok((session, org))
        })
        .await
}

/// A new session of a person; answers its token, which is stored only as a hash.
pub(super) fn start_session(tx: &mut Tx<'_>, user: UserId, now: Micros) -> AppResult<String> {
    let token = random_hex(32);
    let expires = now.plus(SESSION_LIFE);
    store::insert_session(tx, &TokenHash::of(&token), user, now, expires)?;
    Ok(token)
}

/// Sends a person on who has just signed in.
pub(super) fn signed_in_answer(
    app: &App,
    to: &str,
    session: String,
    flash: Option<&Flash>,
) -> AppResult<HttpResponse> {
    let mut response = match flash {
        Some(flash) => redirect_with(app, to, flash),
        None => see_other(to),
    };
    response
        .add_cookie(&session_cookie(app, session))
        .map_err(AppError::from_foreign)?;
    Ok(response)
}

/// Where to go after signing in.
#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// The sign-in page.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn sign_in(
    app: web::Data<App>,
    req: HttpRequest,
    query: web::Query<Next>,
) -> AppResult<HttpResponse> {
    if first_owner_code(&app).await?.is_some() {
        return Ok(see_other("/welcome/"));
    }
    let next = safe_next(&query.next);
    let reason = (next != "/").then_some("Sign in to go on.");
    sign_in_page(&app, &req, next, reason, "", None, StatusCode::OK)
}

fn sign_in_page(
    app: &App,
    req: &HttpRequest,
    next: &str,
    reason: Option<&str>,
    email: &str,
    form_error: Option<&str>,
    status: StatusCode,
) -> AppResult<HttpResponse> {
    let content = json!({
        "next": next, "reason": reason, "values": { "email": email }, "errors": {}, "form_error": form_error,
    });
    Shell::new(app, req, "Sign in", "").page_with_status(
        app,
        status,
        "accounts/sign_in.html",
        content,
    )
}

/// Form of the sign-in page.
#[derive(Deserialize)]
pub struct SignIn {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// Signs in: a new session at every sign-in, none taken over.
///
/// # Errors
/// 429 after too many tries; the page again when e-mail and password do not match.
pub async fn sign_in_submit(
    app: web::Data<App>,
    req: HttpRequest,
    form: CsrfForm<SignIn>,
) -> AppResult<HttpResponse> {
    let SignIn {
        email,
        password,
        next,
    } = form.0;
    let email = email.trim().to_lowercase();
    throttle::sign_in(&app, &req, &email)?;
    let wanted = email.clone();
    let user = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::user_by_email(conn, &wanted)?))
        .await?;
    let user = user.filter(|user| user.active);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let matches = verify_password(Secret::new(password), hash).await?;
    let (Some(user), true) = (user, matches) else {
        tracing::info!("a sign-in was refused");
        let error = Some("E-mail and password do not match an account.");
        return sign_in_page(
            &app,
            &req,
            safe_next(&next),
            None,
            &email,
            error,
            StatusCode::BAD_REQUEST,
        );
    };
    let now = app.clock.now();
    let session = app
        .db
        .write(move |tx| {
            store::purge_sessions(tx, now)?;
            start_session(tx, user.id, now)
        })
        .await?;
    signed_in_answer(&app, safe_next(&next), session, None)
}

/// Ends the session, in the database and in the browser.
///
/// # Errors
/// 403 for a form of another site.
pub async fn sign_out(
    app: web::Data<App>,
    req: HttpRequest,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    if let Some(token) = session_token(&req) {
        let hash = TokenHash::of(&token);
        app.db
            .write(move |tx| Ok::<_, AppError>(store::delete_session(tx, &hash)?))
            .await?;
    }
    let mut response = redirect_with(&app, "/sign-in/", &Flash::ok("You are signed out."));
    response
        .add_cookie(&clear_session_cookie(&app))
        .map_err(AppError::from_foreign)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::safe_next;

    #[test]
    fn only_paths_of_ours_are_followed_after_sign_in() {
        assert_eq!(safe_next("/o/acme/errors/?q=1"), "/o/acme/errors/?q=1");
        for bad in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "javascript:x",
            "/a\r\nb",
        ] {
            assert_eq!(safe_next(bad), "/", "{bad:?}");
        }
    }
}
