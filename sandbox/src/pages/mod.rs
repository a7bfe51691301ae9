//! What the sandbox has, for people: rendered here as text, no script.

mod home;
pub(crate) mod html;
mod pulls;
mod repository;

use std::sync::Arc;

use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::reply::{Outcome, Reply};
use html::page;

const AVATAR: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#5b6675"/><circle cx="16" cy="13" r="5" fill="#fff"/><path d="M6 28c1-7 19-7 20 0" fill="#fff"/></svg>"##;

pub(crate) async fn serve(core: Arc<Core>, call: Arc<Call>) -> Outcome {
    let mut segments = call.segments();
    segments.retain(|segment| !segment.is_empty());
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    if !matches!(call.method.as_str(), "GET" | "HEAD") {
        core.violation(
            Rule::WrongMethod,
            &call.method,
            &call.target(),
            "pages are only read",
        );
        return Err(Reply::error(405, "pages are only read"));
    }
    let found = match parts.as_slice() {
        [] => Some(home::index(&core)),
        ["avatar.svg"] => return Ok(Reply::new(200, "image/svg+xml", AVATAR)),
        ["favicon.ico"] => return Ok(Reply::empty(204)),
        [workspace] => home::workspace(&core, workspace),
        [workspace, repo, rest @ ..] => {
            let repository = core.store.read(|s| s.repository(workspace, repo).cloned());
            match (repository, rest) {
                (Some(r), []) => Some(repository::overview(&core, &r).await?),
                (Some(r), ["issues"]) => Some(repository::issues(&core, &r)),
                (Some(r), ["issues", id]) => repository::issue(&core, &r, id),
                (Some(r), ["pull-requests"]) => Some(pulls::list(&core, &r)),
                (Some(r), ["pull-requests", id]) => pulls::one(&core, &r, id).await?,
                (Some(r), ["commits", hash]) => repository::commit(&core, &r, hash).await?,
                _ => None,
            }
        }
    };
    match found {
        Some((title, body)) => Ok(Reply::html(200, page(&title, &body))),
        None => {
            // A browser may try anything; an API client that lost its way shows up by its headers.
            if !call
                .header("accept")
                .is_some_and(|a| a.contains("text/html"))
            {
                core.violation(
                    Rule::UnknownRoute,
                    &call.method,
                    &call.target(),
                    "no such page",
                );
            }
            Err(Reply::html(
                404,
                page("Not found", "<h1>There is no such page</h1>"),
            ))
        }
    }
}

/// Whether a call that changes something was not sent by a page of another site.
pub(crate) fn same_origin(call: &Call) -> bool {
    match (call.header("origin"), call.header("host")) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
                == Some(host)
        }
        (Some(_), None) => false,
    }
}
