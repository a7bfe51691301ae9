//! Bearer tokens and basic authentication.

use base64::Engine as _;

use super::{Caller, Kind, Wrong, unauthorized};
use crate::core::Core;
use crate::journal::Rule;
use crate::model::{Credential, CredentialKind, Reach, Secret, State, Token};
use crate::reply::Reply;

/// What Bitbucket says of a bearer token it does not take.
const INVALID: &str = "Token is invalid, expired, or not supported for this endpoint.";
/// What it says of an OAuth token past its life.
const EXPIRED: &str = "Access token expired. Use your refresh token to obtain a new access token.";

pub(super) fn bearer(core: &Core, text: &str) -> Result<Caller, Wrong> {
    let now = core.clock.now().timestamp();
    let wanted = Secret::new(text);
    core.store.read(|state| {
        let mut issued = state.tokens.iter().enumerate();
        if let Some((number, token)) = issued.find(|(_, t)| t.token == wanted) {
            return issued_token(state, number + 1, token, now);
        }
        let mut long = state.credentials.iter();
        let found = long.find(|c| c.kind == CredentialKind::AccessToken && c.secret == wanted);
        let found = found.ok_or_else(|| invalid("the access token is unknown or revoked"))?;
        if found.expires_at.is_some_and(|at| at <= now) {
            return Err(invalid("the access token expired"));
        }
        // Each access token counts on its own (bitbucket.md §4.5).
        Ok(owner(found, Kind::AccessToken, found.id.clone()))
    })
}

fn invalid(detail: &str) -> Wrong {
    unauthorized(Rule::BearerToken, detail).answering(Reply::error(401, INVALID))
}

fn issued_token(state: &State, number: usize, token: &Token, now: i64) -> Result<Caller, Wrong> {
    if token.expires_at.is_some_and(|at| at <= now) {
        let expired = unauthorized(Rule::BearerToken, "the access token expired");
        return Err(expired.answering(Reply::error(401, EXPIRED)));
    }
    let install = token.client_key.as_deref();
    if install.is_some_and(|key| !state.install(key).is_some_and(|i| i.live)) {
        return Err(invalid("the app of the access token was uninstalled"));
    }
    let account = token.account.as_ref().unwrap_or(&token.workspace).clone();
    Ok(Caller {
        kind: Kind::OAuth,
        reach: if token.personal {
            Reach::Person {
                user: account.clone(),
            }
        } else {
            Reach::Workspace {
                workspace: token.workspace.clone(),
            }
        },
        account,
        scopes: token.scopes.clone(),
        client_key: None,
        // All tokens of a consumer count together (bitbucket.md §4.5).
        label: match &token.consumer {
            Some(key) => format!("consumer {key}"),
            None => format!("token {number}"),
        },
    })
}

fn owner(credential: &Credential, kind: Kind, label: String) -> Caller {
    Caller {
        kind,
        reach: credential.reach.clone(),
        account: credential.account.clone(),
        scopes: credential.scopes.clone(),
        client_key: None,
        label,
    }
}

/// An API token with the e-mail of its owner, or an app password with the user name.
pub(super) fn basic(core: &Core, header: &str) -> Result<Caller, Wrong> {
    let wrong = |detail: &str| {
        let answer = Reply::new(
            401,
            "text/plain",
            "Login failed: wrong credentials or method.\n",
        );
        unauthorized(Rule::BasicCredential, detail).answering(answer)
    };
    let (name, password) = basic_pair(header).ok_or_else(|| wrong("not `name:token` in base64"))?;
    let (now, wanted) = (core.clock.now().timestamp(), Secret::new(password));
    core.store.read(|state| {
        let mut known = state.credentials.iter();
        let found = known.find(|c| {
            let login = c.login.as_deref();
            c.secret == wanted && login.is_some_and(|l| l.eq_ignore_ascii_case(&name))
        });
        let found = found.ok_or_else(|| wrong("no such name and token"))?;
        if found.expires_at.is_some_and(|at| at <= now) {
            return Err(wrong("the token expired"));
        }
        let kind = match found.kind {
            CredentialKind::AppPassword if !state.app_passwords => {
                let detail = "app passwords were removed on 2026-07-28";
                return Err(unauthorized(Rule::AppPassword, detail).answering(Reply::empty(401)));
            }
            CredentialKind::AppPassword => Kind::AppPassword,
            _ => Kind::ApiToken,
        };
        // Basic authentication counts by user (bitbucket.md §4.5).
        Ok(owner(found, kind, format!("user {}", found.account)))
    })
}

/// User name and password of a basic `Authorization`.
pub(crate) fn basic_pair(header: &str) -> Option<(String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(header.strip_prefix("Basic ")?.trim())
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
