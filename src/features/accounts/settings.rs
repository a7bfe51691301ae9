//! The settings page of an organization: members, invitations and API tokens.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::extract::need;
use super::shell::shown_as;
use super::store::InvitationRow;
use super::token_form::{NewToken, TokenForm, TokenPart};
use super::{
    CsrfForm, Flash, MemberRow, Nothing, Org, OrgAccess, Role, Scope, ScopeSet, Shell, SignedIn,
    UserId, create_org_token, members, redirect_with, store,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::audit;
use crate::kit::clock::Micros;

/// Roles as the forms offer them, the least first.
const ROLES: [(Role, &str); 3] = [
    (Role::Member, "Member"),
    (Role::Manager, "Manager"),
    (Role::Owner, "Owner"),
];

#[derive(Serialize)]
struct MemberPart {
    id: UserId,
    name: String,
    email: String,
    initials: String,
    role: Role,
    joined_at: Micros,
    only_owner: bool,
}

impl MemberPart {
    fn of(member: MemberRow, owners: usize) -> Self {
        let (name, initials) = shown_as(&member.name, &member.email);
        Self {
            id: member.user_id,
            name,
            email: member.email,
            initials,
            role: member.role,
            joined_at: member.since,
            only_owner: member.role == Role::Owner && owners == 1,
        }
    }
}

#[derive(Serialize)]
struct InvitationPart {
    id: String,
    email: String,
    role: Role,
    invited_by: String,
    expires_at: Micros,
}

impl From<InvitationRow> for InvitationPart {
    fn from(row: InvitationRow) -> Self {
        Self {
            id: row.id.to_string(),
            email: row.email,
            role: row.role,
            invited_by: row.invited_by,
            expires_at: row.expires_at,
        }
    }
}

/// Members, invitations and API tokens.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn settings(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let can_manage = access.may(Scope::OrgAdmin);
    render(
        &app,
        &req,
        &access.org,
        &signed_in,
        can_manage,
        Shown::default(),
    )
    .await
}

/// What the page shows beyond what is stored: an answer to one of its forms.
#[derive(Default)]
struct Shown {
    token_form: TokenForm,
    new_token: Option<(String, String)>,
    invite_form: InviteForm,
    /// E-mail and link, shown once.
    new_invitation: Option<(String, String)>,
    /// Why a change of a member was refused.
    member_error: Option<String>,
    refused: Option<StatusCode>,
}

#[derive(Default)]
struct InviteForm {
    email: String,
    role: Option<Role>,
    errors: Map<String, Value>,
}

impl InviteForm {
    /// What the template reads as `invite`.
    fn content(&self) -> Value {
        let role = self.role.unwrap_or(Role::Member);
        json!({ "values": { "email": self.email, "role": role }, "errors": self.errors })
    }
}

async fn render(
    app: &App,
    req: &HttpRequest,
    org: &Org,
    signed_in: &SignedIn,
    can_manage: bool,
    shown: Shown,
) -> AppResult<HttpResponse> {
    let (id, now) = (org.id, app.clock.now());
    let (members, invitations, tokens) = app
        .db
        .read(move |conn| {
            Ok::<_, AppError>((
                store::list_members(conn, id)?,
                store::list_invitations(conn, id, now)?,
                store::list_tokens(conn, id)?,
            ))
        })
        .await?;
    let owners = members.iter().filter(|m| m.role == Role::Owner).count();
    let members = members.into_iter().map(|row| MemberPart::of(row, owners));
    let invitations = invitations.into_iter().map(InvitationPart::from);
    let tokens = tokens.into_iter().map(TokenPart::from);
    let roles = ROLES.map(|(role, label)| json!({ "value": role, "label": label }));
    let content = json!({
        "members": members.collect::<Vec<_>>(),
        "member_error": shown.member_error,
        "invitations": invitations.collect::<Vec<_>>(),
        "new_invitation": shown.new_invitation.map(|(email, link)| json!({ "email": email, "link": link })),
        "roles": roles,
        "invite": shown.invite_form.content(),
        "tokens": tokens.collect::<Vec<_>>(),
        "new_token": shown.new_token.map(|(name, token)| json!({ "name": name, "token": token })),
        "scopes": shown.token_form.offered(ScopeSet::all()),
        "form": shown.token_form.content(),
        "can_manage": can_manage,
    });
    let status = shown.refused.unwrap_or(StatusCode::OK);
    Shell::of_org(app, req, "Settings", "settings", org, signed_in).page_with_status(
        app,
        status,
        "accounts/settings.html",
        content,
    )
}

fn back(app: &App, org: &Org, flash: &Flash) -> HttpResponse {
    redirect_with(app, &format!("/o/{}/settings/", org.slug), flash)
}

/// Form of an invitation.
#[derive(Deserialize)]
pub struct NewInvitation {
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
}

/// Makes an invitation and shows its link, once, on the page that answers.
///
/// # Errors
/// 403 for who is not an owner; the page again, with what to correct.
pub async fn invite(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgAdmin>,
    signed_in: SignedIn,
    form: CsrfForm<NewInvitation>,
) -> AppResult<HttpResponse> {
    let email = form.0.email.trim().to_lowercase();
    let mut shown = Shown {
        invite_form: InviteForm {
            email: email.clone(),
            role: Role::parse(&form.0.role),
            errors: Map::new(),
        },
        ..Shown::default()
    };
    let made = match shown.invite_form.role {
        Some(role) => {
            let (org, actor, now) = (access.org.id, access.caller.name(), app.clock.now());
            let email = email.clone();
            app.db
                .write(move |tx| members::invite(tx, org, &actor, &email, role, now))
                .await
        }
        None => Err(AppError::field("role", "Choose a role.")),
    };
    match made {
        Ok(code) => {
            let base = app.config.public_url.as_str().trim_end_matches('/');
            shown.new_invitation = Some((email, format!("{base}/join/?code={code}")));
            shown.invite_form = InviteForm::default();
        }
        Err(error) => {
            use actix_web::ResponseError;
            if !matches!(error.code(), "invalid" | "conflict") {
                return Err(error);
            }
            let field = if shown.invite_form.role.is_none() {
                "role"
            } else {
                "email"
            };
            shown
                .invite_form
                .errors
                .insert(field.into(), json!(error.detail()));
            shown.refused = Some(error.status_code());
        }
    }
    render(&app, &req, &access.org, &signed_in, true, shown).await
}

/// Makes an invitation useless.
///
/// # Errors
/// 404 when it is gone already, or of another organization.
pub async fn withdraw(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::OrgAdmin>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (org, id, actor, now) = (access.org.id, path.1, access.caller.name(), app.clock.now());
    app.db
        .write(move |tx| members::withdraw(tx, org, &actor, id, now))
        .await?;
    let done = Flash::ok("The invitation is withdrawn; its link does nothing any more.");
    Ok(back(&app, &access.org, &done))
}

/// Form of a role.
#[derive(Deserialize)]
pub struct NewRole {
    #[serde(default)]
    role: String,
}

/// Changes the role of a member.
///
/// # Errors
/// 404 for who is not a member; the page again, with status 409, for the last owner.
pub async fn change_role(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, UserId)>,
    access: OrgAccess<need::OrgAdmin>,
    signed_in: SignedIn,
    form: CsrfForm<NewRole>,
) -> AppResult<HttpResponse> {
    let role = Role::parse(&form.0.role)
        .ok_or_else(|| AppError::field("role", "A role is owner, manager or member."))?;
    let (org, user, actor, now) = (access.org.id, path.1, access.caller.name(), app.clock.now());
    let changed = app
        .db
        .write(move |tx| members::change_role(tx, org, &actor, user, role, now))
        .await;
    match changed {
        Ok(member) => {
            let done = Flash::ok(format!("{} is {role} now.", member.email));
            Ok(back(&app, &access.org, &done))
        }
        Err(error) => refused(&app, &req, &access, &signed_in, error).await,
    }
}

/// Takes a member out of the organization.
///
/// # Errors
/// 404 for who is not a member; the page again, with status 409, for the last owner.
pub async fn remove(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, UserId)>,
    access: OrgAccess<need::OrgAdmin>,
    signed_in: SignedIn,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (org, user, actor, now) = (access.org.id, path.1, access.caller.name(), app.clock.now());
    let removed = app
        .db
        .write(move |tx| members::remove(tx, org, &actor, user, now))
        .await;
    match removed {
        // Who took themselves out has no settings page to go back to.
        Ok(member) if member.id == signed_in.user.id => {
            let done = Flash::ok(format!("You left {}.", access.org.name));
            Ok(redirect_with(&app, "/", &done))
        }
        Ok(member) => {
            let done = Flash::ok(format!("{} is not a member any more.", member.email));
            Ok(back(&app, &access.org, &done))
        }
        Err(error) => refused(&app, &req, &access, &signed_in, error).await,
    }
}

async fn refused(
    app: &App,
    req: &HttpRequest,
    access: &OrgAccess<need::OrgAdmin>,
    signed_in: &SignedIn,
    error: AppError,
) -> AppResult<HttpResponse> {
    use actix_web::ResponseError;
    if error.code() != "conflict" {
        return Err(error);
    }
    let shown = Shown {
        member_error: Some(error.detail().to_owned()),
        refused: Some(error.status_code()),
        ..Shown::default()
    };
    render(app, req, &access.org, signed_in, true, shown).await
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
    let (name, set) = match form.0.check() {
        Ok(given) => given,
        Err(again) => {
            let shown = Shown {
                token_form: again,
                refused: Some(StatusCode::BAD_REQUEST),
                ..Shown::default()
            };
            return render(&app, &req, &access.org, &signed_in, true, shown).await;
        }
    };
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
    let shown = Shown {
        new_token: Some((shown, token)),
        ..Shown::default()
    };
    render(&app, &req, &access.org, &signed_in, true, shown).await
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
    let done = Flash::ok("The token is revoked; calls with it are refused from now on.");
    Ok(back(&app, &access.org, &done))
}
