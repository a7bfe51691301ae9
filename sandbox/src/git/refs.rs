//! Branches, tags and revisions.

use std::collections::BTreeMap;
use std::path::Path;

use super::{is_revision, run};

/// A branch or tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ref {
    /// `refs/heads/…` or `refs/tags/…`.
    pub(crate) full: String,
    /// The commit it leads to.
    pub(crate) commit: String,
    /// Set for an annotated tag.
    pub(crate) tag: Option<TagNote>,
}

/// What an annotated tag says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagNote {
    pub(crate) tagger: String,
    pub(crate) date: String,
    pub(crate) message: String,
}

impl Ref {
    /// `branch` or `tag`, as the API names it.
    pub(crate) fn kind(&self) -> &'static str {
        if self.full.starts_with("refs/tags/") {
            "tag"
        } else {
            "branch"
        }
    }

    /// The name without its prefix.
    pub(crate) fn name(&self) -> &str {
        let full = &self.full;
        full.strip_prefix("refs/heads/")
            .or_else(|| full.strip_prefix("refs/tags/"))
            .unwrap_or(full)
    }
}

const FORMAT: &str = "--format=%(refname)%00%(objectname)%00%(*objectname)%00%(objecttype)%00\
                      %(taggername) %(taggeremail)%00%(taggerdate:iso-strict)%00%(contents)%00";

/// All branches and tags by full name. Refs that lead to no commit are left out.
pub(crate) async fn all(dir: &Path) -> anyhow::Result<BTreeMap<String, Ref>> {
    let output = run(dir, &["for-each-ref", FORMAT, "refs/heads", "refs/tags"]).await?;
    let fields: Vec<String> = output
        .split(|b| *b == 0)
        .map(|f| String::from_utf8_lossy(f).into_owned())
        .collect();
    let refs = fields.chunks_exact(7).filter_map(|chunk| {
        let [full, object, peeled, kind, tagger, date, message] = chunk else {
            return None;
        };
        let full = full.trim_start_matches('\n').to_owned();
        let note = (kind == "tag").then(|| TagNote {
            tagger: tagger.clone(),
            date: date.clone(),
            message: message.clone(),
        });
        let commit = if peeled.is_empty() { object } else { peeled };
        let counts = kind == "commit" || (kind == "tag" && !peeled.is_empty());
        counts.then(|| {
            (
                full.clone(),
                Ref {
                    full,
                    commit: commit.clone(),
                    tag: note,
                },
            )
        })
    });
    Ok(refs.collect())
}

/// The full hash of a branch, tag, hash or `HEAD`; none when there is no such commit.
pub(crate) async fn resolve(dir: &Path, revision: &str) -> Option<String> {
    if !is_revision(revision) {
        return None;
    }
    let names = [
        format!("refs/heads/{revision}^{{commit}}"),
        format!("refs/tags/{revision}^{{commit}}"),
        format!("{revision}^{{commit}}"),
    ];
    for name in &names {
        let found = run(
            dir,
            &["rev-parse", "--verify", "--quiet", "--end-of-options", name],
        )
        .await;
        if let Ok(output) = found {
            return Some(String::from_utf8_lossy(&output).trim().to_owned());
        }
    }
    None
}

/// Name of the branch HEAD points to, when that branch exists.
pub(crate) async fn main_branch(dir: &Path) -> Option<String> {
    let output = run(dir, &["symbolic-ref", "--short", "HEAD"]).await.ok()?;
    let name = String::from_utf8_lossy(&output).trim().to_owned();
    let full = format!("refs/heads/{name}");
    run(
        dir,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &full,
        ],
    )
    .await
    .ok()?;
    Some(name)
}

/// Whether `old` is in the history of `new`.
pub(crate) async fn is_ancestor(dir: &Path, old: &str, new: &str) -> bool {
    run(
        dir,
        &["merge-base", "--is-ancestor", "--end-of-options", old, new],
    )
    .await
    .is_ok()
}
