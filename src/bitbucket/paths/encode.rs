//! How a value becomes part of a path (bitbucket.md §4.6). A value can never leave its place: what
//! would be read as more than itself is refused, everything else is percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but unreserved characters: braces, slashes in branch names, spaces, `%`.
const IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a placeholder takes, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// One segment of any text; a slash becomes `%2F`, as refs need it. Not empty, no dot segment, no
    /// control characters.
    Segment,
    /// A uuid in its braces, which the service wants as `%7B…%7D` (bitbucket.md §3.1).
    Braced,
    /// A whole number without sign and leading zeros.
    Number,
    /// A revision, or two of them as `a..b` (bitbucket.md §3.4).
    Spec,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A file path: segments are encoded one by one, slashes stay. Only at the end of a template.
    Path,
    /// As [`Rule::Path`], or empty for the root, which leaves the trailing slash that it needs.
    Root,
}

impl Rule {
    /// The rule of a placeholder by its name; a row may name another one.
    pub fn of(placeholder: &str) -> Self {
        match placeholder {
            "comment_id" | "component_id" | "id" | "issue_id" | "milestone_id"
            | "pull_request_id" | "pullrequest_id" | "task_id" | "value_id" | "version_id"
            | "commentId" | "pullRequestId" | "webhookId" => Self::Number,
            "path" => Self::Path,
            "spec" | "revspec" => Self::Spec,
            "subject_type" => Self::OneOf(&["repository", "workspace"]),
            // The service takes the number of a run as well.
            "pipeline_uuid" => Self::Segment,
            "uid" => Self::Braced,
            name if name.ends_with("_uuid") => Self::Braced,
            _ => Self::Segment,
        }
    }

    /// What a value must be, for error messages.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Segment => {
                "a text that is neither empty nor a dot segment and has no control characters"
            }
            Self::Braced => "a uuid in braces",
            Self::Number => "a whole number",
            Self::Spec => "a revision, or two as `a..b`",
            Self::OneOf(_) => "one of the words of the API",
            Self::Path => "a file path without empty or dot segments and control characters",
            Self::Root => {
                "empty, or a file path without empty or dot segments and control characters"
            }
        }
    }

    /// Whether it takes the rest of the path instead of one segment.
    pub(super) const fn takes_rest(self) -> bool {
        matches!(self, Self::Path | Self::Root)
    }

    /// Whether the value may stand here.
    pub fn allows(self, value: &str) -> bool {
        match self {
            Self::Segment => is_segment(value),
            Self::Braced => value
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
                .is_some_and(|id| {
                    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                }),
            Self::Number => value
                .parse::<u64>()
                .is_ok_and(|number| number.to_string() == value),
            Self::Spec => is_spec(value),
            Self::OneOf(words) => words.contains(&value),
            Self::Path => value.split('/').all(is_segment),
            Self::Root => value.is_empty() || value.split('/').all(is_segment),
        }
    }

    /// Writes an allowed value; `false` (and nothing written) for any other.
    #[must_use]
    pub(super) fn push(self, path: &mut String, value: &str) -> bool {
        if !self.allows(value) {
            return false;
        }
        if !self.takes_rest() {
            path.extend(utf8_percent_encode(value, IN_SEGMENT));
            return true;
        }
        for (index, segment) in value.split('/').enumerate() {
            if index > 0 {
                path.push('/');
            }
            path.extend(utf8_percent_encode(segment, IN_SEGMENT));
        }
        true
    }
}

/// Dot segments are refused, because URL parsers resolve them and the call would reach another
/// resource.
fn is_segment(value: &str) -> bool {
    !value.is_empty() && value != "." && value != ".." && !value.chars().any(char::is_control)
}

/// Git allows neither `..` in a ref nor a dot at its ends, so the dots in between can only be ours.
fn is_spec(value: &str) -> bool {
    let is_revision = |text: &str| {
        is_segment(text) && !text.starts_with('.') && !text.ends_with('.') && !text.contains("..")
    };
    match value.split_once("..") {
        Some((from, to)) => is_revision(from) && is_revision(to),
        None => is_revision(value),
    }
}
