//! Files: bytes, lists, lines and blame.

use serde_json::{Value, json};

use super::{Dc, error, wire};
use crate::git::blame;
use crate::git::is_path;
use crate::git::tree::{self, Entry, Node};
use crate::journal::Rule;
use crate::model::{Permission, Repository};
use crate::reply::{Outcome, Reply};

/// A path of a commit, looked up.
struct Place {
    repository: Repository,
    hash: String,
    path: String,
    node: Node,
}

async fn place(dc: &Dc) -> Result<Place, Reply> {
    let repository = dc.repository(Permission::Read)?;
    let path = dc.arg("path").trim_end_matches('/').to_owned();
    if !is_path(&path) {
        return Err(dc.wrong(Rule::BadQuery, 400, "not a path inside a repository"));
    }
    let at = dc.param("at");
    let hash = dc.resolve(&repository, &at).await?;
    let node = tree::node(&dc.git_dir(&repository), &hash, &path).await?;
    let node = node.ok_or_else(|| {
        let message = format!("The path \"{path}\" does not exist at revision \"{at}\"");
        error(404, "content.NoSuchPathException", &message)
    })?;
    Ok(Place {
        repository,
        hash,
        path,
        node,
    })
}

pub(super) async fn raw(dc: Dc) -> Outcome {
    let place = place(&dc).await?;
    match place.node {
        Node::File { bytes, .. } => {
            let kind = match std::str::from_utf8(&bytes) {
                Ok(_) => "text/plain;charset=UTF-8",
                Err(_) => "application/octet-stream",
            };
            Ok(Reply::new(200, kind, bytes))
        }
        Node::Directory => {
            let message = format!("The path \"{}\" is a directory", place.path);
            Err(error(400, "content.NotAFileException", &message))
        }
    }
}

async fn entries(dc: &Dc, place: &Place, depth: usize) -> Result<Vec<Entry>, Reply> {
    let dir = dc.git_dir(&place.repository);
    Ok(tree::list(&dir, &place.hash, &place.path, depth).await?)
}

/// A path below the one that was asked for.
fn below<'a>(place: &Place, entry: &'a Entry) -> &'a str {
    let rest = entry.path.strip_prefix(&place.path).unwrap_or(&entry.path);
    rest.trim_start_matches('/')
}

/// `files`: all paths below a directory.
pub(super) async fn list(dc: Dc) -> Outcome {
    let place = place(&dc).await?;
    let mut all = entries(&dc, &place, usize::MAX).await?;
    all.retain(|e| e.kind != "tree");
    dc.list(&all, |e| json!(below(&place, e)))
}

/// `browse`: the children of a directory, or the lines of a file.
pub(super) async fn browse(dc: Dc) -> Outcome {
    let place = place(&dc).await?;
    let is_on = |name: &str| {
        let given = dc.call.param(name);
        given.is_some_and(|v| v != "false")
    };
    if is_on("type") {
        let kind = match place.node {
            Node::File { .. } => "FILE",
            Node::Directory => "DIRECTORY",
        };
        return Ok(Reply::json(200, &json!({"type": kind})));
    }
    let Node::File { bytes, .. } = &place.node else {
        return children(&dc, &place).await;
    };
    let mut body = lines(&dc, bytes)?;
    if is_on("blame") {
        let blamed = blamed(&dc, &place).await?;
        if is_on("noContent") {
            return Ok(Reply::json(200, &blamed));
        }
        if let Some(map) = body.as_object_mut() {
            map.insert("blame".into(), blamed);
        }
    }
    Ok(Reply::json(200, &body))
}

async fn children(dc: &Dc, place: &Place) -> Outcome {
    let page = dc.page()?;
    let all = entries(dc, place, 1).await?;
    let here = all.iter().skip(page.start).take(page.limit);
    let values: Vec<Value> = here
        .map(|e| {
            let kind = match e.kind.as_str() {
                "tree" => "DIRECTORY",
                "commit" => "SUBMODULE",
                _ => "FILE",
            };
            json!({"path": wire::path(below(place, e)), "type": kind, "size": e.size})
        })
        .collect();
    let more = page.start + values.len() < all.len();
    let path = match place.path.is_empty() {
        true => json!({"components": [], "name": "", "toString": ""}),
        false => wire::path(&place.path),
    };
    Ok(Reply::json(
        200,
        &json!({
            "path": path, "revision": place.hash, "children": dc.envelope(page, values, more),
        }),
    ))
}

fn lines(dc: &Dc, bytes: &[u8]) -> Result<Value, Reply> {
    let page = dc.page_of(500)?;
    let text = String::from_utf8_lossy(bytes);
    let all: Vec<&str> = text.lines().collect();
    let here = all.iter().skip(page.start).take(page.limit);
    let values: Vec<Value> = here.map(|line| json!({"text": line})).collect();
    let more = page.start + values.len() < all.len();
    let mut body = dc.envelope(page, values, more);
    if let Some(map) = body.as_object_mut()
        && let Some(values) = map.remove("values")
    {
        map.insert("lines".into(), values);
    }
    Ok(body)
}

async fn blamed(dc: &Dc, place: &Place) -> Result<Value, Reply> {
    let dir = dc.git_dir(&place.repository);
    let spans = blame::spans(&dir, &place.hash, &place.path).await?;
    let shown = spans.iter().map(|s| {
        json!({
            "author": {"name": s.author, "emailAddress": s.email},
            "authorTimestamp": s.time * 1000, "commitId": s.hash, "commitHash": s.hash,
            "displayCommitHash": wire::short(&s.hash), "commitDisplayId": wire::short(&s.hash),
            "fileName": s.path, "lineNumber": s.line, "spannedLines": s.lines,
        })
    });
    Ok(shown.collect())
}
