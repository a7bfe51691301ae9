//! Commits between two points.

use serde_json::Value;

use super::{Dc, wire};
use crate::git::is_path;
use crate::git::log::{self, Merges, Range};
use crate::journal::Rule;
use crate::model::{Permission, Repository};
use crate::reply::{Outcome, Reply};

/// `commits`: what `until` has and `since` has not, newest first.
pub(super) async fn list(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let merges = match dc.param("merges").as_str() {
        "" | "include" => Merges::Include,
        "exclude" => Merges::Exclude,
        "only" => Merges::Only,
        _ => return Err(dc.wrong(Rule::BadQuery, 400, "merges is include, exclude or only")),
    };
    let path = Some(dc.param("path")).filter(|p| !p.is_empty());
    if path.as_ref().is_some_and(|p| !is_path(p)) {
        return Err(dc.wrong(Rule::BadQuery, 400, "path is not a path"));
    }
    let (since, until) = (dc.param("since"), dc.param("until"));
    if until.is_empty()
        && crate::git::refs::main_branch(&dc.git_dir(&repository))
            .await
            .is_none()
    {
        return dc.list(&[], |_: &Value| Value::Null);
    }
    if let (Some(path), "true") = (&path, dc.param("followRenames").as_str()) {
        return followed(&dc, &repository, &until, path).await;
    }
    let mut range = range(&dc, &repository, &since, &until).await?;
    range.merges = merges;
    range.path = path;
    show(&dc, &repository, &range).await
}

/// Commits that changed one file, over its renames.
async fn followed(dc: &Dc, repository: &Repository, until: &str, path: &str) -> Outcome {
    let hash = dc.resolve(repository, until).await?;
    let dir = dc.git_dir(repository);
    let steps = log::file_history(&dir, &hash, path, true).await?;
    let hashes: Vec<String> = steps.into_iter().map(|step| step.hash).collect();
    let commits = log::exactly(&dir, &hashes).await?;
    let page = dc.page()?;
    let values: Vec<Value> = dc.core.store.read(|state| {
        let here = commits.iter().skip(page.start).take(page.limit);
        here.map(|c| wire::commit(&dc.core, state, c)).collect()
    });
    let more = page.start + values.len() < commits.len();
    Ok(Reply::json(200, &dc.envelope(page, values, more)))
}

/// `compare/commits`: what `from` has and `to` has not.
pub(super) async fn compare(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let range = range(&dc, &repository, &dc.param("to"), &dc.param("from")).await?;
    show(&dc, &repository, &range).await
}

async fn range(dc: &Dc, repository: &Repository, since: &str, until: &str) -> Result<Range, Reply> {
    let mut range = Range {
        include: vec![dc.resolve(repository, until).await?],
        ..Range::default()
    };
    if !since.is_empty() {
        range.exclude.push(dc.resolve(repository, since).await?);
    }
    Ok(range)
}

async fn show(dc: &Dc, repository: &Repository, range: &Range) -> Outcome {
    let page = dc.page()?;
    let dir = dc.git_dir(repository);
    let mut commits = log::log(&dir, range, page.start, page.limit + 1).await?;
    let more = commits.len() > page.limit;
    commits.truncate(page.limit);
    let values = dc.core.store.read(|state| {
        let shown = commits.iter().map(|c| wire::commit(&dc.core, state, c));
        shown.collect()
    });
    Ok(Reply::json(200, &dc.envelope(page, values, more)))
}

pub(super) async fn get(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let hash = dc.resolve(&repository, dc.arg("commit")).await?;
    let found = log::one(&dc.git_dir(&repository), &hash).await?;
    let shown = dc.core.store.read(|state| {
        let commit = found.as_ref();
        commit.map_or(Value::Null, |c| wire::commit(&dc.core, state, c))
    });
    Ok(Reply::json(200, &shown))
}
