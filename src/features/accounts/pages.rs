//! Pages of people: first owner, sign in and out, settings.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::extract::need;
use super::{
    CsrfForm, Flash, Nothing, Org, OrgAccess, Role, Scope, ScopeSet, Shell, SignedIn,
    clear_session_cookie, create_member, create_org, create_org_token, first_owner_code,
    hash_password, redirect_with, session_cookie, session_token, store, throttle, verify_password,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::{Secret, TokenHash, constant_time_eq, random_hex};

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
    throttle::check(&app, "first-owner")?;
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
            let mut response = redirect_with(&app, &format!("/o/{}/errors/", org.slug), &flash);
            response
                .add_cookie(&session_cookie(&app, token))
                .map_err(AppError::from_foreign)?;
            Ok(response)
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
    let token = random_hex(32);
    let session = TokenHash::of(&token);
    let org = app
        .db
        .write(move |tx| {
            tx.lock_key("accounts:first-owner")?;
            if store::users_exist(tx)? {
                return Err(AppError::not_found());
            }
            let org = create_org(tx, form.org_slug.trim(), &form.org_name, now)?;
            let user = create_member(tx, org.id, &form.email, "", &hash, Role::Owner, now)?;
            store::insert_session(tx, &session, user.id, now, now.plus(SESSION_LIFE))?;
            audit::record(
                tx,
                Some(org.id),
                &user.email,
                "accounts.first_owner",
                &user.email,
                &json!({}),
                now,
            )?;
            Ok(org)
        })
        .await?;
    Ok((token, org))
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
    throttle::check(&app, &format!("sign-in:{email}"))?;
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
    let token = random_hex(32);
    let (hash, now) = (TokenHash::of(&token), app.clock.now());
    app.db
        .write(move |tx| {
            store::purge_sessions(tx, now)?;
            Ok::<_, AppError>(store::insert_session(
                tx,
                &hash,
                user.id,
                now,
                now.plus(SESSION_LIFE),
            )?)
        })
        .await?;
    let mut response = see_other(safe_next(&next));
    response
        .add_cookie(&session_cookie(&app, token))
        .map_err(AppError::from_foreign)?;
    Ok(response)
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

/// Scopes that the settings page offers, with a word about each.
const OFFERED: &[(Scope, &str)] = &[
    (
        Scope::OrgRead,
        "See the organization, its members and integrations",
    ),
    (
        Scope::OrgIntegrations,
        "Use and change connections and repositories",
    ),
    (Scope::OrgCi, "Upload releases from CI"),
    (Scope::ProjectRead, "See projects and their keys"),
    (Scope::ProjectWrite, "Create and change projects"),
    (
        Scope::ProjectReleases,
        "Create releases, set commits and deploys",
    ),
    (Scope::EventRead, "See errors and events"),
    (Scope::EventWrite, "Resolve, ignore and comment errors"),
    (Scope::EventAdmin, "Delete errors"),
];

#[derive(Serialize)]
struct MemberPart {
    name: String,
    email: String,
    initials: String,
    role: Role,
    joined_at: Micros,
    last_seen_at: Option<Micros>,
}

#[derive(Serialize)]
struct TokenPart {
    id: String,
    name: String,
    hint: String,
    scopes: Vec<String>,
    created_at: Micros,
    created_by: String,
    last_used_at: Option<Micros>,
}

/// Members and API tokens.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn settings(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    settings_page(
        &app,
        &req,
        &access.org,
        &signed_in,
        access.may(Scope::OrgAdmin),
        TokenForm::default(),
        None,
        StatusCode::OK,
    )
    .await
}

#[derive(Default)]
struct TokenForm {
    name: String,
    chosen: Vec<String>,
    errors: Map<String, Value>,
}

#[expect(clippy::too_many_arguments, reason = "one page in all its states")]
async fn settings_page(
    app: &App,
    req: &HttpRequest,
    org: &Org,
    signed_in: &SignedIn,
    can_manage: bool,
    form: TokenForm,
    new_token: Option<(String, String)>,
    status: StatusCode,
) -> AppResult<HttpResponse> {
    let id = org.id;
    let (members, tokens) = app
        .db
        .read(move |conn| {
            Ok::<_, AppError>((
                store::list_members(conn, id)?,
                store::list_tokens(conn, id)?,
            ))
        })
        .await?;
    let members: Vec<_> = members
        .into_iter()
        .map(|member| {
            let name = if member.name.is_empty() {
                member.email.clone()
            } else {
                member.name
            };
            let initials = name
                .split([' ', '.', '@'])
                .filter_map(|part| part.chars().next())
                .take(2)
                .collect::<String>();
            MemberPart {
                initials: initials.to_uppercase(),
                name,
                email: member.email,
                role: member.role,
                joined_at: member.since,
                last_seen_at: None,
            }
        })
        .collect();
    let tokens: Vec<_> = tokens
        .into_iter()
        .map(|token| TokenPart {
            id: token.id.to_string(),
            name: token.name,
            hint: format!("sntrys_…{}", token.hint),
            scopes: token.scopes.split(',').map(str::to_owned).collect(),
            created_at: token.created_at,
            created_by: String::new(),
            last_used_at: token.last_used_at,
        })
        .collect();
    let scopes: Vec<_> = OFFERED
        .iter()
        .map(|(scope, hint)| {
            let value = scope.as_str();
            json!({ "value": value, "hint": hint, "checked": form.chosen.iter().any(|chosen| chosen == value) })
        })
        .collect();
    let content = json!({
        "members": members,
        "tokens": tokens,
        "new_token": new_token.map(|(name, token)| json!({ "name": name, "token": token })),
        "scopes": scopes,
        "form": { "values": { "name": form.name }, "errors": form.errors, "form_error": null },
        "can_manage": can_manage,
        "create_user_command":
            format!("tracebucket admin user create --email new@{}.example --org {} --role member", org.slug, org.slug),
    });
    Shell::new(app, req, "Settings", "settings")
        .user(&signed_in.user)
        .org(org)
        .orgs(signed_in.orgs.iter().map(|(org, _)| org))
        .page_with_status(app, status, "accounts/settings.html", content)
}

/// Form of a new token.
#[derive(Deserialize)]
pub struct NewToken {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
}

/// Makes a token and shows it, once, on the page that answers.
///
/// # Errors
/// 403 for who is not an owner; the page again, with what to correct.
pub async fn create_token(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgAdmin>,
    signed_in: SignedIn,
    form: CsrfForm<NewToken>,
) -> AppResult<HttpResponse> {
    let NewToken { name, scopes } = form.0;
    let name = name.trim().chars().take(80).collect::<String>();
    let mut errors = Map::new();
    if name.is_empty() {
        errors.insert(
            "name".into(),
            json!("Give it a name, so that you know it again."),
        );
    }
    let set = ScopeSet::parse(&scopes.join(",")).unwrap_or_default();
    if set == ScopeSet::NONE {
        errors.insert("scopes".into(), json!("Choose at least one scope."));
    }
    let again = TokenForm {
        name: name.clone(),
        chosen: scopes,
        errors,
    };
    if !again.errors.is_empty() {
        return settings_page(
            &app,
            &req,
            &access.org,
            &signed_in,
            true,
            again,
            None,
            StatusCode::BAD_REQUEST,
        )
        .await;
    }
    let (org, actor, now) = (access.org.clone(), access.caller.name(), app.clock.now());
    let public_url = app.config.public_url.to_string();
    let shown = name.clone();
    let token = app
        .db
        .write(move |tx| {
            let token = create_org_token(tx, &org, &name, set, &public_url, now)?;
            let data = json!({ "scopes": set.names() });
            audit::record(
                tx,
                Some(org.id),
                &actor,
                "accounts.create_token",
                &name,
                &data,
                now,
            )?;
            Ok::<_, AppError>(token)
        })
        .await?;
    settings_page(
        &app,
        &req,
        &access.org,
        &signed_in,
        true,
        TokenForm::default(),
        Some((shown, token)),
        StatusCode::OK,
    )
    .await
}

/// Revokes a token.
///
/// # Errors
/// 404 when it is not of this organization.
pub async fn revoke_token(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::OrgAdmin>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (org, id, actor, now) = (access.org.id, path.1, access.caller.name(), app.clock.now());
    app.db
        .write(move |tx| {
            if !store::revoke_token(tx, org, id, now)? {
                return Err(AppError::not_found());
            }
            audit::record(
                tx,
                Some(org),
                &actor,
                "accounts.revoke_token",
                &id.to_string(),
                &json!({}),
                now,
            )?;
            Ok(())
        })
        .await?;
    let back = format!("/o/{}/settings/", access.org.slug);
    Ok(redirect_with(
        &app,
        &back,
        &Flash::ok("The token is revoked; calls with it are refused from now on."),
    ))
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
