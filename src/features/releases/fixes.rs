//! Which errors a commit message or pull request says it fixes (sentry.md §3.1).
//!
//! The grammar is Sentry's, with one difference: a run of ids ends at a blank line, so that an id
//! mentioned in the next paragraph is not taken for a fix. Everything is read in one pass from left
//! to right; no input costs more than linear time.

use std::borrow::Cow;
use std::collections::HashSet;

use url::{Host, Url};

/// A message that holds this text anywhere is not read at all (sentry.md §3.5); case matters.
pub const SKIP_MARKER: &str = "#skipsentry";
/// One message names at most this many errors; the rest is ignored.
pub const MAX_REFERENCES: usize = 250;

const KEYWORDS: [&str; 9] = [
    "fix", "fixes", "fixed", "close", "closes", "closed", "resolve", "resolves", "resolved",
];

/// Something that a message says it fixes. Whether it exists is for the caller to look up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A candidate for a qualified short id, upper case, such as `SHOP-1F`.
    ShortId(String),
    /// The id in the URL of one of our own error pages.
    GroupId(i64),
}

/// The host that our own URLs have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnHost {
    host: Host<String>,
    port: Option<u16>,
}

impl OwnHost {
    /// From the server's public base URL; nothing when that has no host.
    pub fn new(public_url: &Url) -> Option<Self> {
        Some(Self {
            host: public_url.host()?.to_owned(),
            port: public_url.port(),
        })
    }

    /// The group id in a URL of this host or of a sub-domain.
    fn group_id(&self, text: &str) -> Option<i64> {
        let url = Url::parse(text).ok()?;
        let same_host = match (url.host()?, &self.host) {
            (Host::Domain(theirs), Host::Domain(ours)) => {
                theirs == ours
                    || theirs
                        .strip_suffix(ours.as_str())
                        .is_some_and(|rest| rest.ends_with('.'))
            }
            (theirs, ours) => theirs == *ours,
        };
        let plain = url.username().is_empty() && url.password().is_none();
        if !same_host || !plain || url.port() != self.port {
            return None;
        }
        let path = url.path();
        path.match_indices("/issues/")
            .find_map(|(at, marker)| {
                let rest = path.get(at + marker.len()..)?;
                let digits = rest
                    .find(|c: char| !c.is_ascii_digit())
                    .map_or(rest, |end| rest.get(..end).unwrap_or_default());
                (!digits.is_empty()).then_some(digits)
            })?
            .parse()
            .ok()
    }
}

/// Whether the message asks not to be read.
pub fn is_skipped(message: &str) -> bool {
    message.contains(SKIP_MARKER)
}

/// What the message says it fixes, in order of appearance, each once: short ids first, then URLs.
pub fn references(message: &str, own_host: Option<&OwnHost>) -> Vec<Reference> {
    let text = without_link_targets(message);
    let mut found = Found::default();
    short_ids(&text, &mut found);
    if let Some(host) = own_host {
        urls(&text, host, &mut found);
    }
    found.list
}

/// A line that fixes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The whole line, as written.
    pub line: &'a str,
    /// What it fixes.
    pub references: Vec<Reference>,
}

/// The lines of a message that fix something the caller knows (sentry.md §3.2).
pub fn statements<'a>(
    message: &'a str,
    own_host: Option<&OwnHost>,
    mut known: impl FnMut(&Reference) -> bool,
) -> Vec<Statement<'a>> {
    message
        .lines()
        .filter_map(|line| {
            let mut references = references(line, own_host);
            references.retain(&mut known);
            (!references.is_empty()).then_some(Statement { line, references })
        })
        .collect()
}

#[derive(Default)]
struct Found {
    list: Vec<Reference>,
    seen: HashSet<Reference>,
}

impl Found {
    fn add(&mut self, reference: Reference) {
        if self.list.len() < MAX_REFERENCES && self.seen.insert(reference.clone()) {
            self.list.push(reference);
        }
    }
}

/// Replaces every markdown link `[text](target)` by its text.
fn without_link_targets(text: &str) -> Cow<'_, str> {
    if !text.contains("](") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once('[') {
        let Some((label, after)) = inside.split_once(']') else {
            break;
        };
        out.push_str(before);
        // An empty label is no link; looking for its `)` again and again would not be linear.
        let target = after.strip_prefix('(').filter(|_| !label.is_empty());
        match target.map(|target| target.split_once(')')) {
            Some(Some((target, tail))) if !target.is_empty() => {
                out.push_str(label);
                rest = tail;
            }
            // No `)` anywhere behind: no further link can be complete.
            Some(None) => {
                out.push('[');
                rest = inside;
                break;
            }
            Some(Some(_)) | None => {
                out.push('[');
                out.push_str(label);
                out.push(']');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Finds the next keyword that is a whole word, with an optional `:` and at least one white space
/// behind it; answers what follows that white space.
fn after_keyword(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let from_word = rest.get(start..)?;
        let end = from_word.find(|c| !is_word(c))?;
        let (word, behind) = from_word.split_at(end);
        rest = behind;
        if KEYWORDS
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword))
        {
            let behind = behind.strip_prefix(':').unwrap_or(behind);
            let run = behind.trim_start();
            if run.len() < behind.len() {
                return Some(run);
            }
        }
    }
    None
}

/// Form A: keyword and a run of short ids.
fn short_ids(text: &str, found: &mut Found) {
    let mut rest = text;
    while let Some(run) = after_keyword(rest) {
        let (run, behind) = split_run(run);
        for token in run.split(|c: char| c == ',' || c.is_whitespace()) {
            if let Some(id) = candidate(token) {
                found.add(Reference::ShortId(id.to_ascii_uppercase()));
            }
        }
        rest = behind;
    }
}

/// Cuts off the longest run of letters, digits, `_`, `-`, `,` and white space that ends on a word
/// boundary, and before a blank line.
fn split_run(text: &str) -> (&str, &str) {
    let mut newlines = 0;
    let end = text
        .find(|c: char| {
            if c.is_whitespace() {
                newlines += u8::from(c == '\n');
                return newlines > 1;
            }
            newlines = 0;
            !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ','))
        })
        .unwrap_or(text.len());
    let (run, behind) = text.split_at(end);
    // `FOO-1é`: the run would end inside a word, so it goes back to where that word starts.
    if behind.starts_with(is_word) {
        (run.trim_end_matches(is_word), behind)
    } else {
        (run, behind)
    }
}

/// The one short id that a token of letters, digits, `_` and `-` can hold: from its first word
/// character to its last part that is preceded by `-` and has no `_`.
fn candidate(token: &str) -> Option<&str> {
    let token = token.trim_start_matches('-');
    let mut end = token.len();
    loop {
        let head = token.get(..end)?;
        let (before, part) = head.rsplit_once('-')?;
        if before.is_empty() {
            return None;
        }
        if !part.is_empty() && !part.contains('_') {
            return Some(head);
        }
        end = before.len();
    }
}

/// Form B: keyword and a URL of our own.
fn urls(text: &str, host: &OwnHost, found: &mut Found) {
    let mut rest = text;
    while let Some(behind) = after_keyword(rest) {
        rest = behind;
        let starts_with = |scheme: &str| {
            behind
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if starts_with("http://") || starts_with("https://") {
            let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
            let (url, tail) = behind.split_at(end);
            if let Some(id) = host.group_id(url) {
                found.add(Reference::GroupId(id));
            }
            rest = tail;
        }
    }
}

#[cfg(test)]
#[path = "fixes_tests.rs"]
mod tests;
