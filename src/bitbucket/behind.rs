//! What stands behind the calls of one connection beside its credential: a budget that every process shares, a store
//! of answers, and a log. The client asks through these seams and knows nothing of a database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::Method;
use url::Url;

use super::auth::Credential;
use super::meta;
use super::paths::BitbucketApiPath;
use crate::kit::clock::Micros;
use crate::kit::crypto::sha256;

/// Who waits for a call; the later ones give way when the hour's budget gets short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A person, in front of a screen.
    Interactive,
    /// Work that keeps the two sides in step.
    Sync,
    /// Large and patient work.
    Backfill,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Sync, Self::Backfill];

    /// Stable word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Sync => "sync",
            Self::Backfill => "backfill",
        }
    }
}

/// What Bitbucket counts on its own (bitbucket.md §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Repository data, and whatever has no group of its own.
    Data,
    /// Webhooks.
    Hooks,
    /// Raw files.
    Files,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 3] = [Self::Data, Self::Hooks, Self::Files];

    /// Stable word for the database and for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Hooks => "hooks",
            Self::Files => "files",
        }
    }

    /// Calls per hour, until an answer says otherwise.
    pub const fn usual_limit(self) -> u64 {
        match self {
            Self::Data | Self::Hooks => 1_000,
            Self::Files => 5_000,
        }
    }

    pub(super) const fn of(path: &BitbucketApiPath<'_>) -> Self {
        match path {
            BitbucketApiPath::RepositoryHooks { .. }
            | BitbucketApiPath::RepositoryHook { .. }
            | BitbucketApiPath::WorkspaceHooks { .. } => Self::Hooks,
            BitbucketApiPath::Source { .. } => Self::Files,
            _ => Self::Data,
        }
    }
}

/// Why a call may not be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not before this time; the text says why.
    Wait {
        /// From now.
        after: Duration,
        /// For people.
        reason: &'static str,
    },
    /// Nobody could be asked.
    Unavailable,
}

/// What an answer said about the budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The headers of the answer, where it had them.
    pub budget: Option<meta::Budget>,
    /// 429, with the `Retry-After` if there was one.
    pub refused: Option<Option<Duration>>,
}

/// How often one credential may call, over all processes.
pub trait RateBudget: fmt::Debug + Send + Sync {
    /// Asks for one call.
    fn claim(&self, group: Group, priority: Priority) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Tells what the answer said.
    fn heard(&self, group: Group, heard: Heard) -> BoxFuture<'_, ()>;
}

/// What names an answer within a connection: a digest of method, form, path and query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerKey(pub [u8; 32]);

impl AnswerKey {
    /// `accept` is the form that is asked for: bytes differ from JSON.
    pub(super) fn of(method: &Method, url: &Url, accept: &str) -> Self {
        let text = format!(
            "{method} {accept} {}?{}",
            url.path(),
            url.query().unwrap_or_default()
        );
        Self(sha256(text.as_bytes()))
    }
}

/// An answer that may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its `ETag`.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub modified: Option<String>,
    /// It can never be another one: it belongs to a hash.
    pub immutable: bool,
}

/// Answers of one connection; another connection, and so another tenant, never sees them.
pub trait AnswerCache: fmt::Debug + Send + Sync {
    /// The answer, if it was kept.
    fn find(&self, key: AnswerKey) -> BoxFuture<'_, Option<KeptAnswer>>;

    /// Keeps an answer, if there is room for it.
    fn keep(&self, key: AnswerKey, answer: KeptAnswer) -> BoxFuture<'_, ()>;
}

/// One attempt of a call, for the log. No value of a path, no query, no body, no header but the request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// When it ended.
    pub at: Micros,
    /// Which part of the product asked.
    pub feature: &'static str,
    /// Who waited for it.
    pub priority: Priority,
    /// HTTP method.
    pub method: &'static str,
    /// Template of the path.
    pub path: &'static str,
    /// `ok`, `cached`, `not_modified`, `out_of_budget`, or the code of the error kind.
    pub outcome: &'static str,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// Milliseconds.
    pub millis: u64,
    /// Bitbucket's id of the request.
    pub request_id: Option<String>,
}

/// Takes note of calls; must not wait.
pub trait CallLog: fmt::Debug + Send + Sync {
    /// Takes note of one attempt.
    fn note(&self, record: CallRecord);
}

/// The seams of one connection.
#[derive(Debug, Clone)]
pub struct Behind {
    /// Asked before every request.
    pub budget: Arc<dyn RateBudget>,
    /// `None` keeps nothing.
    pub cache: Option<Arc<dyn AnswerCache>>,
    /// Told of every attempt.
    pub log: Arc<dyn CallLog>,
}

/// Who makes a call, for whom, and with what behind.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) credential: Credential,
    pub(super) behind: Option<Behind>,
    pub(super) priority: Priority,
    pub(super) feature: &'static str,
}

impl Caller {
    pub(super) const fn plain(credential: Credential) -> Self {
        Self {
            credential,
            behind: None,
            priority: Priority::Interactive,
            feature: "connections",
        }
    }

    pub(super) fn cache(&self) -> Option<&Arc<dyn AnswerCache>> {
        self.behind.as_ref()?.cache.as_ref()
    }
}

/// Whether what the path names can never change: everything in it is named by full hashes.
pub(super) fn is_immutable(path: &BitbucketApiPath<'_>) -> bool {
    match path {
        BitbucketApiPath::Commit { commit, .. } => is_full_hash(commit),
        BitbucketApiPath::Source { sha, .. } => is_full_hash(sha),
        BitbucketApiPath::RepositoryDiff { spec, .. } | BitbucketApiPath::Diffstat { spec, .. } => {
            match spec.split_once("..") {
                Some((source, destination)) => is_full_hash(source) && is_full_hash(destination),
                None => is_full_hash(spec),
            }
        }
        _ => false,
    }
}

/// 40 hex digits; anything shorter may be a branch, or become ambiguous.
fn is_full_hash(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::bitbucket::paths::RepoRef;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn only_full_hashes_are_immutable() {
        let repo = &RepoRef::from_full_name("acme/shop").unwrap();
        let range = format!("{HASH}..{HASH}");
        let half = format!("{HASH}..main");
        let yes = [
            BitbucketApiPath::Commit { repo, commit: HASH },
            BitbucketApiPath::RepositoryDiff { repo, spec: HASH },
            BitbucketApiPath::RepositoryDiff { repo, spec: &range },
            BitbucketApiPath::Diffstat { repo, spec: &range },
            BitbucketApiPath::Source {
                repo,
                sha: HASH,
                path: "a.py",
            },
        ];
        for path in yes {
            assert!(is_immutable(&path), "{path:?}");
        }
        let no = [
            BitbucketApiPath::Commit {
                repo,
                commit: "main",
            },
            BitbucketApiPath::Commit {
                repo,
                commit: "0123456",
            },
            BitbucketApiPath::RepositoryDiff { repo, spec: &half },
            BitbucketApiPath::Source {
                repo,
                sha: "HEAD",
                path: "a.py",
            },
            // What follows a hash backwards is fixed too, but the refs on it and its pages are not.
            BitbucketApiPath::RepositoryCommits {
                repo,
                revision: HASH,
            },
            BitbucketApiPath::Repository { repo },
        ];
        for path in no {
            assert!(!is_immutable(&path), "{path:?}");
        }
    }

    #[test]
    fn a_key_differs_by_method_form_path_and_query() {
        let key = |method: &Method, url: &str, raw| {
            AnswerKey::of(
                method,
                &Url::parse(url).unwrap(),
                if raw { "*/*" } else { "application/json" },
            )
        };
        let one = key(&Method::GET, "https://a.example/x?y=1", false);
        assert_eq!(one, key(&Method::GET, "https://a.example/x?y=1", false));
        for (url, raw) in [
            ("https://a.example/x?y=1", true),
            ("https://a.example/x?y=2", false),
            ("https://a.example/x", false),
            ("https://a.example/z?y=1", false),
        ] {
            assert_ne!(one, key(&Method::GET, url, raw), "{url}");
        }
        assert_ne!(one, key(&Method::HEAD, "https://a.example/x?y=1", false));
    }
}
