//! Commits read from git.

use std::path::Path;

use super::run;

/// One commit. Bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) hash: String,
    pub(crate) parents: Vec<String>,
    pub(crate) author_name: String,
    pub(crate) author_email: String,
    /// RFC 3339 with the author's offset.
    pub(crate) date: String,
    pub(crate) committer_name: String,
    pub(crate) committer_email: String,
    /// RFC 3339 with the committer's offset.
    pub(crate) committed: String,
    pub(crate) message: String,
}

impl Commit {
    pub(crate) fn author_raw(&self) -> String {
        format!("{} <{}>", self.author_name, self.author_email)
    }

    pub(crate) fn committer_raw(&self) -> String {
        format!("{} <{}>", self.committer_name, self.committer_email)
    }
}

const FORMAT: &str = "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B";
const FIELDS: usize = 9;

/// Which commits to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Range {
    /// Full hashes to start from.
    pub(crate) include: Vec<String>,
    /// Full hashes whose history is left out.
    pub(crate) exclude: Vec<String>,
    /// Only commits that touch this path.
    pub(crate) path: Option<String>,
    pub(crate) merges: Merges,
}

/// What to do with merge commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Merges {
    #[default]
    Include,
    Exclude,
    Only,
}

/// Commits of a range in topological order, newest first.
pub(crate) async fn log(
    dir: &Path,
    range: &Range,
    skip: usize,
    count: usize,
) -> anyhow::Result<Vec<Commit>> {
    if range.include.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = vec![
        "log".to_owned(),
        "-z".to_owned(),
        "--topo-order".to_owned(),
        FORMAT.to_owned(),
        format!("--skip={skip}"),
        format!("--max-count={count}"),
    ];
    match range.merges {
        Merges::Include => {}
        Merges::Exclude => args.push("--no-merges".to_owned()),
        Merges::Only => args.push("--merges".to_owned()),
    }
    args.push("--end-of-options".to_owned());
    args.extend(range.include.iter().cloned());
    args.extend(range.exclude.iter().map(|hash| format!("^{hash}")));
    args.push("--".to_owned());
    args.extend(range.path.clone());
    Ok(parse(&run(dir, &args).await?))
}

/// The commits of these full hashes, in this order.
pub(crate) async fn exactly(dir: &Path, hashes: &[String]) -> anyhow::Result<Vec<Commit>> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let mut args: Vec<String> = [
        "log",
        "-z",
        "--no-walk=unsorted",
        FORMAT,
        "--end-of-options",
    ]
    .map(str::to_owned)
    .into();
    args.extend(hashes.iter().cloned());
    args.push("--".to_owned());
    Ok(parse(&run(dir, &args).await?))
}

/// One commit by full hash.
pub(crate) async fn one(dir: &Path, hash: &str) -> anyhow::Result<Option<Commit>> {
    Ok(exactly(dir, &[hash.to_owned()]).await?.pop())
}

fn parse(output: &[u8]) -> Vec<Commit> {
    let fields: Vec<String> = output
        .split(|byte| *byte == 0)
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect();
    fields
        .chunks_exact(FIELDS)
        .filter_map(|chunk| match chunk {
            [hash, parents, an, ae, date, cn, ce, committed, message] => Some(Commit {
                hash: hash.trim().to_owned(),
                parents: parents.split_whitespace().map(str::to_owned).collect(),
                author_name: an.clone(),
                author_email: ae.clone(),
                date: offset(date),
                committer_name: cn.clone(),
                committer_email: ce.clone(),
                committed: offset(committed),
                message: message.clone(),
            }),
            _ => None,
        })
        .collect()
}

/// Bitbucket writes UTC as `+00:00`, newer git as `Z`.
fn offset(date: &str) -> String {
    date.strip_suffix('Z')
        .map_or_else(|| date.to_owned(), |time| format!("{time}+00:00"))
}

/// One step in the history of a file.
#[derive(Debug)]
pub(crate) struct FileStep {
    pub(crate) hash: String,
    /// The file's path in that commit.
    pub(crate) path: String,
    /// False where the commit removed the file.
    pub(crate) exists: bool,
}

/// Commits that changed a file, newest first, through renames when `follow`.
pub(crate) async fn file_history(
    dir: &Path,
    hash: &str,
    path: &str,
    follow: bool,
) -> anyhow::Result<Vec<FileStep>> {
    let mut args = vec!["log", "--format=tformat:%x01%H", "--name-status"];
    if follow {
        args.push("--follow");
    }
    args.extend(["--end-of-options", hash, "--", path]);
    let output = run(dir, &args).await?;
    let text = String::from_utf8_lossy(&output);
    let mut steps = Vec::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(hash) = line.strip_prefix('\u{1}') {
            current = hash;
        } else if let Some((status, _)) = line.split_once('\t') {
            let path = line.rsplit('\t').next().unwrap_or_default();
            steps.push(FileStep {
                hash: current.to_owned(),
                path: path.to_owned(),
                exists: !status.starts_with('D'),
            });
        }
    }
    Ok(steps)
}
