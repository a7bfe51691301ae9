//! Whether a caller may do what it asks: kind of credential, reach, scopes, rate.

use std::collections::BTreeMap;

use serde_json::json;

use super::routes::Route;
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::judge::{self, Caller, Kind, Wrong};
use crate::limits::Counted;
use crate::protocol::operations::{self, Operation};
use crate::reply::Reply;

type Headers = Vec<(&'static str, String)>;

/// A caller that was let in, and the headers of its answer.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    pub(super) headers: Headers,
}

pub(super) fn admit(
    core: &Core,
    call: &Call,
    route: &Route,
    args: &BTreeMap<&'static str, String>,
) -> Result<Admitted, Reply> {
    let caller = judge::caller(core, call).map_err(|wrong| wrong.refuse(core, call))?;
    let path = route.template.trim_start_matches("/2.0");
    let operation = operations::find(route.method, path);
    let mut headers = operation.map_or_else(Vec::new, |o| scope_headers(&caller, o));
    let judged = kind(core, call, route, &caller, operation)
        .and_then(|()| reach(core, call, &caller, args))
        .and_then(|()| scope(core, call, &caller, operation));
    judged.map_err(|refused| refused.with_all(&headers))?;
    let counted = core
        .limits
        .count(&caller.label, core.clock.now().timestamp());
    if let Some(counted) = counted {
        if caller.kind == Kind::AccessToken {
            headers.extend(rate_headers(&counted));
        }
        if counted.over {
            let reply = Reply::error(429, "Rate limit for this resource has been exceeded");
            let wait = counted.retry_after.map(|s| ("retry-after", s.to_string()));
            headers.extend(wait);
            return Err(reply.with_all(&headers));
        }
    }
    Ok(Admitted { caller, headers })
}

/// What the credential may do and what the operation asks for. Connect JWTs get none.
fn scope_headers(caller: &Caller, operation: &Operation) -> Headers {
    if caller.kind == Kind::Connect {
        return Vec::new();
    }
    vec![
        ("x-oauth-scopes", caller.scopes.join(", ")),
        (
            "x-accepted-oauth-scopes",
            caller.needs(operation).join(", "),
        ),
    ]
}

/// Only access tokens are told (bitbucket.md §4.5).
fn rate_headers(counted: &Counted) -> Headers {
    vec![
        ("x-ratelimit-limit", counted.limit.to_string()),
        ("x-ratelimit-resource", "api".to_owned()),
        ("x-ratelimit-nearlimit", counted.near().to_string()),
    ]
}

fn kind(
    core: &Core,
    call: &Call,
    route: &Route,
    caller: &Caller,
    operation: Option<&Operation>,
) -> Result<(), Reply> {
    let guarded = operation.filter(|o| o.is_guarded());
    let closed = match caller.kind {
        Kind::ApiToken => guarded.is_some_and(|o| !o.api_token),
        // Access tokens cannot ask about permissions (bitbucket.md §6).
        Kind::AccessToken => route.template.contains("/permission"),
        _ => false,
    };
    if closed {
        let detail = "This resource does not support authentication using the provided token";
        return Err(Wrong::new(Rule::CredentialKind, 403, detail).refuse(core, call));
    }
    Ok(())
}

/// Whether the path names a workspace or repository that the credential does not reach.
fn reach(
    core: &Core,
    call: &Call,
    caller: &Caller,
    args: &BTreeMap<&'static str, String>,
) -> Result<(), Reply> {
    let Some(workspace) = args.get("workspace") else {
        return Ok(());
    };
    let foreign = core.store.read(|state| {
        let repo = args
            .get("repo")
            .and_then(|r| state.repository(workspace, r));
        match (repo, state.workspace(workspace)) {
            (Some(repository), _) => !state.sees(&caller.reach, repository),
            (None, Some(workspace)) => !state.sees_workspace(&caller.reach, &workspace.uuid),
            (None, None) => false,
        }
    });
    if !foreign {
        return Ok(());
    }
    // Repositories of others are not visible; workspaces are, but closed.
    let status = if args.contains_key("repo") { 404 } else { 403 };
    let detail = "the credential does not reach this";
    Err(Wrong::new(Rule::ForeignWorkspace, status, detail).refuse(core, call))
}

fn scope(
    core: &Core,
    call: &Call,
    caller: &Caller,
    operation: Option<&Operation>,
) -> Result<(), Reply> {
    let needed = operation.map_or(&[][..], |o| caller.needs(o));
    match needed.iter().all(|scope| caller.allows(scope)) {
        true => Ok(()),
        false => Err(scope_error(core, call, caller, needed)),
    }
}

/// The 403 of a missing scope.
pub(super) fn scope_error(core: &Core, call: &Call, caller: &Caller, needed: &[String]) -> Reply {
    let (required, granted) = (needed.join(", "), caller.scopes.join(", "));
    let detail = format!("needed: {required}; granted: {granted}");
    core.violation(Rule::Scope, &call.method, &call.target(), detail);
    Reply::json(
        403,
        &json!({"type": "error", "error": {
            "message": "Your credentials lack one or more required privilege scopes.",
            "detail": {"required": needed, "granted": caller.scopes},
        }}),
    )
}
