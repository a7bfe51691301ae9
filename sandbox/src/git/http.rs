//! Git over HTTP, served by git's own CGI program, and the push events that follow.

use std::sync::Arc;

use anyhow::Context as _;

use super::{command, finish, push};
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::reply::{Outcome, Reply};

/// Serves `/{workspace}/{repo}.git/…`. Everybody may read and write; credentials are ignored,
/// but the user name of basic authentication says who pushes.
pub(crate) async fn serve(core: Arc<Core>, call: Arc<Call>) -> Outcome {
    let unknown = || {
        core.violation(
            Rule::UnknownRoute,
            &call.method,
            &call.target(),
            "not a git address",
        );
        Reply::new(404, "text/plain", "not found\n")
    };
    let segments = call.segments();
    let [workspace, repo, rest @ ..] = segments.as_slice() else {
        return Err(unknown());
    };
    let Some(slug) = repo.strip_suffix(".git") else {
        return Err(unknown());
    };
    let service = rest.join("/");
    if !matches!(
        service.as_str(),
        "info/refs" | "git-upload-pack" | "git-receive-pack" | "HEAD"
    ) {
        return Err(unknown());
    }
    let Some(repository) = core.store.read(|s| s.repository(workspace, slug).cloned()) else {
        return Err(Reply::new(404, "text/plain", "repository not found\n"));
    };
    let dir = core.git_dir(&repository);
    if service != "git-receive-pack" {
        return cgi(&core, &call, &dir, &service).await;
    }
    let lock = core.push_lock(&repository);
    let guard = lock.lock().await;
    let before = super::refs::all(&dir).await?;
    let reply = cgi(&core, &call, &dir, &service).await?;
    let events = push::after(&core, &repository, &before, user(&call).as_deref()).await?;
    drop(guard);
    if let Some(pushed) = events {
        core.fire_push(&repository, pushed);
    }
    Ok(reply)
}

/// The user name of basic authentication.
fn user(call: &Call) -> Option<String> {
    let (name, _) = crate::judge::basic_pair(call.header("authorization")?)?;
    Some(name)
}

async fn cgi(core: &Core, call: &Call, dir: &std::path::Path, service: &str) -> Outcome {
    let root = core.data_dir.join("git");
    let inside = dir
        .strip_prefix(&root)
        .context("a repository outside the data folder")?;
    let mut backend = command(dir);
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{}/{service}", inside.display()))
        .env("REQUEST_METHOD", &call.method)
        .env("QUERY_STRING", &call.query)
        .env("CONTENT_LENGTH", call.body.len().to_string())
        .env("REMOTE_USER", "anonymous");
    let names = [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ];
    for (header, name) in names {
        if let Some(value) = call.header(header) {
            backend.env(name, value);
        }
    }
    let output = finish(backend, &call.body).await?;
    Ok(parse(&output))
}

/// Splits CGI output into status, headers and body.
fn parse(output: &[u8]) -> Reply {
    let mut rest = output;
    let mut status = 200;
    let mut content_type = "application/octet-stream".to_owned();
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let (line, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some(("Status", value)) => {
                status = value
                    .split(' ')
                    .next()
                    .and_then(|s| s.parse().ok())
                    .unwrap_or(500);
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-type") => {
                value.clone_into(&mut content_type);
            }
            _ => {}
        }
    }
    Reply::new(status, &content_type, rest.to_vec()).with("cache-control", "no-cache")
}
