//! Files and directories, their history, and commits made through the API.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Cx, paging};
use crate::call::Call;
use crate::core::Core;
use crate::git::tree::{self, Entry, Node};
use crate::git::write::{self, NewCommit};
use crate::git::{is_path, is_revision, log, push, refs};
use crate::journal::Rule;
use crate::model::Repository;
use crate::protocol::qsh::encode;
use crate::reply::{Outcome, Reply};
use crate::wire;

/// `GET src`: on to the root of the main branch.
pub(super) async fn root(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let hash = cx.resolve(&repository, "HEAD").await?;
    let full_name = cx.core.store.read(|s| s.full_name(&repository));
    Ok(Reply::redirect(
        302,
        &cx.core
            .api(&format!("/repositories/{full_name}/src/{hash}/")),
    ))
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let (hash, path) = commit_and_path(&cx, &repository).await?;
    let dir = cx.git_dir(&repository);
    let node = tree::node(&dir, &hash, &path).await?;
    let node =
        node.ok_or_else(|| Reply::error(404, &format!("No such file or directory: {path}")))?;
    let format = cx.call.param("format");
    match (node, format.as_deref()) {
        (Node::File { id, bytes }, None) => Ok(file(&cx, &path, &id, bytes)),
        (node, Some("meta")) => {
            let entry = match node {
                Node::File { bytes, .. } => file_entry(&path, Some(bytes.len() as u64)),
                Node::Directory => directory_entry(&path),
            };
            Ok(Reply::json(
                200,
                &show(&cx.core, &repository, &hash, &entry),
            ))
        }
        (Node::Directory, None) => {
            let depth = match cx.call.param("max_depth") {
                None => 1,
                Some(text) => text
                    .parse()
                    .ok()
                    .filter(|n| (1..=100).contains(n))
                    .ok_or_else(|| {
                        cx.wrong(
                            Rule::BadQuery,
                            400,
                            "max_depth must be a number from 1 to 100",
                        )
                    })?,
            };
            let entries = tree::list(&dir, &hash, &path, depth).await?;
            let items = entries
                .iter()
                .map(|e| show(&cx.core, &repository, &hash, e))
                .collect();
            paging::answer(&cx, items, 10)
        }
        (_, Some(other)) => Err(cx.wrong(
            Rule::BadQuery,
            400,
            &format!("format {other:?} is not served"),
        )),
    }
}

/// File bytes with a content based `ETag` and conditional answers.
fn file(cx: &Cx, path: &str, id: &str, bytes: Vec<u8>) -> Reply {
    let tag = format!("\"{id}\"");
    let known = cx.call.header("if-none-match").is_some_and(|given| {
        given
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/") == tag)
    });
    if known {
        return Reply::empty(304).with("etag", tag);
    }
    let kind = match std::str::from_utf8(&bytes) {
        Ok(_) => "text/plain",
        Err(_) => "application/octet-stream",
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    Reply::new(200, kind, bytes).with("etag", tag).with(
        "content-disposition",
        format!("attachment; filename*=UTF-8''{}", encode(name)),
    )
}

async fn commit_and_path(cx: &Cx, repository: &Repository) -> Result<(String, String), Reply> {
    let path = cx.arg("path").to_owned();
    if !is_path(&path) {
        return Err(cx.wrong(Rule::BadQuery, 400, "not a path inside a repository"));
    }
    Ok((cx.resolve(repository, cx.arg("commit")).await?, path))
}

fn file_entry(path: &str, size: Option<u64>) -> Entry {
    Entry {
        path: path.to_owned(),
        kind: "blob".into(),
        mode: "100644".into(),
        size,
    }
}

fn directory_entry(path: &str) -> Entry {
    Entry {
        path: path.to_owned(),
        kind: "tree".into(),
        mode: "040000".into(),
        size: None,
    }
}

fn show(core: &Core, repository: &Repository, hash: &str, entry: &Entry) -> Value {
    let full_name = core.store.read(|s| s.full_name(repository));
    let parts: Vec<String> = entry.path.split('/').map(encode).collect();
    let slash = if entry.kind == "tree" { "/" } else { "" };
    let tail = format!("{hash}/{}{slash}", parts.join("/"));
    let base = core.api(&format!("/repositories/{full_name}/src/{tail}"));
    let commit = wire::commit_stub(core, &full_name, hash);
    if entry.kind == "tree" {
        return json!({
            "type": "commit_directory", "path": entry.path, "commit": commit,
            "links": {"self": {"href": base}, "meta": {"href": format!("{base}?format=meta")}},
        });
    }
    let attributes: &[&str] = match entry.mode.as_str() {
        "120000" => &["link"],
        "100755" => &["executable"],
        "160000" => &["subrepository"],
        _ => &[],
    };
    let history = core.api(&format!("/repositories/{full_name}/filehistory/{tail}"));
    json!({
        "type": "commit_file", "path": entry.path, "escaped_path": entry.path,
        "size": entry.size, "attributes": attributes, "commit": commit,
        "links": {
            "self": {"href": base}, "meta": {"href": format!("{base}?format=meta")},
            "history": {"href": history},
        },
    })
}

/// `filehistory`: the commits that changed a file, through renames unless `renames=false`.
pub(super) async fn history(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let (hash, path) = commit_and_path(&cx, &repository).await?;
    let follow = cx.call.param("renames").as_deref() != Some("false");
    let dir = cx.git_dir(&repository);
    let steps = log::file_history(&dir, &hash, &path, follow).await?;
    if steps.is_empty() {
        return Err(Reply::error(404, &format!("No such file: {path}")));
    }
    let hashes: Vec<String> = steps.iter().map(|s| s.hash.clone()).collect();
    let commits = log::exactly(&dir, &hashes).await?;
    let mut items = Vec::new();
    for step in steps.iter().filter(|s| s.exists) {
        let size = match tree::node(&dir, &step.hash, &step.path).await? {
            Some(Node::File { bytes, .. }) => Some(bytes.len() as u64),
            _ => None,
        };
        let mut value = show(
            &cx.core,
            &repository,
            &step.hash,
            &file_entry(&step.path, size),
        );
        let commit = commits.iter().find(|c| c.hash == step.hash);
        if let (Some(commit), Some(map)) = (commit, value.as_object_mut()) {
            let shown = cx
                .core
                .store
                .read(|s| wire::commit(&cx.core, s, &repository, commit));
            map.insert("commit".into(), shown);
        }
        items.push(value);
    }
    paging::answer(&cx, items, 50)
}

/// `POST src`: a commit from a form or a multipart body.
pub(super) async fn create(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let fields = match cx.call.content_type() {
        "application/x-www-form-urlencoded" => cx
            .call
            .form()
            .into_iter()
            .map(|(k, v)| (k, v.into_bytes()))
            .collect(),
        "multipart/form-data" => multipart(&cx.call)
            .await
            .map_err(|e| cx.wrong(Rule::BodyFormat, 400, &format!("multipart: {e}")))?,
        _ => return Err(cx.wrong(Rule::BodyFormat, 400, "a form or multipart body is needed")),
    };
    let new = read(&cx, fields)?;
    let hash = api_commit(&cx.core, &repository, new, None)
        .await
        .map_err(|refused| cx.wrong(Rule::BodyField, refused.0, &refused.1))?;
    let full_name = cx.core.store.read(|s| s.full_name(&repository));
    let location = cx
        .core
        .api(&format!("/repositories/{full_name}/commit/{hash}"));
    Ok(Reply::empty(201).with("location", location))
}

async fn multipart(call: &Call) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let boundary = multer::parse_boundary(call.header("content-type").unwrap_or_default())?;
    let body = call.body.clone();
    let stream = futures_util::stream::once(async move { Ok::<_, std::io::Error>(body) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await? {
        let name = part.name().unwrap_or_default().to_owned();
        fields.push((name, part.bytes().await?.to_vec()));
    }
    Ok(fields)
}

/// Field names are paths, but for the five that are about the commit itself.
fn read(cx: &Cx, fields: Vec<(String, Vec<u8>)>) -> Result<NewCommit, Reply> {
    let mut new = NewCommit {
        author_name: "Sandbox".into(),
        author_email: "sandbox@localhost".into(),
        ..NewCommit::default()
    };
    let mut texts = cx.call.params();
    for (name, bytes) in fields {
        if super::routes::NEW_SOURCE.contains(&name.as_str()) {
            texts.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        } else {
            let path = name.trim_start_matches('/').to_owned();
            if path.is_empty() || path.ends_with('/') || !is_path(&path) {
                let detail = format!("{name:?} is not a path");
                return Err(cx.wrong(Rule::BodyField, 400, &detail));
            }
            new.files.insert(path, bytes);
        }
    }
    for (name, value) in texts {
        match name.as_str() {
            "message" => new.message = value,
            "branch" => new.branch = value,
            "parents" => new.parent = Some(value),
            "files" => new.delete.push(value.trim_start_matches('/').to_owned()),
            "author" => match value
                .rsplit_once(" <")
                .and_then(|(n, m)| Some((n, m.strip_suffix('>')?)))
            {
                Some((name, mail)) if !name.is_empty() => {
                    name.clone_into(&mut new.author_name);
                    mail.clone_into(&mut new.author_email);
                }
                _ => return Err(cx.wrong(Rule::BodyField, 400, "author must be Name <mail>")),
            },
            _ => {}
        }
    }
    // A path that is deleted and given content at once keeps the content.
    new.delete.retain(|path| !new.files.contains_key(path));
    if !new.delete.iter().all(|path| is_path(path)) {
        return Err(cx.wrong(
            Rule::BodyField,
            400,
            "files holds something that is not a path",
        ));
    }
    Ok(new)
}

/// Why a commit cannot be made: status and text.
pub(crate) struct CommitRefused(pub(crate) u16, pub(crate) String);

impl From<anyhow::Error> for CommitRefused {
    fn from(error: anyhow::Error) -> Self {
        Self(500, format!("{error:#}"))
    }
}

/// Makes a commit on a branch (the main branch when none is named) and fires the hooks.
pub(crate) async fn api_commit(
    core: &Arc<Core>,
    repository: &Repository,
    mut new: NewCommit,
    pusher: Option<&str>,
) -> Result<String, CommitRefused> {
    let dir = core.git_dir(repository);
    let lock = core.push_lock(repository);
    let guard = lock.lock().await;
    if new.branch.is_empty() {
        new.branch = refs::main_branch(&dir)
            .await
            .unwrap_or_else(|| "main".to_owned());
    }
    if !is_revision(&new.branch) {
        return Err(CommitRefused(400, "branch is not a branch name".to_owned()));
    }
    if new.message.is_empty() {
        new.message = "Changes made through the API".to_owned();
    }
    let before = refs::all(&dir).await?;
    let head = before
        .get(&format!("refs/heads/{}", new.branch))
        .map(|r| r.commit.clone());
    if let Some(parent) = &new.parent {
        let parent = refs::resolve(&dir, parent).await;
        if head.is_some() && parent != head {
            return Err(CommitRefused(
                409,
                "parents is not the head of the branch".to_owned(),
            ));
        }
        new.parent = parent;
    } else {
        new.parent = match head {
            Some(head) => Some(head),
            None => refs::resolve(&dir, "HEAD").await,
        };
    }
    let creates = !before.contains_key(&format!("refs/heads/{}", new.branch));
    let hash = write::commit(&dir, &new, creates).await?;
    let pushed = push::after(core, repository, &before, pusher).await?;
    drop(guard);
    if let Some(pushed) = pushed {
        core.fire_push(repository, pushed);
    }
    Ok(hash)
}
