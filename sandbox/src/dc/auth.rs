//! HTTP access tokens: bearer tokens of a person (bitbucket.md §7).

use super::{error, wrong};
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::judge::{self, Wrong};
use crate::model::{Credential, CredentialKind, Permission, Secret};
use crate::reply::Reply;

const FAILED: &str = "Authentication failed. Please check your credentials and try again.";
const FAILURE: &str = "auth.IncorrectPasswordAuthenticationException";

/// Who calls.
pub(super) struct Person {
    /// Account uuid.
    pub(super) user: String,
    /// The most the token may do.
    pub(super) permission: Permission,
    /// Name of the credential for counting and limits.
    pub(super) label: String,
}

type Headers = Vec<(&'static str, String)>;

/// The person of a call, and headers for its answer.
pub(super) fn admit(core: &Core, call: &Call) -> Result<(Person, Headers), Reply> {
    let found = credential(core, call).map_err(|wrong| wrong.refuse(core, call))?;
    let name = core
        .store
        .read(|s| s.user(&found.account).map(|u| u.nickname.clone()));
    let mut headers = vec![("x-ausername", name.unwrap_or_default())];
    if let Some(counted) = core.limits.count(&found.id, core.clock.now().timestamp()) {
        headers.push(("x-ratelimit-limit", counted.limit.to_string()));
        headers.push(("x-ratelimit-remaining", counted.left.to_string()));
        if counted.over {
            let wait = counted.retry_after.unwrap_or(1).to_string();
            let reply = error(
                429,
                "rest.RateLimitedException",
                "You have been rate limited.",
            );
            return Err(reply.with_all(&headers).with("retry-after", wait));
        }
    }
    let person = Person {
        user: found.account,
        permission: found.permission.unwrap_or(Permission::Read),
        label: found.id,
    };
    Ok((person, headers))
}

fn credential(core: &Core, call: &Call) -> Result<Credential, Wrong> {
    let refuse =
        |rule, detail: &str| Wrong::new(rule, 401, detail).answering(error(401, FAILURE, FAILED));
    if judge::header_only(call).is_err() {
        return Err(refuse(
            Rule::TokenInQuery,
            "a token belongs into the header",
        ));
    }
    let Some(header) = call.header("authorization") else {
        let message = "You are not permitted to access this resource";
        return Err(wrong(
            Rule::AuthMissing,
            401,
            "AuthorisationException",
            message,
        ));
    };
    let Some(token) = header.strip_prefix("Bearer ") else {
        return Err(refuse(Rule::AuthScheme, "only `Bearer <token>` is served"));
    };
    let (wanted, now) = (Secret::new(token), core.clock.now().timestamp());
    let found = core.store.read(|state| {
        let mut all = state.credentials.iter();
        all.find(|c| c.kind == CredentialKind::DataCenter && c.secret == wanted)
            .filter(|c| c.expires_at.is_none_or(|at| at > now))
            .cloned()
    });
    found.ok_or_else(|| refuse(Rule::BearerToken, "the access token is unknown or expired"))
}
