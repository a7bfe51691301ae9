//! The REST API below `/2.0` (bitbucket.md §3): one table of routes, one judge in front of it.

mod addon;
mod bbql;
mod body;
mod comments;
mod commits;
mod context;
pub(crate) mod cursor;
mod diffs;
mod hooks;
mod issues;
mod paging;
mod refs;
mod repositories;
mod source;
mod workspaces;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::judge::{self, Caller, Wrong};
use crate::reply::{Outcome, Reply};
use crate::server::Ready;
pub(crate) use context::Cx;
pub(crate) use source::api_commit;

/// Who may call an operation.
#[derive(Clone, Copy)]
enum Need {
    /// Everybody.
    Public,
    /// Any credential.
    Any,
    /// A credential with this scope.
    Scope(&'static str),
}

struct Route {
    method: &'static str,
    /// `{name}` is one segment, `{*name}` the rest of the path.
    template: &'static str,
    need: Need,
    /// Query parameters it knows, beside `fields`.
    params: &'static [&'static str],
    run: fn(Cx) -> BoxFuture<'static, Outcome>,
}

const NONE: &[&str] = &[];
const PAGED: &[&str] = &["page", "pagelen"];
const LIST: &[&str] = &["q", "sort", "page", "pagelen"];
const REPOS: &[&str] = &["role", "q", "sort", "page", "pagelen"];
const COMMITS: &[&str] = &["include", "exclude", "path", "page", "pagelen"];
const DIFF: &[&str] = &[
    "context",
    "path",
    "ignore_whitespace",
    "binary",
    "renames",
    "merge",
    "topic",
];
const DIFFSTAT: &[&str] = &[
    "ignore_whitespace",
    "merge",
    "path",
    "renames",
    "topic",
    "page",
    "pagelen",
];
const SOURCE: &[&str] = &["format", "q", "sort", "max_depth", "page", "pagelen"];
const HISTORY: &[&str] = &["renames", "q", "sort", "page", "pagelen"];
const PULLS: &[&str] = &["state", "q", "sort", "page", "pagelen"];
const NEW_SOURCE: &[&str] = &["message", "author", "parents", "files", "branch"];

const REPOSITORY: Need = Need::Scope("repository");
const WRITE: Need = Need::Scope("repository:write");
const WEBHOOK: Need = Need::Scope("webhook");
const ISSUE: Need = Need::Scope("issue");
const ISSUE_WRITE: Need = Need::Scope("issue:write");
const PULLREQUEST: Need = Need::Scope("pullrequest");

macro_rules! routes {
    ($($method:ident $template:literal $need:expr, $params:expr => $run:path;)*) => {
        &[$(Route {
            method: stringify!($method),
            template: $template,
            need: $need,
            params: $params,
            run: |cx| Box::pin($run(cx)),
        }),*]
    };
}

static ROUTES: &[Route] = routes! {
    GET "/2.0/hook_events" Need::Public, NONE => hooks::subjects;
    GET "/2.0/hook_events/{subject}" Need::Public, PAGED => hooks::event_list;
    PUT "/2.0/addon" Need::Any, NONE => addon::update;
    DELETE "/2.0/addon" Need::Any, NONE => addon::delete;

    GET "/2.0/workspaces/{workspace}" Need::Any, NONE => workspaces::get;
    GET "/2.0/workspaces/{workspace}/hooks" WEBHOOK, PAGED => hooks::list;
    POST "/2.0/workspaces/{workspace}/hooks" WEBHOOK, NONE => hooks::create;
    GET "/2.0/workspaces/{workspace}/hooks/{uid}" WEBHOOK, NONE => hooks::get;
    PUT "/2.0/workspaces/{workspace}/hooks/{uid}" WEBHOOK, NONE => hooks::update;
    DELETE "/2.0/workspaces/{workspace}/hooks/{uid}" WEBHOOK, NONE => hooks::delete;

    GET "/2.0/repositories/{workspace}" REPOSITORY, REPOS => repositories::list;
    GET "/2.0/repositories/{workspace}/{repo}" REPOSITORY, NONE => repositories::get;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests" PULLREQUEST, PULLS => repositories::pull_requests;

    GET "/2.0/repositories/{workspace}/{repo}/commits" REPOSITORY, COMMITS => commits::list;
    POST "/2.0/repositories/{workspace}/{repo}/commits" REPOSITORY, COMMITS => commits::list;
    GET "/2.0/repositories/{workspace}/{repo}/commits/{revision}" REPOSITORY, COMMITS => commits::list;
    POST "/2.0/repositories/{workspace}/{repo}/commits/{revision}" REPOSITORY, COMMITS => commits::list;
    GET "/2.0/repositories/{workspace}/{repo}/commit/{commit}" REPOSITORY, NONE => commits::get;
    GET "/2.0/repositories/{workspace}/{repo}/diff/{spec}" REPOSITORY, DIFF => diffs::diff;
    GET "/2.0/repositories/{workspace}/{repo}/diffstat/{spec}" REPOSITORY, DIFFSTAT => diffs::diffstat;

    GET "/2.0/repositories/{workspace}/{repo}/src" REPOSITORY, NONE => source::root;
    POST "/2.0/repositories/{workspace}/{repo}/src" WRITE, NEW_SOURCE => source::create;
    GET "/2.0/repositories/{workspace}/{repo}/src/{commit}/{*path}" REPOSITORY, SOURCE => source::get;
    GET "/2.0/repositories/{workspace}/{repo}/filehistory/{commit}/{*path}" REPOSITORY, HISTORY => source::history;

    GET "/2.0/repositories/{workspace}/{repo}/refs" REPOSITORY, LIST => refs::list;
    GET "/2.0/repositories/{workspace}/{repo}/refs/{kind}" REPOSITORY, LIST => refs::list;
    GET "/2.0/repositories/{workspace}/{repo}/refs/{kind}/{name}" REPOSITORY, NONE => refs::get;

    GET "/2.0/repositories/{workspace}/{repo}/hooks" WEBHOOK, PAGED => hooks::list;
    POST "/2.0/repositories/{workspace}/{repo}/hooks" WEBHOOK, NONE => hooks::create;
    GET "/2.0/repositories/{workspace}/{repo}/hooks/{uid}" WEBHOOK, NONE => hooks::get;
    PUT "/2.0/repositories/{workspace}/{repo}/hooks/{uid}" WEBHOOK, NONE => hooks::update;
    DELETE "/2.0/repositories/{workspace}/{repo}/hooks/{uid}" WEBHOOK, NONE => hooks::delete;

    GET "/2.0/repositories/{workspace}/{repo}/issues" ISSUE, LIST => issues::list;
    POST "/2.0/repositories/{workspace}/{repo}/issues" ISSUE_WRITE, NONE => issues::create;
    GET "/2.0/repositories/{workspace}/{repo}/issues/{id}" ISSUE, NONE => issues::get;
    PUT "/2.0/repositories/{workspace}/{repo}/issues/{id}" ISSUE_WRITE, NONE => issues::update;
    DELETE "/2.0/repositories/{workspace}/{repo}/issues/{id}" ISSUE_WRITE, NONE => issues::delete;
    GET "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments" ISSUE, LIST => comments::list;
    POST "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments" ISSUE_WRITE, NONE => comments::create;
    GET "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments/{comment}" ISSUE, NONE => comments::get;
    PUT "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments/{comment}" ISSUE_WRITE, NONE => comments::update;
    DELETE "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments/{comment}" ISSUE_WRITE, NONE => comments::delete;
};

/// Judges route, credential, workspace, scope and rate of a call.
pub(crate) fn judge(core: &Arc<Core>, call: &Arc<Call>) -> Result<Ready, Reply> {
    let refuse = |rule, status, detail: &str| Wrong::new(rule, status, detail).refuse(core, call);
    if call.path.contains(['{', '}']) {
        return Err(refuse(
            Rule::LiteralBrace,
            400,
            "braces in a path must be percent-encoded",
        ));
    }
    let (route, args) = find(call).map_err(|rule| match rule {
        Rule::WrongMethod => refuse(rule, 405, "the resource has no such method"),
        _ => refuse(rule, 404, "Resource not found"),
    })?;
    for (name, _) in call.params() {
        let known = route.params.contains(&name.as_str()) || name == "fields";
        if !known && !matches!(name.as_str(), "jwt" | "access_token") {
            let detail = format!("{} has no parameter {name:?}", route.template);
            core.violation(Rule::UnknownParameter, &call.method, &call.target(), detail);
        }
    }
    let caller = match route.need {
        Need::Public => None,
        _ => Some(admit(core, call, route, &args)?),
    };
    let credential = caller.as_ref().map(|c| c.label.clone());
    let cx = Cx {
        core: Arc::clone(core),
        call: Arc::clone(call),
        caller,
        args,
    };
    Ok(Ready {
        template: route.template,
        credential,
        work: (route.run)(cx),
    })
}

/// Credential, then workspace, then scope, then rate.
fn admit(
    core: &Core,
    call: &Call,
    route: &Route,
    args: &BTreeMap<&'static str, String>,
) -> Result<Caller, Reply> {
    let caller = judge::caller(core, call).map_err(|wrong| wrong.refuse(core, call))?;
    if is_foreign(core, &caller, args) {
        // Repositories of others are not visible; workspaces are, but closed.
        let status = if args.contains_key("repo") { 404 } else { 403 };
        let detail = "the credential does not reach this workspace";
        return Err(Wrong::new(Rule::ForeignWorkspace, status, detail).refuse(core, call));
    }
    if let Need::Scope(scope) = route.need
        && !caller.allows(scope)
    {
        return Err(scope_error(core, call, &caller, scope));
    }
    let now = core.clock.now().timestamp();
    if let Some(rule) = core.limits.over(&caller.label, now) {
        let reply = Reply::error(429, "Rate limit for this resource has been exceeded");
        return Err(match rule.retry_after {
            Some(seconds) => reply.with("retry-after", seconds.to_string()),
            None => reply,
        });
    }
    Ok(caller)
}

/// The 403 of a missing scope.
pub(crate) fn scope_error(core: &Core, call: &Call, caller: &Caller, scope: &str) -> Reply {
    let granted = caller.scopes.join(", ");
    let detail = format!("scope {scope} is needed, granted are: {granted}");
    core.violation(Rule::Scope, &call.method, &call.target(), detail);
    Reply::json(
        403,
        &serde_json::json!({"type": "error", "error": {
            "message": "Your credentials lack one or more required privilege scopes.",
            "detail": {"required": [scope], "granted": caller.scopes},
        }}),
    )
}

/// Whether the path names a workspace or repository that the credential does not reach.
fn is_foreign(core: &Core, caller: &Caller, args: &BTreeMap<&'static str, String>) -> bool {
    let Some(workspace) = args.get("workspace") else {
        return false;
    };
    core.store.read(|state| match args.get("repo") {
        Some(repo) => match state.repository(workspace, repo) {
            Some(repository) => !state.sees(&caller.reach, repository),
            None => state
                .workspace(workspace)
                .is_some_and(|w| !state.sees_workspace(&caller.reach, &w.uuid)),
        },
        None => state
            .workspace(workspace)
            .is_some_and(|w| !state.sees_workspace(&caller.reach, &w.uuid)),
    })
}

/// The route of a call and the values of its placeholders.
fn find(call: &Call) -> Result<(&'static Route, BTreeMap<&'static str, String>), Rule> {
    let segments = call.segments();
    let mut other_method = false;
    for route in ROUTES {
        let Some(args) = fit(route.template, &segments) else {
            continue;
        };
        if route.method == call.method || (route.method == "GET" && call.method == "HEAD") {
            return Ok((route, args));
        }
        other_method = true;
    }
    Err(if other_method {
        Rule::WrongMethod
    } else {
        Rule::UnknownRoute
    })
}

/// Matches a template. One trailing slash does not matter, save after `{*path}`.
fn fit(template: &'static str, segments: &[String]) -> Option<BTreeMap<&'static str, String>> {
    let mut args = BTreeMap::new();
    let mut given = segments.iter();
    for part in template.split('/').skip(1) {
        let name = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'));
        match name.map(|n| (n, n.strip_prefix('*'))) {
            Some((_, Some(rest))) => {
                let tail: Vec<&str> = given.by_ref().map(String::as_str).collect();
                // The root needs its trailing slash: at least one, maybe empty, segment.
                if tail.is_empty() {
                    return None;
                }
                args.insert(rest, tail.join("/"));
            }
            Some((name, None)) => {
                let value = given.next().filter(|v| !v.is_empty())?;
                args.insert(name, value.clone());
            }
            None => {
                given.next().filter(|v| *v == part)?;
            }
        }
    }
    match (given.next(), given.next()) {
        (None, _) => Some(args),
        (Some(last), None) if last.is_empty() => Some(args),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn templates_fit() {
        let template = "/2.0/repositories/{workspace}/{repo}/src/{commit}/{*path}";
        let args = fit(template, &segments("/2.0/repositories/w/r/src/main/a/b.rs")).unwrap();
        assert_eq!(args["path"], "a/b.rs");
        assert_eq!(args["repo"], "r");
        assert_eq!(
            fit(template, &segments("/2.0/repositories/w/r/src/main/")).unwrap()["path"],
            ""
        );
        assert!(fit(template, &segments("/2.0/repositories/w/r/src/main")).is_none());
        let list = "/2.0/repositories/{workspace}";
        assert!(fit(list, &segments("/2.0/repositories/w/")).is_some());
        assert!(fit(list, &segments("/2.0/repositories/")).is_none());
        assert!(fit(list, &segments("/2.0/repositories/w//")).is_none());
    }
}
