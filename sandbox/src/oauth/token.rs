//! `/site/oauth2/access_token`: codes, refresh tokens, client credentials and Connect JWTs
//! exchanged for bearer tokens.

use serde_json::{Value, json};

use super::consumers::LIFE;
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::judge;
use crate::model::{Consumer, RefreshToken, Secret, Token};
use crate::reply::{Outcome, Reply};

const JWT_GRANT: &str = "urn:bitbucket:oauth2:jwt";
/// Life of an unused refresh token in seconds: three months (bitbucket.md §2.4).
const IDLE: i64 = 90 * 24 * 3600;

/// Grant types that a consumer may use.
const GRANTS: &[&str] = &["authorization_code", "refresh_token", "client_credentials"];

pub(super) fn serve(core: &Core, call: &Call) -> Outcome {
    judge::header_only(call).map_err(|wrong| {
        refuse(
            core,
            call,
            wrong.rule,
            400,
            "invalid_request",
            &wrong.detail,
        )
    })?;
    let grant = call.field("grant_type").unwrap_or_default();
    if call.content_type() != "application/x-www-form-urlencoded" || grant.is_empty() {
        let detail = "the body must be a form with grant_type";
        return Err(refuse(
            core,
            call,
            Rule::TokenRequest,
            400,
            "invalid_request",
            detail,
        ));
    }
    if grant == JWT_GRANT {
        return connect(core, call);
    }
    if !GRANTS.contains(&grant.as_str()) {
        let detail = format!("grant_type {grant:?} is not served");
        return Err(refuse(
            core,
            call,
            Rule::TokenRequest,
            400,
            "unsupported_grant_type",
            &detail,
        ));
    }
    let consumer = client(core, call)?;
    match grant.as_str() {
        "authorization_code" => code(core, call, &consumer),
        "refresh_token" => refresh(core, call, &consumer),
        _ => credentials(core, call, &consumer),
    }
}

/// The consumer of the basic `Authorization`.
fn client(core: &Core, call: &Call) -> Result<Consumer, Reply> {
    let given = call.header("authorization").and_then(judge::basic_pair);
    let found = given.and_then(|(key, secret)| {
        let consumer = core.store.read(|s| s.consumer(&key).cloned())?;
        (consumer.secret == Secret::new(secret)).then_some(consumer)
    });
    found.ok_or_else(|| {
        let detail = "Requests must be authenticated using OAuth client credentials";
        refuse(
            core,
            call,
            Rule::ClientSecret,
            401,
            "unauthorized_client",
            detail,
        )
        .with("www-authenticate", "Basic realm=\"bitbucket.org\"")
    })
}

fn code(core: &Core, call: &Call, consumer: &Consumer) -> Outcome {
    let wanted = Secret::new(call.field("code").unwrap_or_default());
    let now = core.clock.now().timestamp();
    // A code is gone with its first use, whatever comes of it.
    let found = core.store.write(|state| {
        let at = state.codes.iter().position(|c| c.code == wanted)?;
        Some(state.codes.swap_remove(at))
    })?;
    let refused = |detail: &str| {
        Err(refuse(
            core,
            call,
            Rule::AuthorizationCode,
            400,
            "invalid_grant",
            detail,
        ))
    };
    let Some(code) = found else {
        return refused("The code is unknown or was used before");
    };
    if code.consumer != consumer.key {
        return refused("The code was given to another client");
    }
    if code.expires_at <= now {
        return refused("The code expired");
    }
    if code.redirect_uri != call.field("redirect_uri") {
        return refused("redirect_uri is not the one of the authorize link");
    }
    personal(core, consumer, &code.user)
}

/// Exchanges a refresh token. It rotates: the answer has a new one, and the old one dies after
/// the grace of the consumer, at once when there is none.
fn refresh(core: &Core, call: &Call, consumer: &Consumer) -> Outcome {
    let wanted = Secret::new(call.field("refresh_token").unwrap_or_default());
    let now = core.clock.now().timestamp();
    let user = core.store.write(|state| {
        let mut tokens = state.refresh_tokens.iter_mut();
        let found = tokens.find(|t| t.token == wanted && t.consumer == consumer.key);
        let found = found.ok_or("the refresh token is unknown or was taken back")?;
        if found.expires_at <= now {
            return Err(match found.used {
                true => "the refresh token was exchanged before",
                false => "the refresh token was not used for three months",
            });
        }
        if !found.used {
            found.used = true;
            found.expires_at = now + consumer.refresh_grace;
        }
        Ok(found.user.clone())
    })?;
    match user {
        Ok(user) => personal(core, consumer, &user),
        Err(detail) => {
            core.violation(Rule::RefreshToken, &call.method, &call.target(), detail);
            Err(error(400, "invalid_grant", "Invalid refresh_token"))
        }
    }
}

fn credentials(core: &Core, call: &Call, consumer: &Consumer) -> Outcome {
    if !consumer.private {
        let detail = "Only a private consumer may use client credentials";
        return Err(refuse(
            core,
            call,
            Rule::TokenRequest,
            400,
            "unauthorized_client",
            detail,
        ));
    }
    let mut token = bearer(
        core,
        consumer.expires_in,
        &consumer.workspace,
        &consumer.scopes,
    );
    token.consumer = Some(consumer.key.clone());
    token.account = Some(consumer.app_user.clone());
    core.store.write(|state| state.tokens.push(token.clone()))?;
    Ok(Reply::json(200, &answer(&token, consumer.expires_in)))
}

/// A bearer token of a person, with a refresh token.
fn personal(core: &Core, consumer: &Consumer, user: &str) -> Outcome {
    let mut token = bearer(
        core,
        consumer.expires_in,
        &consumer.workspace,
        &consumer.scopes,
    );
    token.consumer = Some(consumer.key.clone());
    token.account = Some(user.to_owned());
    token.personal = true;
    let refresh = RefreshToken {
        token: Secret::random(),
        consumer: consumer.key.clone(),
        user: user.to_owned(),
        expires_at: core.clock.now().timestamp() + IDLE,
        used: false,
    };
    let mut body = answer(&token, consumer.expires_in);
    if let Some(map) = body.as_object_mut() {
        map.insert("refresh_token".into(), json!(refresh.token.expose()));
        map.insert("state".into(), json!("authorization_code"));
    }
    core.store.write(|state| {
        state.tokens.push(token);
        state.refresh_tokens.push(refresh);
    })?;
    Ok(Reply::json(200, &body))
}

/// A Connect JWT for a token of the account the app is installed for; it has no refresh token.
fn connect(core: &Core, call: &Call) -> Outcome {
    let token = call
        .header("authorization")
        .and_then(|h| h.strip_prefix("JWT "))
        .ok_or_else(|| {
            let detail = "Authorization must be `JWT <token>`";
            refuse(
                core,
                call,
                Rule::TokenRequest,
                401,
                "invalid_client",
                detail,
            )
        })?;
    let install = judge::connect(core, call, token, false)
        .map_err(|wrong| refuse(core, call, wrong.rule, 401, "invalid_grant", &wrong.detail))?;
    let mut token = bearer(core, LIFE, &install.workspace, &install.scopes);
    token.client_key = Some(install.client_key);
    core.store.write(|state| state.tokens.push(token.clone()))?;
    Ok(Reply::json(200, &answer(&token, LIFE)))
}

fn bearer(core: &Core, life: i64, workspace: &str, scopes: &[String]) -> Token {
    Token {
        token: Secret::random(),
        workspace: workspace.to_owned(),
        scopes: scopes.to_vec(),
        expires_at: Some(core.clock.now().timestamp() + life),
        client_key: None,
        consumer: None,
        account: None,
        personal: false,
    }
}

/// `scope` is one text; before May 2026 it was named `scopes` (bitbucket.md §2.4).
fn answer(token: &Token, life: i64) -> Value {
    json!({
        "access_token": token.token.expose(), "token_type": "bearer", "expires_in": life,
        "scope": token.scopes.join(" "),
    })
}

fn refuse(core: &Core, call: &Call, rule: Rule, status: u16, code: &str, detail: &str) -> Reply {
    core.violation(rule, &call.method, &call.target(), detail);
    error(status, code, detail)
}

/// The error shape of RFC 6749.
fn error(status: u16, code: &str, detail: &str) -> Reply {
    Reply::json(status, &json!({"error": code, "error_description": detail}))
}
