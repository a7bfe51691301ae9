//! `/site/oauth2/access_token`: a Connect JWT exchanged for a bearer token (bitbucket.md §1.6).

use std::sync::Arc;

use serde_json::json;

use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::judge;
use crate::model::{Secret, Token};
use crate::reply::{Outcome, Reply};

const GRANT: &str = "urn:bitbucket:oauth2:jwt";
/// Life of an access token in seconds (bitbucket.md §2.4).
const LIFE: i64 = 3600;

pub(crate) async fn serve(core: Arc<Core>, call: Arc<Call>) -> Outcome {
    if call.path != "/site/oauth2/access_token" {
        core.violation(
            Rule::UnknownRoute,
            &call.method,
            &call.target(),
            "not served",
        );
        return Err(Reply::error(404, "Resource not found"));
    }
    if call.method != "POST" {
        core.violation(Rule::WrongMethod, &call.method, &call.target(), "only POST");
        return Err(Reply::error(405, "Method not allowed"));
    }
    exchange(&core, &call)
}

fn exchange(core: &Core, call: &Call) -> Outcome {
    let grant = call.field("grant_type").unwrap_or_default();
    if call.content_type() != "application/x-www-form-urlencoded" || grant != GRANT {
        return Err(refuse(
            core,
            call,
            400,
            "unsupported_grant_type",
            &format!("only a form with grant_type={GRANT} is served"),
        ));
    }
    let token = call
        .header("authorization")
        .and_then(|h| h.strip_prefix("JWT "))
        .ok_or_else(|| {
            refuse(
                core,
                call,
                401,
                "invalid_client",
                "Authorization must be `JWT <token>`",
            )
        })?;
    let install = judge::connect(core, call, token, false).map_err(|wrong| {
        core.violation(
            wrong.rule,
            &call.method,
            &call.target(),
            wrong.detail.as_str(),
        );
        error(401, "invalid_grant", &wrong.detail)
    })?;
    let access = Secret::random();
    core.store.write(|state| {
        state.tokens.push(Token {
            token: access.clone(),
            workspace: install.workspace.clone(),
            scopes: install.scopes.clone(),
            expires_at: Some(core.clock.now().timestamp() + LIFE),
            client_key: Some(install.client_key.clone()),
        });
    })?;
    let scopes = install.scopes.join(" ");
    Ok(Reply::json(
        200,
        &json!({
            "access_token": access.expose(), "token_type": "bearer", "expires_in": LIFE,
            "scope": scopes, "scopes": scopes,
        }),
    ))
}

fn refuse(core: &Core, call: &Call, status: u16, code: &str, detail: &str) -> Reply {
    core.violation(Rule::TokenRequest, &call.method, &call.target(), detail);
    error(status, code, detail)
}

/// The error shape of RFC 6749.
fn error(status: u16, code: &str, detail: &str) -> Reply {
    Reply::json(status, &json!({"error": code, "error_description": detail}))
}
