//! Changed files and diffs as JSON hunks.

use serde_json::{Value, json};

use super::{Dc, wire};
use crate::git::diff::{self, Options, Sides, Stat};
use crate::git::is_path;
use crate::journal::Rule;
use crate::model::{Permission, Repository};
use crate::reply::{Outcome, Reply};

/// A commit against its first parent, or against `since`.
async fn sides(dc: &Dc, repository: &Repository) -> Result<Sides, Reply> {
    let new = dc.resolve(repository, dc.arg("commit")).await?;
    let since = dc.param("since");
    if since.is_empty() {
        return Ok(diff::of_commit(&dc.git_dir(repository), &new).await);
    }
    let old = dc.resolve(repository, &since).await?;
    Ok(Sides { old, new })
}

/// `changes` of a commit.
pub(super) async fn changes(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let sides = sides(&dc, &repository).await?;
    changed(&dc, &repository, &sides).await
}

/// `compare/changes`: what `from` changed since it parted from `to`.
pub(super) async fn compare(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let from = dc.resolve(&repository, &dc.param("from")).await?;
    let to = dc.resolve(&repository, &dc.param("to")).await?;
    let sides = diff::between(&dc.git_dir(&repository), &from, &to, true).await;
    changed(&dc, &repository, &sides).await
}

async fn changed(dc: &Dc, repository: &Repository, sides: &Sides) -> Outcome {
    let page = dc.page()?;
    let dir = dc.git_dir(repository);
    let stats = diff::stats(&dir, sides, &Options::default()).await?;
    let here = stats.iter().skip(page.start).take(page.limit);
    let values: Vec<Value> = here.map(change).collect();
    let more = page.start + values.len() < stats.len();
    let mut body = dc.envelope(page, values, more);
    if let Some(map) = body.as_object_mut() {
        map.insert("fromHash".into(), json!(sides.parent()));
        map.insert("toHash".into(), json!(sides.new));
    }
    Ok(Reply::json(200, &body))
}

fn change(stat: &Stat) -> Value {
    let (kind, moved) = match stat.status {
        "added" => ("ADD", false),
        "removed" => ("DELETE", false),
        "renamed" => ("MOVE", true),
        _ => ("MODIFY", false),
    };
    let name = stat.new.as_ref().or(stat.old.as_ref());
    let mut value = json!({
        "type": kind, "nodeType": "FILE", "executable": false, "percentUnchanged": -1,
        "path": name.map(|n| wire::path(n)),
    });
    if let (true, Some(old), Some(map)) = (moved, &stat.old, value.as_object_mut()) {
        map.insert("srcPath".into(), wire::path(old));
    }
    value
}

/// `diff` of a commit: JSON, or text when the caller accepts that.
pub(super) async fn diff(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let sides = sides(&dc, &repository).await?;
    let options = options(&dc)?;
    let dir = dc.git_dir(&repository);
    let text = diff::text(&dir, &sides, &options).await?;
    let accepts = dc.call.header("accept").unwrap_or_default();
    if accepts.starts_with("text/plain") {
        return Ok(Reply::new(200, "text/plain", text));
    }
    let stats = diff::stats(&dir, &sides, &options).await?;
    let text = String::from_utf8_lossy(&text);
    Ok(Reply::json(
        200,
        &json!({
            "fromHash": sides.parent(), "toHash": sides.new,
            "contextLines": options.context.unwrap_or(3),
            "whitespace": if options.ignore_whitespace { "IGNORE_ALL" } else { "SHOW" },
            "diffs": files(&text, &stats), "truncated": false,
        }),
    ))
}

fn options(dc: &Dc) -> Result<Options, Reply> {
    let context = match dc.call.param("contextLines") {
        None => None,
        // A negative number asks for the usual.
        Some(text) => match text.parse::<i64>() {
            Ok(lines) => u32::try_from(lines).ok(),
            Err(_) => return Err(dc.wrong(Rule::BadQuery, 400, "contextLines is a number")),
        },
    };
    let path = dc.arg("path").to_owned();
    if !is_path(&path) {
        return Err(dc.wrong(Rule::BadQuery, 400, "not a path inside a repository"));
    }
    Ok(Options {
        context,
        ignore_whitespace: dc.param("whitespace") == "ignore-all",
        no_renames: false,
        paths: Some(path).filter(|p| !p.is_empty()).into_iter().collect(),
    })
}

/// The files of a diff. Their names come from the statistics, which have the same order.
fn files(text: &str, stats: &[Stat]) -> Vec<Value> {
    let mut sections: Vec<Vec<&str>> = Vec::new();
    for line in text.split('\n') {
        if line.starts_with("diff --git ") {
            sections.push(Vec::new());
        } else if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    let pairs = sections.iter().zip(stats);
    pairs.map(|(lines, stat)| file(lines, stat)).collect()
}

fn file(lines: &[&str], stat: &Stat) -> Value {
    let side = |path: &Option<String>| path.as_deref().map(wire::path);
    let mut value = json!({
        "source": side(&stat.old), "destination": side(&stat.new), "truncated": false,
    });
    let binary = lines.iter().any(|l| l.starts_with("Binary files "));
    if let Some(map) = value.as_object_mut() {
        match binary {
            true => map.insert("binary".into(), json!(true)),
            false => map.insert("hunks".into(), json!(hunks(lines))),
        };
    }
    value
}

fn hunks(lines: &[&str]) -> Vec<Value> {
    let mut hunks = Vec::<Hunk>::new();
    for line in lines {
        if let Some(hunk) = Hunk::begin(line) {
            hunks.push(hunk);
        } else if let Some(hunk) = hunks.last_mut() {
            hunk.add(line);
        }
    }
    hunks.into_iter().map(Hunk::show).collect()
}

/// A hunk while its lines are read.
struct Hunk {
    /// First line and count of the old side, then of the new side.
    head: [u64; 4],
    /// Where the next line is, on both sides.
    at: (u64, u64),
    segments: Vec<(&'static str, Vec<Value>)>,
}

impl Hunk {
    /// Reads `@@ -1,2 +3,4 @@`.
    fn begin(line: &str) -> Option<Self> {
        let ranges = line.strip_prefix("@@ -")?.split(" @@").next()?;
        let (old, new) = ranges.split_once(" +")?;
        let pair = |text: &str| -> Option<(u64, u64)> {
            let (line, count) = text.split_once(',').unwrap_or((text, "1"));
            Some((line.parse().ok()?, count.parse().ok()?))
        };
        let ((a, b), (c, d)) = (pair(old)?, pair(new)?);
        Some(Self {
            head: [a, b, c, d],
            at: (a, c),
            segments: Vec::new(),
        })
    }

    fn add(&mut self, line: &str) {
        let (kind, text) = match line.chars().next() {
            Some(' ') => ("CONTEXT", line.get(1..)),
            Some('+') => ("ADDED", line.get(1..)),
            Some('-') => ("REMOVED", line.get(1..)),
            // `\ No newline at end of file`, and the end of the text.
            _ => return,
        };
        let (source, destination) = self.at;
        let value = json!({
            "source": source, "destination": destination, "line": text, "truncated": false,
        });
        match self.segments.last_mut() {
            Some((last, lines)) if *last == kind => lines.push(value),
            _ => self.segments.push((kind, vec![value])),
        }
        self.at.0 += u64::from(kind != "ADDED");
        self.at.1 += u64::from(kind != "REMOVED");
    }

    fn show(self) -> Value {
        let [source_line, source_span, destination_line, destination_span] = self.head;
        let segments = self
            .segments
            .into_iter()
            .map(|(kind, lines)| json!({"type": kind, "lines": lines, "truncated": false}));
        json!({
            "sourceLine": source_line, "sourceSpan": source_span,
            "destinationLine": destination_line, "destinationSpan": destination_span,
            "segments": segments.collect::<Vec<_>>(), "truncated": false,
        })
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_hunks() {
        let text = "@@ -1,3 +1,4 @@ fn main\n a\n-b\n+c\n+d\n e\n\\ No newline at end of file\n@@ -9 +10 @@\n-x\n+y\n";
        let lines: Vec<&str> = text.split('\n').collect();
        let hunks = hunks(&lines);
        assert_eq!(hunks.len(), 2);
        assert_eq!(hunks[1]["sourceSpan"], 1);
        let segments = hunks[0]["segments"].as_array().cloned().unwrap_or_default();
        let kinds: Vec<_> = segments.iter().map(|s| s["type"].clone()).collect();
        assert_eq!(kinds, ["CONTEXT", "REMOVED", "ADDED", "CONTEXT"]);
        let last = &segments[3]["lines"][0];
        assert_eq!(
            (&last["source"], &last["destination"], &last["line"]),
            (&json!(3), &json!(4), &json!("e"))
        );
        assert_eq!(segments[2]["lines"][1]["destination"], 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn never_panics(lines in proptest::collection::vec("(@@ -[0-9]{1,20},?[0-9]* \\+[0-9,]* @@|[ +-].*|.*)", 0..8)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            hunks(&lines);
        }
    }
}
