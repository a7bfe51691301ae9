//! OAuth: the browser goes to Bitbucket with a state, and comes back with a code.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::keep::{Wish, explain, keep, kept, try_out};
use super::{CALLBACK_PATH, ConnectForm};
use crate::app::App;
use crate::bitbucket::oauth::{Consumer, Grant, Granted};
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    Flash, Org, OrgAccess, OrgId, Role, Shell, SignedIn, need, redirect_with, session_token,
};
use crate::features::links::named::Given;
use crate::features::links::store::{self, Flow, Link};
use crate::features::links::{CredentialKind, LinkId};
use crate::kit::crypto::{Secret, TokenHash, random_hex};

/// How long a person may take to allow the access.
const FLOW_LIFE: Duration = Duration::from_secs(900);

/// What a browser that is at Bitbucket will go on with; sealed.
#[derive(Serialize, Deserialize)]
struct Draft {
    key: String,
    secret: String,
    workspace: String,
    label: String,
    purpose: String,
    private: bool,
}

impl Draft {
    fn open(app: &App, flow: &Flow) -> AppResult<Self> {
        let plain = app
            .sealer
            .open(&flow_context(&flow.state_hash), &flow.sealed)
            .map_err(AppError::internal)?;
        serde_json::from_slice(&zeroize::Zeroizing::new(plain)).map_err(AppError::internal)
    }
}

fn flow_context(state_hash: &[u8]) -> String {
    format!("oauth_flow:{}", hex::encode(state_hash))
}

pub(super) async fn go_to_bitbucket(
    app: &App,
    req: &HttpRequest,
    access: &OrgAccess<need::Integrations>,
    signed_in: &SignedIn,
    form: &ConnectForm,
    secret: Secret,
    link: Option<&Link>,
) -> AppResult<HttpResponse> {
    let state = random_hex(32);
    let hash = TokenHash::of(&state);
    let draft = Draft {
        key: form.user.trim().to_owned(),
        secret: secret.expose().to_owned(),
        workspace: form.workspace.trim().to_owned(),
        label: form.label.trim().to_owned(),
        purpose: form.purpose.trim().to_owned(),
        private: form.private == "on",
    };
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(&draft).map_err(AppError::internal)?);
    let session = session_token(req).unwrap_or_default();
    let flow = Flow {
        state_hash: hash.as_bytes().to_vec(),
        org_id: access.org.id,
        user_id: signed_in.user.id,
        session_hash: TokenHash::of(&session).as_bytes().to_vec(),
        link_id: link.map(|link| link.id),
        sealed: app.sealer.seal(&flow_context(hash.as_bytes()), &plain),
        expires_at: app.clock.now().plus(FLOW_LIFE),
    };
    app.db
        .write(move |tx| Ok::<_, AppError>(store::insert_flow(tx, &flow)?))
        .await?;
    let callback = app.config.absolute(CALLBACK_PATH);
    let url = app.bitbucket.authorize_url(&draft.key, &state, &callback);
    let content = json!({ "authorize_url": url.as_str(), "callback_url": callback, "workspace": { "name": draft.workspace } });
    Shell::of_org(
        app,
        req,
        "Allow the access",
        "connections",
        &access.org,
        signed_in,
    )
    .page(app, "links/allow.html", content)
}

/// What Bitbucket sends the browser back with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Back {
    state: String,
    code: Option<Secret>,
    error: String,
    error_description: String,
}

impl Back {
    /// Why there is no code, in Bitbucket's words.
    fn refusal(&self) -> String {
        let said = if self.error_description.is_empty() {
            &self.error
        } else {
            &self.error_description
        };
        said.chars().take(200).collect()
    }
}

/// `GET /extensions/bitbucket/oauth/callback/`: good once, in the session that began, for fifteen minutes.
///
/// # Errors
/// 400 for a state that is not this session's, 403 when the person may not connect any more.
pub async fn callback(
    app: web::Data<App>,
    req: HttpRequest,
    signed_in: SignedIn,
    query: web::Query<Back>,
) -> AppResult<HttpResponse> {
    let flow = take_flow(&app, &req, &signed_in, &query.state).await?;
    let manages = |(org, role): &&(Org, Role)| org.id == flow.org_id && role.manages();
    let (org, _) = signed_in.orgs.iter().find(manages).ok_or_else(|| {
        AppError::forbidden("Only an owner or manager of the organization can connect a workspace.")
    })?;
    match finish(&app, &signed_in, org.id, &flow, &query).await? {
        Ok(link) => Ok(kept(&app, &org.slug, link)),
        Err(reason) => {
            let to = match flow.link_id {
                Some(link) => format!("/o/{}/connections/{link}/reauthorise/", org.slug),
                None => format!(
                    "/o/{}/connections/new/form/?kind={}",
                    org.slug,
                    CredentialKind::OauthCode
                ),
            };
            Ok(redirect_with(&app, &to, &Flash::error(reason)))
        }
    }
}

/// What this session began under a state; afterwards it is gone.
async fn take_flow(
    app: &App,
    req: &HttpRequest,
    signed_in: &SignedIn,
    state: &str,
) -> AppResult<Flow> {
    let session = session_token(req).unwrap_or_default();
    let (hash, session) = (TokenHash::of(state), TokenHash::of(&session));
    let (user, now) = (signed_in.user.id, app.clock.now());
    app.db
        .write(move |tx| Ok::<_, AppError>(store::take_flow(tx, hash.as_bytes(), user, session.as_bytes(), now)?))
        .await?
        .ok_or_else(|| {
            AppError::invalid("This answer of Bitbucket was not asked for in this session, was used before, or came too late. Start the connection again.")
        })
}

/// Exchanges the code, tests what it gave and keeps it; or says why not, in words for the person.
async fn finish(
    app: &App,
    signed_in: &SignedIn,
    org: OrgId,
    flow: &Flow,
    back: &Back,
) -> AppResult<Result<LinkId, String>> {
    let Some(code) = back.code.as_ref().filter(|code| !code.expose().is_empty()) else {
        return Ok(Err(format!("Bitbucket gave no access: {}", back.refusal())));
    };
    let draft = Draft::open(app, flow)?;
    let consumer = Consumer {
        key: draft.key,
        secret: Secret::new(draft.secret),
    };
    let grant = Grant::Code {
        consumer: &consumer,
        code,
        redirect_uri: &app.config.absolute(CALLBACK_PATH),
    };
    let granted: Granted = match app.bitbucket.exchange(&grant).await {
        Ok(granted) => granted,
        Err(error) => return Ok(Err(explain(&error))),
    };
    let given = Given::OauthCode { consumer, granted };
    let kind = CredentialKind::OauthCode;
    let report = match try_out(app, kind, &given, &draft.workspace).await {
        Ok(report) if report.ok => report,
        Ok(report) => return Ok(Err(report.why())),
        Err(reason) => return Ok(Err(reason)),
    };
    let wish = Wish {
        label: draft.label,
        purpose: draft.purpose,
        private: draft.private,
        expires_at: None,
    };
    let actor = if signed_in.user.name.is_empty() {
        &signed_in.user.email
    } else {
        &signed_in.user.name
    };
    let kept = keep(
        app,
        org,
        signed_in,
        kind,
        given,
        &report,
        wish,
        flow.link_id,
        actor,
    );
    kept.await.map(Ok)
}
