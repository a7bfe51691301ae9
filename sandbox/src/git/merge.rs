//! Merges made on the server, without a work tree.

use std::path::Path;

use anyhow::bail;

use super::write::{Signature, commit_tree};
use super::{command, refs, run};
use crate::model::MergeStrategy;

/// What came of a merge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// Full hash of what the destination is to become.
    Commit(String),
    /// Both sides changed the same lines.
    Conflict,
    /// The destination has commits that the source has not.
    NotForward,
}

/// Two commits to bring together, named by full hash.
pub(crate) struct Merge<'a> {
    pub(crate) onto: &'a str,
    pub(crate) from: &'a str,
    pub(crate) strategy: MergeStrategy,
    pub(crate) message: &'a str,
    pub(crate) by: &'a Signature,
}

/// Makes the commit of a merge, and moves no branch.
pub(crate) async fn merge(dir: &Path, merge: &Merge<'_>) -> anyhow::Result<Merged> {
    let parents: &[&str] = match merge.strategy {
        MergeStrategy::FastForward => {
            let forward = refs::is_ancestor(dir, merge.onto, merge.from).await;
            return Ok(match forward {
                true => Merged::Commit(merge.from.to_owned()),
                false => Merged::NotForward,
            });
        }
        MergeStrategy::MergeCommit => &[merge.onto, merge.from],
        MergeStrategy::Squash => &[merge.onto],
    };
    let Some(tree) = tree(dir, merge.onto, merge.from).await? else {
        return Ok(Merged::Conflict);
    };
    let hash = commit_tree(dir, &tree, parents, merge.message, merge.by).await?;
    Ok(Merged::Commit(hash))
}

/// The tree of both sides together; none when they are in conflict, which git says by status 1.
async fn tree(dir: &Path, onto: &str, from: &str) -> anyhow::Result<Option<String>> {
    let mut merge = command(dir);
    merge.arg("-C").arg(dir);
    merge.args(["merge-tree", "--write-tree", "--no-messages", onto, from]);
    let output = merge.output().await?;
    match output.status.code() {
        Some(0) => Ok(Some(
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )),
        Some(1) => Ok(None),
        _ => bail!(
            "git merge-tree failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ),
    }
}

/// Moves a branch from one commit to another, or takes it away when there is no other. The caller
/// holds the push lock.
pub(crate) async fn move_branch(
    dir: &Path,
    branch: &str,
    old: &str,
    new: Option<&str>,
) -> anyhow::Result<()> {
    let name = format!("refs/heads/{branch}");
    match new {
        Some(new) => run(dir, &["update-ref", &name, new, old]).await?,
        None => run(dir, &["update-ref", "-d", &name, old]).await?,
    };
    Ok(())
}
