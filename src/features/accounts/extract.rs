//! Permission as a type: a handler that takes one of these has passed the check.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use super::store;
use super::{Org, Role, Scope, ScopeSet, User, UserId};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::kit::clock::Micros;
use crate::kit::crypto::TokenHash;

/// A token's last use is noted at most this often: a request must not cost a write.
const TOUCH_EVERY: Duration = Duration::from_secs(3_600);
/// How long a page's forms stay valid.
const CSRF_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Largest form of the console, in bytes.
const FORM_LIMIT: usize = 1_048_576;

/// Who sent the request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A person in a browser.
    Session(User),
    /// A person's API token; what it may do is cut to these scopes.
    UserToken(User, ScopeSet),
    /// A token of an organization.
    OrgToken {
        /// Row id of the token.
        id: i64,
        /// Its organization.
        org: super::OrgId,
        /// Its name, for the audit log.
        name: String,
        /// What it may do.
        scopes: ScopeSet,
    },
}

impl Caller {
    /// A readable name for activities and the audit log.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Session(user) | Self::UserToken(user, _) => user.shown_name().to_owned(),
            Self::OrgToken { name, .. } => format!("token {name}"),
        }
    }

    /// The person behind it, if there is one.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::Session(user) | Self::UserToken(user, _) => Some(user),
            Self::OrgToken { .. } => None,
        }
    }

    /// The id of that person.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.user().map(|user| user.id)
    }

    /// What it may do in an organization where it has `role` (organization tokens have none).
    fn scopes_as(&self, role: Option<Role>) -> ScopeSet {
        let by_role = role.map_or(ScopeSet::NONE, Role::scopes);
        match self {
            Self::Session(_) => by_role,
            Self::UserToken(_, scopes) => by_role.intersection(*scopes),
            Self::OrgToken { scopes, .. } => *scopes,
        }
    }
}

/// One organization and what the caller may do in it.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The organization.
    pub org: Org,
    /// What the caller may do here.
    pub scopes: ScopeSet,
    /// The caller's role, if it is a person.
    pub role: Option<Role>,
}

/// Which scopes a handler needs; one of them is enough.
pub trait Requirement: 'static {
    /// The scopes.
    const ANY_OF: &'static [Scope];
}

/// The requirements that handlers name.
pub mod need {
    use super::{Requirement, Scope};

    macro_rules! requirement {
        ($($(#[$meta:meta])* $name:ident = $($scope:ident)|+;)+) => {
            $($(#[$meta])* #[derive(Debug)] pub struct $name;
            impl Requirement for $name { const ANY_OF: &'static [Scope] = &[$(Scope::$scope),+]; })+
        };
    }

    requirement! {
        /// Any credential of the organization.
        Any = OrgRead | ProjectRead | EventRead | ProjectReleases | OrgCi | OrgIntegrations;
        /// Read the organization, integrations, repositories.
        OrgRead = OrgRead | OrgCi | OrgIntegrations | ProjectRead | ProjectReleases;
        /// Change integrations and repositories.
        Integrations = OrgIntegrations | OrgWrite | OrgAdmin;
        /// Members, tokens, settings.
        OrgAdmin = OrgAdmin;
        /// Read projects.
        ProjectRead = ProjectRead | ProjectWrite | ProjectReleases | OrgRead;
        /// Change projects.
        ProjectWrite = ProjectWrite | ProjectAdmin;
        /// Write releases, commits, deploys.
        Releases = ProjectReleases | OrgCi;
        /// Read releases.
        ReleasesRead = ProjectReleases | OrgCi | ProjectRead;
        /// Read groups and events.
        EventRead = EventRead | EventWrite | EventAdmin;
        /// Change groups, notes, tickets.
        EventWrite = EventWrite | EventAdmin;
        /// Delete groups.
        EventAdmin = EventAdmin;
    }
}

/// A caller with one of the scopes of `R` in the organization that the path names (`{org}`, slug or id).
#[derive(Debug, Clone)]
pub struct OrgAccess<R> {
    /// The organization of the path.
    pub org: Org,
    /// Who asks.
    pub caller: Caller,
    /// What the caller may do here.
    pub scopes: ScopeSet,
    _requirement: PhantomData<R>,
}

/// A caller with one of the scopes of `R` somewhere; for paths that name no organization.
#[derive(Debug, Clone)]
pub struct AnyAccess<R> {
    /// Who asks.
    pub caller: Caller,
    /// The organizations where the scope is there.
    pub granted: Vec<Granted>,
    _requirement: PhantomData<R>,
}

/// A person in a browser, whatever the organization.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The person.
    pub user: User,
    /// Where this person is a member.
    pub orgs: Vec<(Org, Role)>,
}

impl<R> OrgAccess<R> {
    /// True when the caller may also do what `scope` allows.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}

enum Credential {
    Session(TokenHash),
    Token(TokenHash),
}

fn credential(req: &HttpRequest) -> AppResult<Credential> {
    if let Some(value) = req.headers().get(header::AUTHORIZATION) {
        let text = value
            .to_str()
            .map_err(|_| AppError::unauthenticated("Invalid token header"))?;
        return match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Credential::Token(TokenHash::of(token.trim())))
            }
            _ => Err(AppError::unauthenticated(
                "Send the token as: Authorization: Bearer TOKEN",
            )),
        };
    }
    session_token(req)
        .map(|token| Credential::Session(TokenHash::of(&token)))
        .ok_or_else(|| AppError::unauthenticated("Authentication credentials were not provided."))
}

fn app_of(req: &HttpRequest) -> AppResult<App> {
    req.app_data::<web::Data<App>>()
        .map(|app| App::clone(app))
        .ok_or_else(|| AppError::internal(anyhow::anyhow!("the application is not attached")))
}

/// A browser sends a session along with requests of other sites: a change must come from our own pages.
fn require_own_origin(req: &HttpRequest, app: &App) -> AppResult<()> {
    if matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| {
        req.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let own = match (text("origin"), text("sec-fetch-site")) {
        (Some(origin), _) => origin == app.config.public_url.origin().ascii_serialization(),
        (None, Some(site)) => site == "same-origin",
        (None, None) => false,
    };
    if own { Ok(()) } else { Err(AppError::csrf()) }
}

/// Resolves the credential to a caller and the organizations it may see.
async fn resolve(req: &HttpRequest, app: &App) -> AppResult<(Caller, Vec<Granted>)> {
    let credential = credential(req)?;
    if matches!(credential, Credential::Session(_)) {
        require_own_origin(req, app)?;
    }
    let now = app.clock.now();
    let (caller, orgs, touch) = app
        .db
        .read(move |conn| match credential {
            Credential::Session(hash) => {
                let user = store::session_user(conn, &hash, now)?.ok_or_else(|| {
                    AppError::unauthenticated("The session has ended; sign in again.")
                })?;
                let orgs = store::list_orgs_of(conn, user.id)?;
                Ok((Caller::Session(user), with_roles(orgs), None))
            }
            Credential::Token(hash) => {
                let row = store::find_token(conn, &hash)?
                    .ok_or_else(|| AppError::unauthenticated("Invalid token"))?;
                let stale = row
                    .last_used_at
                    .is_none_or(|last| now.since(last) > TOUCH_EVERY);
                let (caller, orgs) = of_token(conn, &row)?;
                Ok::<_, AppError>((caller, orgs, stale.then_some(row.id)))
            }
        })
        .await?;
    if let Some(id) = touch {
        // Who may read is known already: a database that takes no writes now is no reason to refuse it.
        let touched = app
            .db
            .write(move |tx| Ok::<_, AppError>(store::touch_token(tx, id, now)?))
            .await;
        if let Err(error) = touched {
            tracing::warn!(%error, "the use of a token was not noted");
        }
    }
    let granted = orgs
        .into_iter()
        .map(|(org, role)| Granted {
            scopes: caller.scopes_as(role),
            org,
            role,
        })
        .collect();
    Ok((caller, granted))
}

/// Organizations with the caller's role in each, if it is a person.
type OrgRoles = Vec<(Org, Option<Role>)>;

fn with_roles(orgs: Vec<(Org, Role)>) -> OrgRoles {
    orgs.into_iter()
        .map(|(org, role)| (org, Some(role)))
        .collect()
}

fn of_token(
    conn: &mut crate::kit::db::Conn,
    row: &store::TokenRow,
) -> AppResult<(Caller, OrgRoles)> {
    // A scope that this version does not know grants nothing.
    let scopes = row
        .scopes
        .split(',')
        .filter_map(|name| ScopeSet::parse(name).ok())
        .fold(ScopeSet::NONE, ScopeSet::union);
    match (row.org_id, row.user_id) {
        (Some(org), _) => {
            let orgs = store::orgs_of_token(conn, org)?
                .into_iter()
                .map(|org| (org, None))
                .collect();
            Ok((
                Caller::OrgToken {
                    id: row.id,
                    org,
                    name: row.name.clone(),
                    scopes,
                },
                orgs,
            ))
        }
        (None, Some(user)) => {
            let user = store::find_user(conn, user)?
                .filter(|user| user.active)
                .ok_or_else(|| AppError::unauthenticated("Invalid token"))?;
            let orgs = store::list_orgs_of(conn, user.id)?;
            Ok((Caller::UserToken(user, scopes), with_roles(orgs)))
        }
        (None, None) => Err(AppError::unauthenticated("Invalid token")),
    }
}

fn missing_scope<R: Requirement>() -> AppError {
    let names: Vec<_> = R::ANY_OF.iter().map(|scope| scope.as_str()).collect();
    AppError::forbidden(format!(
        "You do not have permission to perform this action; it needs one of: {}",
        names.join(", ")
    ))
}

type LocalFuture<T> = Pin<Box<dyn Future<Output = Result<T, AppError>>>>;

impl<R: Requirement> FromRequest for OrgAccess<R> {
    type Error = AppError;
    type Future = LocalFuture<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let app = app_of(&req)?;
            let (caller, granted) = resolve(&req, &app).await?;
            let wanted = req.match_info().get("org").unwrap_or_default().to_owned();
            let granted = granted
                .into_iter()
                .find(|g| {
                    g.org.slug == wanted
                        || wanted.parse().is_ok_and(|id: super::OrgId| id == g.org.id)
                })
                .ok_or_else(AppError::not_found)?;
            if !granted.scopes.has_any(R::ANY_OF) {
                return Err(missing_scope::<R>());
            }
            Ok(Self {
                org: granted.org,
                caller,
                scopes: granted.scopes,
                _requirement: PhantomData,
            })
        })
    }
}

impl<R: Requirement> FromRequest for AnyAccess<R> {
    type Error = AppError;
    type Future = LocalFuture<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let app = app_of(&req)?;
            let (caller, granted) = resolve(&req, &app).await?;
            let (granted, lacking): (Vec<_>, Vec<_>) = granted
                .into_iter()
                .partition(|granted| granted.scopes.has_any(R::ANY_OF));
            if granted.is_empty() && !lacking.is_empty() {
                return Err(missing_scope::<R>());
            }
            Ok(Self {
                caller,
                granted,
                _requirement: PhantomData,
            })
        })
    }
}

impl FromRequest for SignedIn {
    type Error = AppError;
    type Future = LocalFuture<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let app = app_of(&req)?;
            let (caller, granted) = resolve(&req, &app).await?;
            let Caller::Session(user) = caller else {
                return Err(AppError::unauthenticated(
                    "Sign in with a browser to use this page.",
                ));
            };
            let orgs = granted
                .into_iter()
                .filter_map(|g| g.role.map(|role| (g.org, role)))
                .collect();
            Ok(Self { user, orgs })
        })
    }
}

/// Name of the session cookie; the prefix makes browsers bind it to this host and https.
fn cookie_name(https: bool) -> &'static str {
    if https {
        "__Host-tracebucket"
    } else {
        "tracebucket"
    }
}

/// The session token of a request's cookie.
#[must_use]
pub fn session_token(req: &HttpRequest) -> Option<String> {
    // The other name does not count: behind https a sibling host can set the plain one for us, which is what the
    // prefix is there against.
    let https = app_of(req).ok()?.config.is_https();
    req.cookie(cookie_name(https))
        .map(|cookie| cookie.value().to_owned())
}

/// The cookie that carries a session.
#[must_use]
pub fn session_cookie(app: &App, token: String) -> Cookie<'static> {
    let https = app.config.is_https();
    Cookie::build(cookie_name(https), token)
        .path("/")
        .secure(https)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(actix_web::cookie::time::Duration::days(14))
        .finish()
}

/// The cookie that ends a session in the browser.
#[must_use]
pub fn clear_session_cookie(app: &App) -> Cookie<'static> {
    let mut cookie = session_cookie(app, String::new());
    cookie.make_removal();
    cookie
}

/// The token that forms of a page carry: bound to the session (or to nobody, before sign-in).
#[must_use]
pub fn issue_csrf(app: &App, req: &HttpRequest, now: Micros) -> String {
    app.signer
        .sign("csrf", &csrf_subject(req), now.plus(CSRF_LIFE))
}

/// True when the token was issued to this session and is not too old.
#[must_use]
pub fn verify_csrf(app: &App, req: &HttpRequest, token: &str) -> bool {
    app.signer
        .verify("csrf", token, app.clock.now())
        .is_ok_and(|subject| subject == csrf_subject(req))
}

fn csrf_subject(req: &HttpRequest) -> String {
    session_token(req)
        .map(|token| hex::encode(TokenHash::of(&token).0))
        .unwrap_or_default()
}

/// A form of one of our pages: url-encoded, from our origin, with a valid `csrf` field.
#[derive(Debug)]
pub struct CsrfForm<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for CsrfForm<T> {
    type Error = AppError;
    type Future = LocalFuture<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let req = req.clone();
        let body = web::Payload::from_request(&req, payload);
        Box::pin(async move {
            let app = app_of(&req)?;
            require_own_origin(&req, &app)?;
            let body = body
                .await
                .map_err(AppError::from_foreign)?
                .to_bytes_limited(FORM_LIMIT)
                .await
                .map_err(|_| AppError::too_large("The form is too large."))?
                .map_err(|_| AppError::invalid("The form did not arrive whole."))?;
            let token = url::form_urlencoded::parse(&body)
                .find(|(key, _)| key == "csrf")
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default();
            if !verify_csrf(&app, &req, &token) {
                return Err(AppError::csrf());
            }
            if url::form_urlencoded::parse(&body).any(|(_, value)| value.contains('\0')) {
                return Err(AppError::invalid("A field of the form holds a NUL."));
            }
            serde_html_form::from_bytes(&body)
                .map(Self)
                .map_err(|error| AppError::invalid(format!("The form is not complete: {error}")))
        })
    }
}

/// A form without fields of its own, for [`CsrfForm`].
#[derive(Debug, serde::Deserialize)]
pub struct Nothing {}
