use serde_json::{Value, json};

use super::cursor::Cursor;
use super::{Cx, paging};
use crate::git::log::{self, Range};
use crate::git::{is_path, refs};
use crate::journal::Rule;
use crate::model::Repository;
use crate::reply::{Outcome, Reply};
use crate::wire;

/// `commits` and `commits/{revision}`, by GET or by a POST form (bitbucket.md §3.4).
pub(super) async fn list(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let length = paging::length(&cx, 30)?;
    let cursor = match cx.call.param("page") {
        Some(page) => cx
            .core
            .cursors
            .find(&page, &repository.uuid)
            .ok_or_else(|| {
                cx.wrong(
                    Rule::BadPage,
                    404,
                    "Invalid page: it must be taken from `next`",
                )
            })?,
        None => {
            let range = range(&cx, &repository).await?;
            Cursor {
                repository: repository.uuid.clone(),
                range,
                offset: 0,
            }
        }
    };
    let dir = cx.git_dir(&repository);
    let mut commits = log::log(&dir, &cursor.range, cursor.offset, length + 1).await?;
    let more = commits.len() > length;
    commits.truncate(length);
    let values: Vec<Value> = cx.core.store.read(|state| {
        commits
            .iter()
            .map(|c| wire::commit(&cx.core, state, &repository, c))
            .collect()
    });
    let mut body = json!({"pagelen": length, "values": values});
    if let (true, Some(map)) = (more, body.as_object_mut()) {
        let next = Cursor {
            offset: cursor.offset + length,
            ..cursor
        };
        let page = cx.core.cursors.issue(next);
        map.insert("next".into(), json!(paging::with_page(&cx, &page)));
    }
    Ok(Reply::json(200, &body))
}

async fn range(cx: &Cx, repository: &Repository) -> Result<Range, Reply> {
    let mut range = Range::default();
    let mut pairs = cx.call.params();
    if cx.call.method == "POST" {
        if cx.call.content_type() != "application/x-www-form-urlencoded" {
            return Err(cx.wrong(Rule::BodyFormat, 400, "the body must be a form"));
        }
        pairs.extend(cx.call.form());
    }
    if !cx.arg("revision").is_empty() {
        pairs.push(("include".to_owned(), cx.arg("revision").to_owned()));
    }
    for (name, value) in pairs {
        match name.as_str() {
            "include" => range.include.push(cx.resolve(repository, &value).await?),
            "exclude" => range.exclude.push(cx.resolve(repository, &value).await?),
            "path" if is_path(&value) => range.path = Some(value),
            "path" => return Err(cx.wrong(Rule::BadQuery, 400, "path is not a path")),
            _ => {}
        }
    }
    if range.include.is_empty() {
        let all = refs::all(&cx.git_dir(repository)).await?;
        range.include = all.into_values().map(|r| r.commit).collect();
    }
    Ok(range)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let hash = cx.resolve(&repository, cx.arg("commit")).await?;
    let commit = log::one(&cx.git_dir(&repository), &hash).await?;
    let commit = commit.ok_or_else(|| Reply::error(404, "Commit not found"))?;
    Ok(Reply::json(
        200,
        &cx.core
            .store
            .read(|state| wire::commit(&cx.core, state, &repository, &commit)),
    ))
}
