//! The REST API below `/2.0` (bitbucket.md §3): one table of routes, one judge in front of it.

mod addon;
mod admit;
mod bbql;
mod body;
mod comments;
mod commits;
mod context;
pub(crate) mod cursor;
mod diffs;
mod fields;
mod hooks;
mod issues;
mod paging;
mod people;
mod projects;
mod pull_comments;
mod pulls;
mod refs;
mod removed;
mod repositories;
mod routes;
mod source;
mod statuses;
mod workspaces;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::judge::Wrong;
use crate::reply::{Outcome, Reply};
use crate::server::Ready;
use admit::scope_error;
pub(crate) use context::Cx;
use routes::{Access, ROUTES, Route};
pub(crate) use source::api_commit;

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
    let admitted = match route.access {
        Access::Public => None,
        Access::Removed => return Err(removed::gone(core, call)),
        Access::Signed => Some(admit::admit(core, call, route, &args)?),
    };
    let (caller, headers) = admitted.map_or((None, Vec::new()), |a| (Some(a.caller), a.headers));
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
        work: Box::pin(answer(route, cx, headers)),
    })
}

/// Does the work and puts the headers on whatever comes of it.
async fn answer(route: &'static Route, cx: Cx, headers: Vec<(&'static str, String)>) -> Outcome {
    let asked = cx.call.param("fields");
    match (route.run)(cx).await {
        Ok(reply) => Ok(narrow(reply, asked.as_deref()).with_all(&headers)),
        Err(refused) => Err(refused.with_all(&headers)),
    }
}

/// Leaves out of a JSON answer what `fields` does not ask for.
fn narrow(mut reply: Reply, asked: Option<&str>) -> Reply {
    let is_json = reply
        .headers
        .iter()
        .any(|(_, value)| value == "application/json");
    if let (true, Some(spec)) = (is_json, asked)
        && let Ok(value) = serde_json::from_slice(&reply.body)
    {
        reply.body = fields::apply(spec, value).to_string().into();
    }
    reply
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
pub(crate) fn fit(
    template: &'static str,
    segments: &[String],
) -> Option<BTreeMap<&'static str, String>> {
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
