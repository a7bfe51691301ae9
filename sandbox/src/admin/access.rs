//! Controls that make people's roles, consumers and other credentials.

use serde::Deserialize;
use serde_json::json;

use super::{bad, body, created};
use crate::call::Call;
use crate::core::Core;
use crate::credentials::NewCredential;
use crate::model::{Consumer, Credential, CredentialKind};
use crate::oauth::{Access, ChangeConsumer, NewConsumer};
use crate::reply::{Outcome, Reply};
use crate::setup::NewMember;

/// None when the path is another control's.
pub(super) fn serve(core: &Core, call: &Call, path: &str) -> Option<Outcome> {
    if call.method != "POST" {
        return None;
    }
    Some(match path {
        "members" => body::<NewMember>(call)
            .and_then(|new| core.add_member(&new).map_err(bad))
            .map(|()| Reply::empty(204)),
        "consumers" => body::<NewConsumer>(call)
            .and_then(|new| core.create_consumer(&new).map_err(bad))
            .and_then(|made| consumer(&made)),
        "consumers/change" => body::<ChangeConsumer>(call)
            .and_then(|change| core.change_consumer(&change).map_err(bad))
            .and_then(|made| consumer(&made)),
        "grants" => body::<Access>(call)
            .and_then(|access| core.grant(&access).map_err(bad))
            .and_then(|code| created(&json!({"code": code.expose()}))),
        "credentials" => body::<NewCredential>(call)
            .and_then(|new| core.create_credential(&new).map_err(bad))
            .and_then(|made| credential(&made)),
        "credentials/revoke" => body::<Id>(call)
            .and_then(|one| core.revoke_credential(&one.id).map_err(bad))
            .map(|()| Reply::empty(204)),
        "server" => body::<Server>(call)
            .and_then(|set| core.allow_app_passwords(set.app_passwords).map_err(bad))
            .map(|()| Reply::empty(204)),
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    app_passwords: bool,
}

fn credential(made: &Credential) -> Outcome {
    let label = match made.kind {
        CredentialKind::ApiToken | CredentialKind::AppPassword => format!("user {}", made.account),
        _ => made.id.clone(),
    };
    created(&json!({
        "id": made.id, "login": made.login, "token": made.secret.expose(), "label": label,
        "account": made.account, "scopes": made.scopes, "expires_at": made.expires_at,
    }))
}

fn consumer(consumer: &Consumer) -> Outcome {
    created(&json!({
        "key": consumer.key, "secret": consumer.secret.expose(),
        "label": format!("consumer {}", consumer.key), "scopes": consumer.scopes,
        "expires_in": consumer.expires_in, "refresh_grace": consumer.refresh_grace,
    }))
}
