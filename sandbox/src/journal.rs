//! What callers did: rules they broke, calls they made, calls that are held open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use tokio::sync::Notify;

use crate::core::lock;

/// Whole answers that are kept.
const ANSWERS_KEPT: usize = 500;
/// How many recent calls and violations are kept.
const KEPT: usize = 5_000;

/// A rule a caller can break. Each is answered as Bitbucket would and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `{` or `}` in a path without percent-encoding (bitbucket.md §3.1).
    LiteralBrace,
    /// A path that is not served.
    UnknownRoute,
    /// An operation that Bitbucket took away (bitbucket.md §2.2).
    Removed,
    /// A served path with another method.
    WrongMethod,
    /// A query parameter the operation does not have. Recorded only; Bitbucket ignores it.
    UnknownParameter,
    /// A filter or sort that does not parse (bitbucket.md §4.2).
    BadQuery,
    /// `page` or `pagelen` out of range, or an opaque page that was not handed out.
    BadPage,
    /// No credential at all.
    AuthMissing,
    /// An `Authorization` that is none of `JWT …`, `Bearer …` and `Basic …`; the scheme is case
    /// sensitive.
    AuthScheme,
    /// A credential in the query.
    TokenInQuery,
    /// A token that cannot be taken apart.
    JwtMalformed,
    /// Any algorithm but HS256.
    JwtAlgorithm,
    /// A header with `kid`.
    JwtKid,
    /// `sub` is not the client key of a live install.
    JwtSubject,
    /// `iss` is not the key of the installed app.
    JwtIssuer,
    /// The signature does not verify.
    JwtSignature,
    /// `iat` is missing or in the future.
    JwtIssuedAt,
    /// `exp` is missing or past.
    JwtExpiry,
    /// `exp` is more than five minutes after `iat`.
    JwtLifetime,
    /// `qsh` is missing or of another request.
    JwtQsh,
    /// A bearer token that was never issued, expired, or belongs to an uninstalled app.
    BearerToken,
    /// The credential lacks a scope.
    Scope,
    /// The credential does not reach this workspace, project or repository.
    ForeignWorkspace,
    /// A body that is not a JSON object, or not of the announced type.
    BodyFormat,
    /// A field that is missing, unknown, of the wrong type or out of its values.
    BodyField,
    /// A token request the OAuth endpoint refuses.
    TokenRequest,
    /// Basic authentication with an unknown name, a wrong or an expired token.
    BasicCredential,
    /// An app password where they were removed (bitbucket.md §2.1).
    AppPassword,
    /// An operation that this kind of credential may not call.
    CredentialKind,
    /// The account of the credential lacks the role.
    Permission,
    /// An OAuth authorize link with wrong parameters.
    AuthorizeLink,
    /// A token request with no or wrong client credentials.
    ClientSecret,
    /// An authorization code that is unknown, used, expired, or of another client or address.
    AuthorizationCode,
    /// A refresh token that is unknown, expired, of another client, or was exchanged before.
    RefreshToken,
    /// A credential in a form body.
    TokenInBody,
    /// A descriptor that Bitbucket would refuse.
    Descriptor,
    /// An install link with wrong parameters.
    InstallLink,
}

impl Rule {
    /// All rules, so that a test can show each of them at work.
    pub const ALL: &'static [Rule] = &[
        Rule::LiteralBrace,
        Rule::UnknownRoute,
        Rule::Removed,
        Rule::WrongMethod,
        Rule::UnknownParameter,
        Rule::BadQuery,
        Rule::BadPage,
        Rule::AuthMissing,
        Rule::AuthScheme,
        Rule::TokenInQuery,
        Rule::JwtMalformed,
        Rule::JwtAlgorithm,
        Rule::JwtKid,
        Rule::JwtSubject,
        Rule::JwtIssuer,
        Rule::JwtSignature,
        Rule::JwtIssuedAt,
        Rule::JwtExpiry,
        Rule::JwtLifetime,
        Rule::JwtQsh,
        Rule::BearerToken,
        Rule::Scope,
        Rule::ForeignWorkspace,
        Rule::BodyFormat,
        Rule::BodyField,
        Rule::TokenRequest,
        Rule::BasicCredential,
        Rule::AppPassword,
        Rule::CredentialKind,
        Rule::Permission,
        Rule::AuthorizeLink,
        Rule::ClientSecret,
        Rule::AuthorizationCode,
        Rule::RefreshToken,
        Rule::TokenInBody,
        Rule::Descriptor,
        Rule::InstallLink,
    ];
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// Method of the call.
    pub method: String,
    /// Path and query of the call, tokens left out.
    pub path: String,
    /// What was wrong, in one sentence.
    pub detail: String,
    /// RFC 3339.
    pub at: String,
}

/// One call as it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// Method of the call.
    pub method: String,
    /// Path and query, tokens left out.
    pub path: String,
    /// Template of the route, or `-` for an unknown one.
    pub template: String,
    /// Status answered; 0 when the connection was dropped on purpose.
    pub status: u16,
    /// Who called: client key, `token`, or none.
    pub credential: Option<String>,
    /// RFC 3339.
    pub at: String,
}

/// What was answered to a call of the API, where no fault was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Method of the call.
    pub method: String,
    /// Path and query, tokens left out.
    pub path: String,
    /// Template of the route.
    pub template: String,
    /// Status answered.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// All records of a running sandbox; a restart forgets them.
#[derive(Default)]
pub(crate) struct Journal {
    violations: Mutex<VecDeque<Violation>>,
    calls: Mutex<Calls>,
    /// None are kept while there is no list.
    answers: Mutex<Option<VecDeque<Answer>>>,
    held: AtomicUsize,
    release: Notify,
}

#[derive(Default)]
struct Calls {
    counts: BTreeMap<String, u64>,
    recent: VecDeque<CallRecord>,
}

impl Journal {
    pub(crate) fn violation(&self, violation: Violation) {
        tracing::warn!(rule = ?violation.rule, method = %violation.method, path = %violation.path, detail = %violation.detail, "violation");
        let mut list = lock(&self.violations);
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(violation);
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        lock(&self.violations).iter().cloned().collect()
    }

    pub(crate) fn take_violations(&self) -> Vec<Violation> {
        lock(&self.violations).drain(..).collect()
    }

    pub(crate) fn call(&self, record: CallRecord) {
        let mut calls = lock(&self.calls);
        *calls
            .counts
            .entry(format!("{} {}", record.method, record.template))
            .or_default() += 1;
        if calls.recent.len() == KEPT {
            calls.recent.pop_front();
        }
        calls.recent.push_back(record);
    }

    /// From now on whole answers are kept.
    pub(crate) fn keep_answers(&self) {
        lock(&self.answers).get_or_insert_default();
    }

    /// Keeps an answer, if answers are kept.
    pub(crate) fn answer(&self, make: impl FnOnce() -> Answer) {
        if let Some(answers) = lock(&self.answers).as_mut() {
            if answers.len() == ANSWERS_KEPT {
                answers.pop_front();
            }
            answers.push_back(make());
        }
    }

    pub(crate) fn take_answers(&self) -> Vec<Answer> {
        let mut answers = lock(&self.answers);
        answers
            .as_mut()
            .map_or_else(Vec::new, |list| list.drain(..).collect())
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).counts.clone()
    }

    pub(crate) fn recent(&self) -> Vec<CallRecord> {
        lock(&self.calls).recent.iter().cloned().collect()
    }

    pub(crate) fn clear_calls(&self) {
        *lock(&self.calls) = Calls::default();
    }

    /// Number of calls whose work is done and whose answer is held back.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Lets every held call answer now.
    pub(crate) fn release_held(&self) {
        self.release.notify_waiters();
    }

    /// Waits `time`, or until [`Journal::release_held`].
    pub(crate) async fn hold(&self, time: std::time::Duration) {
        let released = self.release.notified();
        let _guard = HeldGuard::new(&self.held);
        let _ = tokio::time::timeout(time, released).await;
    }
}

/// Counts a call down also when its future is dropped because the caller died.
struct HeldGuard<'a>(&'a AtomicUsize);

impl<'a> HeldGuard<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter)
    }
}

impl Drop for HeldGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
