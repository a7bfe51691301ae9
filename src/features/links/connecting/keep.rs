//! From what was given to a connection that works: tested first, kept only then.

use actix_web::HttpResponse;

use crate::app::App;
use crate::bitbucket::Credential;
use crate::bitbucket::oauth::{Grant, GrantError};
use crate::error::{AppError, AppResult};
use crate::features::accounts::{Flash, OrgId, SignedIn, redirect_with};
use crate::features::links::check::{self, Report};
use crate::features::links::named::{self, Given, NewConnection};
use crate::features::links::{CredentialKind, LinkId, client, probe, server, server_check};
use crate::kit::clock::Micros;

/// Tests a credential before it is kept; the error says why it could not even be tried.
pub(super) async fn try_out(
    app: &App,
    kind: CredentialKind,
    given: &Given,
    workspace: &str,
) -> Result<Report, String> {
    let (signs, known) = match given {
        Given::OauthCode { granted, .. } => (
            Credential::Bearer(granted.access.clone()),
            granted.scopes.clone(),
        ),
        Given::ClientCredentials { consumer } => {
            let granted = app
                .bitbucket
                .exchange(&Grant::ClientCredentials { consumer })
                .await
                .map_err(|error| explain(&error))?;
            (Credential::Bearer(granted.access), granted.scopes)
        }
        Given::ApiToken { email, token } => (
            Credential::Basic {
                user: email.clone(),
                password: token.clone(),
            },
            None,
        ),
        Given::AppPassword { user, password } => (
            Credential::Basic {
                user: user.clone(),
                password: password.clone(),
            },
            None,
        ),
        Given::AccessToken { token } => (Credential::Bearer(token.clone()), None),
        Given::DataCenter { base, token, ca } => {
            let signs = Credential::Bearer(token.clone());
            let server = server::client(app, base.clone(), ca.as_deref(), signs)
                .map_err(|error| error.detail().to_owned())?;
            return Ok(server_check::run(&server, app.clock.now()).await);
        }
    };
    let cloud = app.bitbucket.for_credential(signs);
    Ok(check::run(&cloud, kind, workspace, known, app.clock.now()).await)
}

pub(super) fn explain(error: &GrantError) -> String {
    match error {
        GrantError::Refused { code, detail } => {
            let advice = match code.as_str() {
                "invalid_client" | "unauthorized_client" => {
                    "Look at key and secret; for client credentials the consumer must be private."
                }
                "invalid_grant" => "The consent was used before or is too old. Start again.",
                _ => "Look at the settings of the consumer.",
            };
            format!("Bitbucket refused: {detail} {advice}")
        }
        GrantError::Call(error) => client::describe(error),
    }
}

pub(super) struct Wish {
    pub(super) label: String,
    pub(super) purpose: String,
    pub(super) private: bool,
    pub(super) expires_at: Option<Micros>,
}

#[expect(
    clippy::too_many_arguments,
    reason = "what two ways to a credential have in common"
)]
pub(super) async fn keep(
    app: &App,
    org: OrgId,
    signed_in: &SignedIn,
    kind: CredentialKind,
    given: Given,
    report: &Report,
    wish: Wish,
    link: Option<LinkId>,
    actor: &str,
) -> AppResult<LinkId> {
    let person = Some(signed_in.user.id);
    let id = match link {
        Some(id) => {
            named::reauthorise(app, org, id, person, (kind, given), wish.expires_at, actor)
                .await?
                .id
        }
        None => {
            let new = NewConnection {
                kind,
                credential: given,
                workspace_uuid: report.workspace_uuid.clone().ok_or_else(|| {
                    AppError::invalid("Bitbucket does not say which workspace this is. Give the credential access to one of its repositories.")
                })?,
                workspace: report.workspace.clone().unwrap_or_default(),
                label: wish.label,
                purpose: wish.purpose,
                owner: person,
                private: wish.private,
                expires_at: wish.expires_at,
            };
            named::connect_named(app, org, new, actor).await?.id
        }
    };
    probe::keep_report(app, org, id, report).await?;
    Ok(id)
}

pub(super) fn kept(app: &App, slug: &str, link: LinkId) -> HttpResponse {
    let to = format!("/o/{slug}/connections/{link}/");
    redirect_with(
        app,
        &to,
        &Flash::ok("The connection works and is kept. Its test is below."),
    )
}
