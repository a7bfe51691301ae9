//! Who wrote which lines.

use std::collections::HashMap;
use std::path::Path;

use super::run;

/// Lines that follow each other and come from one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) hash: String,
    /// First line in the file, from 1.
    pub(crate) line: u64,
    pub(crate) lines: u64,
    pub(crate) author: String,
    pub(crate) email: String,
    /// Unix seconds.
    pub(crate) time: i64,
    /// The file's path in that commit.
    pub(crate) path: String,
}

/// Blames a file of a commit, which is named by its full hash: git blame has no `--end-of-options`.
pub(crate) async fn spans(dir: &Path, hash: &str, path: &str) -> anyhow::Result<Vec<Span>> {
    let args = ["blame", "--porcelain", hash, "--", path];
    Ok(parse(&String::from_utf8_lossy(&run(dir, &args).await?)))
}

#[derive(Debug, Clone, Default)]
struct Author {
    name: String,
    email: String,
    time: i64,
    path: String,
}

/// A group begins with `hash original final count`; what git knows of the commit follows only the
/// first time it is named.
fn parse(text: &str) -> Vec<Span> {
    let mut authors = HashMap::<String, Author>::new();
    let mut groups = Vec::<(String, u64, u64)>::new();
    let mut current = String::new();
    for line in text.lines() {
        if line.starts_with('\t') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let author = authors.entry(current.clone()).or_default();
        match word {
            "author" => rest.clone_into(&mut author.name),
            "author-mail" => author.email = rest.trim_matches(['<', '>']).to_owned(),
            "author-time" => author.time = rest.parse().unwrap_or_default(),
            "filename" => rest.clone_into(&mut author.path),
            hash if hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                hash.clone_into(&mut current);
                let numbers: Vec<u64> = rest.split(' ').filter_map(|n| n.parse().ok()).collect();
                if let [_, line, count] = numbers.as_slice() {
                    groups.push((current.clone(), *line, *count));
                }
            }
            _ => {}
        }
    }
    let span = |(hash, line, lines): (String, u64, u64)| {
        let author = authors.get(&hash).cloned().unwrap_or_default();
        Span {
            hash,
            line,
            lines,
            author: author.name,
            email: author.email,
            time: author.time,
            path: author.path,
        }
    };
    groups.into_iter().map(span).collect()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_groups() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let text = format!(
            "{a} 1 1 2\nauthor Ada Lind\nauthor-mail <ada@example.org>\nauthor-time 7\nfilename old.rs\n\tfilename\n\
             {a} 2 2\n\tx\n{b} 1 3 1\nauthor Bo\nauthor-mail <>\nauthor-time 9\nfilename new.rs\n\ty\n{a} 3 4 1\n\tz\n"
        );
        let spans = parse(&text);
        let shape: Vec<_> = spans
            .iter()
            .map(|s| (s.author.as_str(), s.line, s.lines))
            .collect();
        assert_eq!(
            shape,
            [("Ada Lind", 1, 2), ("Bo", 3, 1), ("Ada Lind", 4, 1)]
        );
        assert_eq!((spans[0].path.as_str(), spans[0].time), ("old.rs", 7));
        assert_eq!(
            (spans[0].email.as_str(), spans[1].email.as_str()),
            ("ada@example.org", "")
        );
    }
}
