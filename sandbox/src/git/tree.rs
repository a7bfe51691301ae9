//! Files and directories of a commit.

use std::path::Path;

use super::run;

/// One entry of a directory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: String,
    /// `blob`, `tree` or `commit` (a submodule).
    pub(crate) kind: String,
    /// Octal file mode.
    pub(crate) mode: String,
    /// Of a blob, in bytes.
    pub(crate) size: Option<u64>,
}

/// What a path of a commit is.
#[derive(Debug)]
pub(crate) enum Node {
    /// A file: its object hash and bytes.
    File {
        id: String,
        bytes: Vec<u8>,
    },
    Directory,
}

/// Looks a path up; none when the commit has no such path.
pub(crate) async fn node(dir: &Path, commit: &str, path: &str) -> anyhow::Result<Option<Node>> {
    let object = format!("{commit}:{}", path.trim_end_matches('/'));
    let found = run(
        dir,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &object,
        ],
    )
    .await;
    let Ok(output) = found else { return Ok(None) };
    let id = String::from_utf8_lossy(&output).trim().to_owned();
    let kind = run(dir, &["cat-file", "-t", &id]).await.unwrap_or_default();
    Ok(match String::from_utf8_lossy(&kind).trim() {
        "blob" => {
            let bytes = run(dir, &["cat-file", "blob", &id]).await?;
            Some(Node::File { id, bytes })
        }
        "tree" => Some(Node::Directory),
        _ => None,
    })
}

/// Entries under a directory, at most `depth` levels deep, directories included.
pub(crate) async fn list(
    dir: &Path,
    commit: &str,
    path: &str,
    depth: usize,
) -> anyhow::Result<Vec<Entry>> {
    let base = path.trim_end_matches('/');
    let object = format!("{commit}:{base}");
    let mut args = vec!["ls-tree", "-z", "-l"];
    if depth > 1 {
        args.extend(["-r", "-t"]);
    }
    args.extend(["--end-of-options", object.as_str()]);
    let output = run(dir, &args).await?;
    let prefix = if base.is_empty() {
        String::new()
    } else {
        format!("{base}/")
    };
    let mut entries: Vec<Entry> = output
        .split(|b| *b == 0)
        .filter_map(|line| entry(&String::from_utf8_lossy(line), &prefix))
        .collect();
    entries.retain(|e| {
        let below = e.path.strip_prefix(&prefix).unwrap_or(&e.path);
        below.matches('/').count() < depth
    });
    Ok(entries)
}

fn entry(line: &str, prefix: &str) -> Option<Entry> {
    let (head, name) = line.split_once('\t')?;
    let mut words = head.split_whitespace();
    let mode = words.next()?.to_owned();
    let kind = words.next()?.to_owned();
    let size = words.nth(1).and_then(|text| text.parse().ok());
    Some(Entry {
        path: format!("{prefix}{name}"),
        kind,
        mode,
        size,
    })
}
