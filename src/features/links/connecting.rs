//! The console's way to a new connection, or to a new credential of one: choose by what you have, give it, see it
//! tested, and only then is it kept. For OAuth the browser goes to Bitbucket and comes back with a code.

pub mod consent;
mod keep;
mod words;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::json;

use self::consent::go_to_bitbucket;
use self::keep::{Wish, keep, kept, try_out};
use self::words::words;
use super::check::Report;
use super::named::{self, Given};
use super::store::{self, Link};
use super::{CredentialKind, LinkId, server};
use crate::app::App;
use crate::atlassian::descriptor::DESCRIPTOR_PATH;
use crate::bitbucket::oauth::Consumer;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{CsrfForm, OrgAccess, OrgId, Shell, SignedIn, need};
use crate::kit::clock::Micros;
use crate::kit::crypto::Secret;

/// Where Bitbucket sends the browser back to.
pub const CALLBACK_PATH: &str = "/extensions/bitbucket/oauth/callback/";
/// The kinds that a form takes, in the order of the page.
const OFFERED: [CredentialKind; 8] = [
    CredentialKind::OauthCode,
    CredentialKind::ClientCredentials,
    CredentialKind::ApiToken,
    CredentialKind::WorkspaceToken,
    CredentialKind::ProjectToken,
    CredentialKind::RepositoryToken,
    CredentialKind::AppPassword,
    CredentialKind::DataCenter,
];

/// What a form sends.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConnectForm {
    /// Id of the workspace; of Data Center the base URL.
    workspace: String,
    label: String,
    purpose: String,
    private: String,
    expires_on: String,
    /// Key of the consumer, e-mail or user name.
    user: String,
    /// Secret of the consumer, token or password.
    secret: Option<Secret>,
    /// Authorities of a Data Center server's certificate, as PEM.
    ca: String,
}

fn kind_of(word: &str) -> AppResult<CredentialKind> {
    CredentialKind::parse(word)
        .filter(|kind| OFFERED.contains(kind))
        .ok_or_else(AppError::not_found)
}

/// `GET …/connections/new/`: what do you have?
///
/// # Errors
/// 403 for who may not connect.
pub async fn choose(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::Integrations>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let content = json!({
        "ways": OFFERED.iter().map(|kind| words(&app, *kind, "")).collect::<Vec<_>>(),
        "descriptor_url": app.config.absolute(DESCRIPTOR_PATH),
    });
    Shell::of_org(
        &app,
        &req,
        "Connect a workspace",
        "connections",
        &access.org,
        &signed_in,
    )
    .page(&app, "links/new.html", content)
}

struct Shown<'a> {
    kind: CredentialKind,
    link: Option<&'a Link>,
    form: &'a ConnectForm,
    report: Option<&'a Report>,
    error: Option<&'a str>,
}

fn form_page(
    app: &App,
    req: &HttpRequest,
    access: &OrgAccess<need::Integrations>,
    signed_in: &SignedIn,
    shown: &Shown<'_>,
) -> AppResult<HttpResponse> {
    let (slug, form) = (&access.org.slug, shown.form);
    let (action, title) = match shown.link {
        Some(link) => (
            format!(
                "/o/{slug}/connections/{}/reauthorise/?kind={}",
                link.id, shown.kind
            ),
            format!("Re-authorise {}", link.title()),
        ),
        None => (
            format!("/o/{slug}/connections/new/form/?kind={}", shown.kind),
            format!("Connect with: {}", shown.kind.title()),
        ),
    };
    let content = json!({
        "way": words(app, shown.kind, match shown.link {
            Some(link) if link.kind != CredentialKind::DataCenter => &link.name,
            _ => &form.workspace,
        }),
        "action": action,
        "title": title,
        "renews": shown.link.is_some(),
        "ca_hint": if shown.link.is_some() { "Certificates as PEM. Empty keeps what is stored." } else { "Certificates as PEM, if the server's comes from an authority of your own. Only this connection trusts it." },
        "callback_url": app.config.absolute(CALLBACK_PATH),
        "values": {
            "workspace": form.workspace, "label": form.label, "purpose": form.purpose, "user": form.user,
            "expires_on": form.expires_on, "private": form.private == "on", "ca": form.ca,
        },
        "report": shown.report,
        "form_error": shown.error,
    });
    let status = if shown.report.is_some() || shown.error.is_some() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    Shell::of_org(
        app,
        req,
        title.clone(),
        "connections",
        &access.org,
        signed_in,
    )
    .page_with_status(app, status, "links/connect.html", content)
}

/// `GET …/connections/new/form/?kind=`: the form of a kind.
///
/// # Errors
/// 404 for a kind that no form takes, 403 for who may not connect.
pub async fn form(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::Integrations>,
    signed_in: SignedIn,
    query: web::Query<KindQuery>,
) -> AppResult<HttpResponse> {
    let shown = Shown {
        kind: kind_of(&query.kind)?,
        link: None,
        form: &ConnectForm::default(),
        report: None,
        error: None,
    };
    form_page(&app, &req, &access, &signed_in, &shown)
}

/// `POST …/connections/new/form/?kind=`: tests what was given and keeps it when it works; for OAuth shows the way to
/// Bitbucket.
///
/// # Errors
/// 404 for a kind that no form takes, 403 for who may not connect. What was refused is its page with 400.
pub async fn submit(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::Integrations>,
    signed_in: SignedIn,
    query: web::Query<KindQuery>,
    form: CsrfForm<ConnectForm>,
) -> AppResult<HttpResponse> {
    receive(
        &app,
        &req,
        &access,
        &signed_in,
        kind_of(&query.kind)?,
        &form.0,
        None,
    )
    .await
}

/// Kind in the query of the re-authorise page.
#[derive(Debug, Deserialize)]
pub struct KindQuery {
    #[serde(default)]
    kind: String,
}

async fn own_link(app: &App, org: OrgId, id: LinkId, signed_in: &SignedIn) -> AppResult<Link> {
    let person = signed_in.user.id;
    let link = app
        .db
        .read(move |conn| {
            store::find_link_of(conn, org, id, Some(person))?.ok_or_else(AppError::not_found)
        })
        .await?;
    if link.kind.is_connect() {
        return Err(AppError::conflict(
            "A connection of the Connect app is renewed by installing the app again.",
        ));
    }
    Ok(link)
}

/// `GET …/connections/{link}/reauthorise/`: the form for a new credential of the same connection.
///
/// # Errors
/// 404 for another tenant's, 409 for a connection of the Connect app.
pub async fn renew_form(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    signed_in: SignedIn,
    query: web::Query<KindQuery>,
) -> AppResult<HttpResponse> {
    let link = own_link(&app, access.org.id, LinkId(path.1), &signed_in).await?;
    let shown = Shown {
        kind: kind_of(&query.kind).unwrap_or(link.kind),
        link: Some(&link),
        form: &ConnectForm {
            workspace: match link.kind {
                CredentialKind::DataCenter => link.workspace_uuid.clone(),
                _ => link.name.clone(),
            },
            ..ConnectForm::default()
        },
        report: None,
        error: None,
    };
    form_page(&app, &req, &access, &signed_in, &shown)
}

/// `POST …/connections/{link}/reauthorise/`.
///
/// # Errors
/// 404 for another tenant's, 409 for a connection of the Connect app. What was refused is its page with 400.
pub async fn renew(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    signed_in: SignedIn,
    query: web::Query<KindQuery>,
    form: CsrfForm<ConnectForm>,
) -> AppResult<HttpResponse> {
    let link = own_link(&app, access.org.id, LinkId(path.1), &signed_in).await?;
    let kind = kind_of(&query.kind).unwrap_or(link.kind);
    let form = ConnectForm {
        workspace: link.workspace_uuid.clone(),
        ..form.0
    };
    receive(&app, &req, &access, &signed_in, kind, &form, Some(&link)).await
}

async fn receive(
    app: &App,
    req: &HttpRequest,
    access: &OrgAccess<need::Integrations>,
    signed_in: &SignedIn,
    kind: CredentialKind,
    form: &ConnectForm,
    link: Option<&Link>,
) -> AppResult<HttpResponse> {
    let again = |error: &str, report: Option<&Report>| {
        let shown = Shown {
            kind,
            link,
            form,
            report,
            error: (!error.is_empty()).then_some(error),
        };
        form_page(app, req, access, signed_in, &shown)
    };
    if let Err(error) = named::check_kind(app, kind) {
        return again(error.detail(), None);
    }
    let Some(secret) = form
        .secret
        .clone()
        .filter(|secret| !secret.expose().trim().is_empty())
    else {
        return again("The secret is missing.", None);
    };
    let secret = Secret::from(secret.expose().trim());
    if form.workspace.trim().is_empty() {
        return again(
            if kind == CredentialKind::DataCenter {
                "The base URL is missing."
            } else {
                "The workspace is missing."
            },
            None,
        );
    }
    let Ok(expires_at) = day(&form.expires_on) else {
        return again("The expiry must be a date, as 2027-01-31.", None);
    };
    if kind == CredentialKind::OauthCode {
        return go_to_bitbucket(app, req, access, signed_in, form, secret, link).await;
    }
    let given = if kind == CredentialKind::DataCenter {
        match server_given(app, access.org.id, form, secret, link).await {
            Ok(given) => given,
            Err(error) if error.code() == "invalid" => return again(error.detail(), None),
            Err(error) => return Err(error),
        }
    } else {
        given(kind, form.user.trim(), secret)
    };
    let report = match try_out(app, kind, &given, form.workspace.trim()).await {
        Ok(report) => report,
        Err(reason) => return again(&reason, None),
    };
    if !report.ok {
        return again("", Some(&report));
    }
    let wish = Wish {
        label: form.label.trim().to_owned(),
        purpose: form.purpose.trim().to_owned(),
        private: form.private == "on",
        expires_at,
    };
    let (org, actor) = (access.org.id, access.caller.name());
    match keep(
        app,
        org,
        signed_in,
        kind,
        given,
        &report,
        wish,
        link.map(|link| link.id),
        &actor,
    )
    .await
    {
        Ok(link) => Ok(kept(app, &access.org.slug, link)),
        Err(error) if error.code() == "invalid" => again(error.detail(), None),
        Err(error) => Err(error),
    }
}

/// The end of a day, as a date field sends it.
pub(super) fn day(text: &str) -> Result<Option<Micros>, chrono::ParseError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let day: NaiveDate = text.trim().parse()?;
    let end = day
        .and_hms_opt(23, 59, 59)
        .map(|end| end.and_utc().timestamp());
    Ok(end.map(Micros::from_unix_seconds))
}

/// A new token without a bundle keeps the bundle that is stored.
async fn server_given(
    app: &App,
    org: OrgId,
    form: &ConnectForm,
    token: Secret,
    link: Option<&Link>,
) -> AppResult<Given> {
    let ca = match (server::parse_bundle(app, &form.ca)?, link) {
        (None, Some(link)) => server::stored_bundle(app, org, link.id).await?,
        (given, _) => given,
    };
    let base = server::parse_base(app, &form.workspace)?;
    Ok(Given::DataCenter { base, token, ca })
}

fn given(kind: CredentialKind, user: &str, secret: Secret) -> Given {
    let user = user.to_owned();
    match kind {
        CredentialKind::ClientCredentials => Given::ClientCredentials {
            consumer: Consumer { key: user, secret },
        },
        CredentialKind::ApiToken => Given::ApiToken {
            email: user,
            token: secret,
        },
        CredentialKind::AppPassword => Given::AppPassword {
            user,
            password: secret,
        },
        _ => Given::AccessToken { token: secret },
    }
}
