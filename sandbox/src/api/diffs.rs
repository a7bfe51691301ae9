use serde_json::{Value, json};

use super::{Cx, paging};
use crate::git::diff::{self, Options, Sides};
use crate::git::is_path;
use crate::journal::Rule;
use crate::model::Repository;
use crate::protocol::qsh::encode;
use crate::reply::{Outcome, Reply};

pub(super) async fn diff(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let options = options(&cx)?;
    let sides = sides(&cx, &repository).await?;
    let text = diff::text(&cx.git_dir(&repository), &sides, &options).await?;
    Ok(Reply::new(200, "text/plain", text))
}

pub(super) async fn diffstat(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let options = options(&cx)?;
    let sides = sides(&cx, &repository).await?;
    let stats = diff::stats(&cx.git_dir(&repository), &sides, &options).await?;
    let full_name = cx.core.store.read(|s| s.full_name(&repository));
    let side = |path: &Option<String>, hash: &str| {
        path.as_ref().map(|path| {
            let parts: Vec<String> = path.split('/').map(encode).collect();
            let href = format!("/repositories/{full_name}/src/{hash}/{}", parts.join("/"));
            json!({
                "type": "commit_file", "path": path, "escaped_path": path,
                "links": {"self": {"href": cx.core.api(&href)}},
            })
        })
    };
    let items: Vec<Value> = stats
        .iter()
        .map(|s| {
            json!({
                "type": "diffstat", "status": s.status,
                "lines_added": s.added, "lines_removed": s.removed,
                "old": side(&s.old, &sides.old), "new": side(&s.new, &sides.new),
            })
        })
        .collect();
    paging::answer(&cx, items, 500)
}

/// One revision: against its first parent. `a..b`: source first, destination second, three-dot
/// unless `topic=false` (bitbucket.md §3.4).
async fn sides(cx: &Cx, repository: &Repository) -> Result<Sides, Reply> {
    let dir = cx.git_dir(repository);
    let spec = cx.arg("spec");
    let Some((source, destination)) = spec.split_once("..") else {
        let hash = cx.resolve(repository, spec).await?;
        return Ok(diff::of_commit(&dir, &hash).await);
    };
    let source = cx.resolve(repository, source).await?;
    let destination = cx.resolve(repository, destination).await?;
    let topic = flag(cx, "topic")?.unwrap_or(true);
    Ok(diff::between(&dir, &source, &destination, topic).await)
}

fn options(cx: &Cx) -> Result<Options, Reply> {
    let context = match cx.call.param("context") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| cx.wrong(Rule::BadQuery, 400, "context must be a number of lines"))?,
        ),
    };
    let paths: Vec<String> = cx
        .call
        .params()
        .into_iter()
        .filter(|(n, _)| n == "path")
        .map(|(_, v)| v)
        .collect();
    if !paths.iter().all(|p| is_path(p)) {
        return Err(cx.wrong(Rule::BadQuery, 400, "path is not a path"));
    }
    Ok(Options {
        context,
        ignore_whitespace: flag(cx, "ignore_whitespace")?.unwrap_or(false),
        no_renames: !flag(cx, "renames")?.unwrap_or(true),
        paths,
    })
}

fn flag(cx: &Cx, name: &str) -> Result<Option<bool>, Reply> {
    match cx
        .call
        .param(name)
        .map(|v| v.to_ascii_lowercase())
        .as_deref()
    {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(cx.wrong(
            Rule::BadQuery,
            400,
            &format!("{name} must be true or false"),
        )),
    }
}
