//! Diffs and diff statistics.

use std::path::Path;

use super::run;

/// The tree with nothing in it, which git knows without storing it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Two sides to compare, as full hashes.
#[derive(Debug, Clone)]
pub(crate) struct Sides {
    pub(crate) old: String,
    pub(crate) new: String,
}

impl Sides {
    /// The old side, unless that is the tree with nothing in it.
    pub(crate) fn parent(&self) -> Option<&str> {
        Some(self.old.as_str()).filter(|old| *old != EMPTY_TREE)
    }
}

/// What to show.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) context: Option<u32>,
    pub(crate) ignore_whitespace: bool,
    pub(crate) no_renames: bool,
    pub(crate) paths: Vec<String>,
}

/// A commit against its first parent; the root commit against nothing.
pub(crate) async fn of_commit(dir: &Path, hash: &str) -> Sides {
    let parent = format!("{hash}^1");
    let old = run(
        dir,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &parent,
        ],
    )
    .await;
    Sides {
        old: old.map_or(EMPTY_TREE.to_owned(), |o| {
            String::from_utf8_lossy(&o).trim().to_owned()
        }),
        new: hash.to_owned(),
    }
}

/// What `source` has that `destination` has not. With `topic` (three dots) the old side is where
/// the two parted.
pub(crate) async fn between(dir: &Path, source: &str, destination: &str, topic: bool) -> Sides {
    let mut old = destination.to_owned();
    if topic
        && let Ok(base) = run(
            dir,
            &["merge-base", "--end-of-options", destination, source],
        )
        .await
    {
        old = String::from_utf8_lossy(&base).trim().to_owned();
    }
    Sides {
        old,
        new: source.to_owned(),
    }
}

fn arguments(first: &[&str], sides: &Sides, options: &Options) -> Vec<String> {
    let mut args: Vec<String> = ["diff", "--no-ext-diff", "--no-textconv"]
        .map(str::to_owned)
        .into();
    args.extend(first.iter().map(|s| (*s).to_owned()));
    args.push(
        if options.no_renames {
            "--no-renames"
        } else {
            "-M"
        }
        .to_owned(),
    );
    if options.ignore_whitespace {
        args.push("-w".to_owned());
    }
    if let Some(lines) = options.context {
        args.push(format!("-U{lines}"));
    }
    args.extend([
        "--end-of-options".to_owned(),
        sides.old.clone(),
        sides.new.clone(),
    ]);
    args.push("--".to_owned());
    args.extend(options.paths.iter().cloned());
    args
}

/// The unified diff as bytes.
pub(crate) async fn text(dir: &Path, sides: &Sides, options: &Options) -> anyhow::Result<Vec<u8>> {
    run(dir, &arguments(&["-p"], sides, options)).await
}

/// One changed file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `added`, `removed`, `modified` or `renamed`.
    pub(crate) status: &'static str,
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// Changed files in git's order.
pub(crate) async fn stats(
    dir: &Path,
    sides: &Sides,
    options: &Options,
) -> anyhow::Result<Vec<Stat>> {
    let output = run(
        dir,
        &arguments(&["--raw", "--numstat", "-z"], sides, options),
    )
    .await?;
    Ok(parse(&output))
}

/// The raw part comes first (`:modes hashes status`, path, new path of a rename), then one
/// numstat record a file in the same order.
fn parse(output: &[u8]) -> Vec<Stat> {
    let mut fields = output
        .split(|b| *b == 0)
        .map(|f| String::from_utf8_lossy(f).into_owned())
        .peekable();
    let mut stats = Vec::new();
    while let Some(head) = fields.next_if(|f| f.starts_with(':')) {
        let letter = head
            .rsplit(' ')
            .next()
            .and_then(|s| s.chars().next())
            .unwrap_or('M');
        let first = fields.next();
        let (status, old, new) = match letter {
            'A' => ("added", None, first),
            'D' => ("removed", first, None),
            'R' => ("renamed", first, fields.next()),
            'C' => ("added", None, fields.next()),
            _ => ("modified", first.clone(), first),
        };
        stats.push(Stat {
            status,
            added: 0,
            removed: 0,
            old,
            new,
        });
    }
    for stat in &mut stats {
        let Some(record) = fields.next() else { break };
        let mut parts = record.splitn(3, '\t');
        stat.added = number(parts.next());
        stat.removed = number(parts.next());
        if parts.next() == Some("") {
            // A rename names both paths in fields of their own.
            fields.next();
            fields.next();
        }
    }
    stats
}

/// Binary files count as `-`.
fn number(text: Option<&str>) -> u64 {
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_raw_and_numstat() {
        let output = b":100644 100644 a b M\0x\0:100644 100644 a b R090\0old\0new\0:000000 100644 a b A\0bin\0\
            3\t1\tx\x002\t0\t\0old\0new\0-\t-\tbin\0";
        let stats = parse(output);
        assert_eq!(stats.len(), 3);
        assert_eq!(
            stats.first().map(|s| (s.status, s.added, s.removed)),
            Some(("modified", 3, 1))
        );
        assert_eq!(
            stats.get(1).map(|s| (s.status, s.added, s.new.as_deref())),
            Some(("renamed", 2, Some("new")))
        );
        assert_eq!(
            stats.get(2).map(|s| (s.status, s.added, s.old.clone())),
            Some(("added", 0, None))
        );
    }
}
