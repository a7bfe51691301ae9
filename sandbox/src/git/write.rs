//! Commits made through the API, without a work tree.

use std::collections::BTreeMap;
use std::path::Path;

use super::{command, finish, run};

/// A commit to make.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewCommit {
    pub(crate) branch: String,
    pub(crate) message: String,
    pub(crate) author_name: String,
    pub(crate) author_email: String,
    /// RFC 3339; now when absent.
    pub(crate) date: Option<String>,
    /// Path to content.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Paths to delete.
    pub(crate) delete: Vec<String>,
    /// Full hash of the commit to build on.
    pub(crate) parent: Option<String>,
}

/// Writes the commit and moves its branch (or creates it); gives the full hash. The caller holds
/// the push lock.
pub(crate) async fn commit(dir: &Path, new: &NewCommit, creates: bool) -> anyhow::Result<String> {
    let index = dir.join(format!("sandbox-index-{}", uuid::Uuid::new_v4()));
    let made = with_index(dir, &index, new, creates).await;
    let _ = std::fs::remove_file(&index);
    made
}

async fn with_index(
    dir: &Path,
    index: &Path,
    new: &NewCommit,
    creates: bool,
) -> anyhow::Result<String> {
    if let Some(parent) = &new.parent {
        step(dir, index, &["read-tree", parent], &[]).await?;
    }
    // One record a path; mode 0 takes the path out of the index.
    let mut records = Vec::new();
    for (path, content) in &new.files {
        let blob = step(dir, index, &["hash-object", "-w", "--stdin"], content).await?;
        records.extend_from_slice(format!("100644 {blob}\t{path}\0").as_bytes());
    }
    for path in &new.delete {
        records.extend_from_slice(format!("0 {}\t{path}\0", "0".repeat(40)).as_bytes());
    }
    step(
        dir,
        index,
        &["update-index", "-z", "--index-info"],
        &records,
    )
    .await?;
    let tree = step(dir, index, &["write-tree"], &[]).await?;
    let by = Signature {
        name: new.author_name.clone(),
        email: new.author_email.clone(),
        date: new.date.clone(),
    };
    let parents: Vec<&str> = new.parent.as_deref().into_iter().collect();
    let hash = commit_tree(dir, &tree, &parents, &new.message, &by).await?;
    let branch = format!("refs/heads/{}", new.branch);
    // An empty old value says that the branch must not exist yet.
    let old = new
        .parent
        .as_deref()
        .filter(|_| !creates)
        .unwrap_or_default();
    run(dir, &["update-ref", &branch, &hash, old]).await?;
    Ok(hash)
}

/// Who makes a commit, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signature {
    pub(crate) name: String,
    pub(crate) email: String,
    /// RFC 3339; now when absent.
    pub(crate) date: Option<String>,
}

/// Writes a commit object of a tree; gives its full hash.
pub(crate) async fn commit_tree(
    dir: &Path,
    tree: &str,
    parents: &[&str],
    message: &str,
    by: &Signature,
) -> anyhow::Result<String> {
    let mut build = command(dir);
    build.arg("-C").arg(dir).args(["commit-tree", tree]);
    for parent in parents {
        build.args(["-p", parent]);
    }
    for role in ["AUTHOR", "COMMITTER"] {
        build.env(format!("GIT_{role}_NAME"), &by.name);
        build.env(format!("GIT_{role}_EMAIL"), &by.email);
        if let Some(date) = &by.date {
            build.env(format!("GIT_{role}_DATE"), date);
        }
    }
    build.args(["-F", "-"]);
    Ok(text(finish(build, message.as_bytes()).await?))
}

async fn step(dir: &Path, index: &Path, args: &[&str], input: &[u8]) -> anyhow::Result<String> {
    let mut command = command(dir);
    command
        .env("GIT_INDEX_FILE", index)
        .arg("-C")
        .arg(dir)
        .args(args);
    Ok(text(finish(command, input).await?))
}

fn text(output: Vec<u8>) -> String {
    String::from_utf8_lossy(&output).trim().to_owned()
}
