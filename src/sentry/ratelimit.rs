//! The `X-Sentry-Rate-Limits` header (sentry.md §11.6):
//! `retry_after:categories:scope:reason[:namespaces]`, entries separated by commas.

use std::fmt;
use std::str::FromStr;

/// Name of the header.
pub const HEADER: &str = "X-Sentry-Rate-Limits";
/// More entries than this in one header are not read.
const MAX_ENTRIES: usize = 100;

macro_rules! categories {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a limit applies to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Category {
            $($(#[$doc])* $name,)*
        }

        impl Category {
            /// Every category of the protocol.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

categories! {
    /// Events that are no errors.
    Default = "default",
    /// Error events.
    Error = "error",
    /// Performance transactions.
    Transaction = "transaction",
    /// Check-ins of cron monitors.
    Monitor = "monitor",
    /// Spans sent alone.
    Span = "span",
    /// Log lines.
    LogItem = "log_item",
    /// Security reports of browsers.
    Security = "security",
    /// Attachments.
    Attachment = "attachment",
    /// Sessions of release health.
    Session = "session",
    /// Profiles.
    Profile = "profile",
    /// Pieces of continuous profiles.
    ProfileChunk = "profile_chunk",
    /// Session replays.
    Replay = "replay",
    /// User feedback.
    Feedback = "feedback",
    /// Trace metrics.
    TraceMetric = "trace_metric",
    /// The client's own reports.
    Internal = "internal",
}

impl FromStr for Category {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|category| category.as_str() == text)
            .ok_or(())
    }
}

/// Whom a limit applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All projects of the organization.
    Organization,
    /// One project.
    Project,
    /// One DSN key.
    Key,
}

impl Scope {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Project => "project",
            Self::Key => "key",
        }
    }
}

/// One entry of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Seconds to wait.
    pub retry_after: u64,
    /// What it applies to; empty means everything.
    pub categories: Vec<Category>,
    /// Whom it applies to, when the scope is one we know.
    pub scope: Option<Scope>,
    /// Short machine-readable reason; commas, colons and control characters are left out on writing.
    pub reason: Option<String>,
}

impl RateLimit {
    /// A limit on everything for a key: what an overloaded intake answers.
    pub fn everything(retry_after: u64, scope: Scope, reason: &str) -> Self {
        Self {
            retry_after,
            categories: Vec::new(),
            scope: Some(scope),
            reason: Some(reason.to_owned()),
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.retry_after)?;
        for (position, category) in self.categories.iter().enumerate() {
            let separator = if position == 0 { "" } else { ";" };
            write!(f, "{separator}{}", category.as_str())?;
        }
        write!(f, ":{}", self.scope.map_or("", Scope::as_str))?;
        if let Some(reason) = &self.reason {
            let clean: String = reason
                .chars()
                .filter(|c| c.is_ascii_graphic() && !matches!(c, ',' | ':'))
                .collect();
            write!(f, ":{clean}")?;
        }
        Ok(())
    }
}

/// The value of the header for these limits.
pub fn format(limits: &[RateLimit]) -> String {
    limits
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Reads the header as an SDK does: unreadable entries are skipped, and an entry whose categories
/// are all unknown limits nothing.
pub fn parse(header: &str) -> Vec<RateLimit> {
    header
        .split(',')
        .take(MAX_ENTRIES)
        .filter_map(entry)
        .collect()
}

fn entry(text: &str) -> Option<RateLimit> {
    let mut parts = text.split(':').map(str::trim);
    let retry_after = parts.next()?.parse().ok()?;
    let words = parts.next().unwrap_or_default();
    let categories: Vec<Category> = words
        .split(';')
        .filter_map(|word| word.trim().parse().ok())
        .collect();
    if categories.is_empty() && !words.is_empty() {
        return None;
    }
    let scope = parts.next().and_then(|word| {
        [Scope::Organization, Scope::Project, Scope::Key]
            .into_iter()
            .find(|scope| scope.as_str() == word)
    });
    let reason = parts
        .next()
        .filter(|reason| !reason.is_empty())
        .map(str::to_owned);
    Some(RateLimit {
        retry_after,
        categories,
        scope,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_reference() {
        let limits = [
            RateLimit {
                retry_after: 60,
                categories: vec![Category::Transaction],
                scope: Some(Scope::Key),
                reason: None,
            },
            RateLimit {
                retry_after: 2700,
                categories: vec![Category::Default, Category::Error, Category::Security],
                scope: Some(Scope::Organization),
                reason: None,
            },
        ];
        let header = "60:transaction:key, 2700:default;error;security:organization";
        assert_eq!(format(&limits), header);
        assert_eq!(parse(header), limits);
        assert_eq!(
            parse(" 60 : transaction : key ,2700:default; error ;security:organization:: "),
            limits
        );
    }

    #[test]
    fn the_words_of_the_reference() {
        let words: Vec<&str> = Category::ALL
            .iter()
            .map(|category| category.as_str())
            .collect();
        let mut expected = [
            "default",
            "error",
            "transaction",
            "monitor",
            "span",
            "log_item",
            "security",
            "attachment",
            "session",
            "profile",
            "profile_chunk",
            "replay",
            "feedback",
            "trace_metric",
            "internal",
        ];
        expected.sort_unstable();
        let mut sorted = words;
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        let with_namespaces = parse("60:span:key:reason:custom");
        assert_eq!(
            with_namespaces
                .first()
                .map(|limit| (limit.retry_after, limit.categories.clone())),
            Some((60, vec![Category::Span]))
        );
    }

    #[test]
    fn everything_has_no_categories() {
        let limit = RateLimit::everything(7, Scope::Key, "over:loaded,\r\nX: 1");
        assert_eq!(limit.to_string(), "7::key:overloadedX1");
        assert_eq!(
            parse("7::key:overloaded")
                .first()
                .map(|limit| limit.categories.len()),
            Some(0)
        );
    }

    #[test]
    fn unknown_words_limit_nothing() {
        assert_eq!(parse("60:foo:key"), []);
        assert_eq!(parse("x::key, -1::key, , :"), []);
        assert_eq!(
            parse("5:foo;error:planet")
                .first()
                .map(|l| (l.categories.clone(), l.scope)),
            Some((vec![Category::Error], None))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn limits_round_trip(retry_after: u64, which in proptest::collection::vec(0..15_usize, 0..4), reason in proptest::option::of("[a-z_]{1,12}")) {
            let categories = which.iter().filter_map(|at| Category::ALL.get(*at).copied()).collect();
            let limit = RateLimit { retry_after, categories, scope: Some(Scope::Project), reason };
            prop_assert_eq!(parse(&limit.to_string()), vec![limit]);
        }

        #[test]
        fn any_text_gives_an_answer(text in "[0-9:;, a-z]{0,80}|\\PC*") {
            let _ = parse(&text);
        }
    }
}
