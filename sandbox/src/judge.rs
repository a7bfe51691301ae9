//! Judges credentials: JWT and bearer tokens (bitbucket.md §1.6, §6).

use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::model::{Install, Secret};
use crate::protocol::{jwt::Unverified, qsh, scopes};
use crate::reply::Reply;

/// Longest life of a token, in seconds.
const LIFETIME: i64 = 300;
/// Allowed difference of clocks, in seconds.
const LEEWAY: i64 = 60;

/// A call that breaks a rule: what to record and what to answer.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) rule: Rule,
    pub(crate) status: u16,
    pub(crate) detail: String,
}

impl Wrong {
    pub(crate) fn new(rule: Rule, status: u16, detail: impl Into<String>) -> Self {
        Self {
            rule,
            status,
            detail: detail.into(),
        }
    }

    /// Records the broken rule and gives the answer.
    pub(crate) fn refuse(self, core: &Core, call: &Call) -> Reply {
        core.violation(
            self.rule,
            &call.method,
            &call.target(),
            self.detail.as_str(),
        );
        Reply::error(self.status, &self.detail)
    }
}

fn unauthorized(rule: Rule, detail: impl Into<String>) -> Wrong {
    Wrong::new(rule, 401, detail)
}

/// Who calls and what they may do.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Uuid of the workspace the credential reaches.
    pub(crate) workspace: String,
    pub(crate) scopes: Vec<String>,
    /// Set for a Connect JWT.
    pub(crate) client_key: Option<String>,
    /// Name of the credential for counting and limits; never the credential itself.
    pub(crate) label: String,
}

impl Caller {
    pub(crate) fn allows(&self, scope: &str) -> bool {
        scopes::allows(&self.scopes, scope)
    }
}

/// Finds the caller of an API call.
pub(crate) fn caller(core: &Core, call: &Call) -> Result<Caller, Wrong> {
    for name in ["jwt", "access_token"] {
        if call.param(name).is_some() {
            let detail = format!("the parameter {name} is not a way to authenticate an API call");
            return Err(unauthorized(Rule::TokenInQuery, detail));
        }
    }
    let header = call
        .header("authorization")
        .ok_or_else(|| unauthorized(Rule::AuthMissing, "no Authorization header"))?;
    match header.split_once(' ') {
        Some(("JWT", token)) => connect(core, call, token, true).map(|install| Caller {
            workspace: install.workspace,
            scopes: install.scopes,
            label: install.client_key.clone(),
            client_key: Some(install.client_key),
        }),
        Some(("Bearer", token)) => bearer(core, token),
        _ => Err(unauthorized(
            Rule::AuthScheme,
            "Authorization must be `JWT <token>` or `Bearer <token>`",
        )),
    }
}

fn bearer(core: &Core, text: &str) -> Result<Caller, Wrong> {
    let now = core.clock.now().timestamp();
    let wanted = Secret::new(text);
    core.store
        .read(|state| {
            let (number, token) = state
                .tokens
                .iter()
                .enumerate()
                .find(|(_, t)| t.token == wanted)?;
            let alive = token.expires_at.is_none_or(|at| at > now)
                && token
                    .client_key
                    .as_deref()
                    .is_none_or(|key| state.install(key).is_some_and(|install| install.live));
            alive.then(|| Caller {
                workspace: token.workspace.clone(),
                scopes: token.scopes.clone(),
                client_key: None,
                label: format!("token {}", number + 1),
            })
        })
        .ok_or_else(|| {
            unauthorized(
                Rule::BearerToken,
                "the access token is unknown, expired or revoked",
            )
        })
}

/// Judges a Connect JWT against the call it came with. `need_qsh` is false for the token
/// exchange, where a missing `qsh` is tolerated (bitbucket.md §1.6) but a wrong one is not.
pub(crate) fn connect(
    core: &Core,
    call: &Call,
    token: &str,
    need_qsh: bool,
) -> Result<Install, Wrong> {
    let token = Unverified::parse(token).map_err(|e| unauthorized(Rule::JwtMalformed, e))?;
    if token.header.contains_key("kid") {
        return Err(unauthorized(Rule::JwtKid, "Bitbucket tokens have no kid"));
    }
    if token.header.get("alg").and_then(|v| v.as_str()) != Some("HS256") {
        return Err(unauthorized(Rule::JwtAlgorithm, "alg must be HS256"));
    }
    let install = token
        .text("sub")
        .and_then(|key| core.store.read(|state| state.install(key).cloned()))
        .filter(|install| install.secrets().next().is_some())
        .ok_or_else(|| {
            unauthorized(
                Rule::JwtSubject,
                "sub must be the clientKey of a live installation",
            )
        })?;
    if token.text("iss") != Some(&install.app_key) {
        return Err(unauthorized(
            Rule::JwtIssuer,
            "iss must be the key of the installed app",
        ));
    }
    if !install.secrets().any(|secret| token.signed_by(secret)) {
        return Err(unauthorized(
            Rule::JwtSignature,
            "the signature does not verify",
        ));
    }
    times(core, &token)?;
    let expected = qsh::hash(&call.method, &call.path, &call.query);
    match token.text("qsh") {
        Some(given) if given == expected => Ok(install),
        None if !need_qsh && !token.claims.contains_key("qsh") => Ok(install),
        None => Err(unauthorized(Rule::JwtQsh, "qsh is missing")),
        Some(_) => Err(unauthorized(
            Rule::JwtQsh,
            format!(
                "qsh is not the hash of {:?}",
                qsh::canonical(&call.method, &call.path, &call.query)
            ),
        )),
    }
}

fn times(core: &Core, token: &Unverified) -> Result<(), Wrong> {
    let now = core.clock.now().timestamp();
    let issued = token
        .seconds("iat")
        .filter(|iat| *iat <= now + LEEWAY)
        .ok_or_else(|| unauthorized(Rule::JwtIssuedAt, "iat is missing or in the future"))?;
    let expires = token
        .seconds("exp")
        .filter(|exp| *exp > now - LEEWAY)
        .ok_or_else(|| unauthorized(Rule::JwtExpiry, "exp is missing or past"))?;
    if expires.saturating_sub(issued) > LIFETIME {
        return Err(unauthorized(
            Rule::JwtLifetime,
            format!("a token may live {LIFETIME} seconds"),
        ));
    }
    Ok(())
}
