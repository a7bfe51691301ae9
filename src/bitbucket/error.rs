//! What a failed call means: for the job that may try again, for the log, and for the user.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::behind::Refusal;
use super::json;
use super::meta::Meta;
use super::paths::PathError;
use crate::kit::http::body::BodyError;
use crate::kit::http::egress::EgressError;
use crate::kit::http::redirect::RedirectError;
use crate::kit::http::retry::{self, Outcome, Verdict};
use crate::kit::redact::redact_short;

/// Longest message kept from an answer, in bytes.
const MAX_MESSAGE: usize = 500;
/// Stands for the path where no call was made for want of a credential.
const CREDENTIAL: &str = "credential";
/// Most fields of a refusal that are kept.
const MAX_FIELDS: usize = 20;

/// What went wrong, in kinds that callers branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 401: the credential is unknown, expired or wrongly signed.
    Unauthorized,
    /// 402: not in the workspace's plan.
    PlanLimit,
    /// 403: scope, plan, sleeping workspace or wrong kind of credential.
    Forbidden,
    /// 404: absent or not visible.
    NotFound,
    /// 409.
    Conflict,
    /// 410: removed for good.
    Gone,
    /// 429, or not sent because the budget of the credential is spent.
    RateLimited,
    /// 555: the question was too big.
    TooSlow,
    /// Other 5xx.
    Server,
    /// Other 4xx: our request is wrong.
    Invalid,
    /// A redirect that may not be followed.
    Redirect,
    /// No answer in time.
    Timeout,
    /// The exchange broke off.
    Broken,
    /// No connection.
    Unreachable,
    /// Not tried: the host failed too often just now.
    Resting,
    /// The answer is not what the API promises.
    Garbage,
    /// The answer is longer than we take.
    TooLarge,
    /// Our own rules forbid the call (private address, plain http).
    Refused,
    /// A parameter or the credential cannot be put into a request.
    BadCall,
    /// Nothing was sent, because we were too busy ourselves.
    Busy,
}

impl Kind {
    /// Stable code for logs, metrics and error bodies.
    pub const fn code(self) -> &'static str {
        self.facts().0
    }

    /// What a user can do about it.
    pub const fn advice(self) -> &'static str {
        self.facts().1
    }

    const fn of_status(status: u16) -> Self {
        match status {
            300..=399 => Self::Redirect,
            401 => Self::Unauthorized,
            402 => Self::PlanLimit,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            410 => Self::Gone,
            429 => Self::RateLimited,
            400..=499 => Self::Invalid,
            555 => Self::TooSlow,
            500.. => Self::Server,
            _ => Self::Garbage,
        }
    }

    /// The one table of codes and advice.
    const fn facts(self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthorized => (
                "unauthorized",
                "Bitbucket no longer accepts this connection. Reconnect the workspace.",
            ),
            Self::PlanLimit => (
                "plan_limit",
                "The workspace's Bitbucket plan does not include this.",
            ),
            Self::Forbidden => (
                "forbidden",
                "The connection lacks a permission, or the workspace is asleep. Grant the scope and try again.",
            ),
            Self::NotFound => (
                "not_found",
                "Bitbucket does not have this, or this connection may not see it.",
            ),
            Self::Conflict => (
                "conflict",
                "It changed in Bitbucket meanwhile. Look at it and try again.",
            ),
            Self::Gone => (
                "gone",
                "Bitbucket has removed this feature or object for good.",
            ),
            Self::RateLimited => (
                "rate_limited",
                "Bitbucket limits how often we may ask. We try again later.",
            ),
            Self::TooSlow => (
                "too_slow",
                "This was too big for Bitbucket to compute. Ask for a smaller part.",
            ),
            Self::Server => ("server_error", "Bitbucket has trouble. We try again."),
            Self::Invalid => (
                "invalid",
                "Bitbucket did not accept the request. See its message.",
            ),
            Self::Redirect => (
                "redirect",
                "Bitbucket sends us elsewhere. Check the configured Bitbucket URL.",
            ),
            Self::Timeout => ("timeout", "Bitbucket is slow. We try again."),
            Self::Broken => (
                "broken",
                "The connection to Bitbucket broke off. We try again.",
            ),
            Self::Unreachable => (
                "unreachable",
                "Bitbucket cannot be reached from this server. Check its network and DNS.",
            ),
            Self::Resting => (
                "resting",
                "Bitbucket failed several times just now. We try again in a moment.",
            ),
            Self::Garbage => (
                "garbage",
                "The answer does not look like Bitbucket. Check proxies and the configured URL.",
            ),
            Self::TooLarge => (
                "too_large",
                "Bitbucket's answer is too big to be used here.",
            ),
            Self::Refused => (
                "refused",
                "This address may not be called. The operator can allow its network.",
            ),
            Self::Busy => ("busy", "The server is busy. We try again."),
            Self::BadCall => (
                "bad_call",
                "The call cannot be made with these values or this stored credential.",
            ),
        }
    }
}

/// A failed call. It holds no URL, no header and no secret.
#[derive(Clone)]
pub struct Error(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    kind: Kind,
    method: Method,
    path: &'static str,
    status: Option<u16>,
    message: String,
    fields: Vec<(String, String)>,
    request_id: Option<String>,
    announcement: Option<String>,
    retry_after: Option<Duration>,
    outcome: Outcome,
    meta: Meta,
}

impl Error {
    /// There is no credential to make a call with: `kind` says whether a person must help.
    #[must_use]
    pub fn of_credential(kind: Kind, message: &str) -> Self {
        Self::without_answer(&Method::GET, CREDENTIAL, kind, message)
    }

    /// There was no credential to make a call with; the message is for the person who can help.
    #[must_use]
    pub fn lacks_credential(&self) -> bool {
        self.0.path == CREDENTIAL
    }

    /// Nothing was sent: the budget of the credential does not allow it now.
    pub(super) fn refused(method: &Method, path: &'static str, refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Wait { after, reason } => {
                let mut error = Self::without_answer(method, path, Kind::RateLimited, reason);
                error.0.retry_after = Some(*after);
                error
            }
            Refusal::Unavailable => Self::without_answer(
                method,
                path,
                Kind::Busy,
                "the budget of the connection could not be read",
            ),
        }
    }

    /// The budget did not allow the call, so nothing was sent.
    pub fn out_of_budget(&self) -> bool {
        self.0.kind == Kind::RateLimited && self.0.status.is_none()
    }

    pub(super) fn with_meta(mut self, meta: Meta) -> Self {
        self.0.meta = meta;
        self
    }

    /// What the headers of the answer said.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.0.meta
    }

    /// An error before or instead of an answer.
    pub(super) fn without_answer(
        method: &Method,
        path: &'static str,
        kind: Kind,
        message: &str,
    ) -> Self {
        let outcome = match kind {
            Kind::Timeout | Kind::Broken | Kind::Garbage => Outcome::Unknown,
            Kind::Unreachable | Kind::Resting | Kind::Busy | Kind::RateLimited => Outcome::NotSent,
            _ => Outcome::Forbidden,
        };
        Self(Box::new(Facts {
            kind,
            method: method.clone(),
            path,
            status: None,
            message: redact_short(message, MAX_MESSAGE),
            fields: Vec::new(),
            request_id: None,
            announcement: None,
            retry_after: None,
            outcome,
            meta: Meta::default(),
        }))
    }

    /// An answer with a status that is no success. `body` may be any bytes, cut anywhere.
    pub(super) fn from_answer(
        method: &Method,
        path: &'static str,
        status: u16,
        body: &[u8],
        request_id: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Self {
        let said = Said::read(body);
        let mut error = Self::without_answer(method, path, Kind::of_status(status), &said.message);
        error.0.status = Some(status);
        // Data Center says 401 also to somebody it knows who may not do this (bitbucket.md §7).
        if status == 401 && said.not_permitted {
            error.0.kind = Kind::Forbidden;
        }
        error.0.outcome = Outcome::Status(status);
        error.0.request_id = request_id
            .map(str::to_owned)
            .or(said.id)
            .map(|id| redact_short(&id, 100));
        error.0.announcement = said.announcement.map(|url| redact_short(&url, MAX_MESSAGE));
        error.0.retry_after = retry_after;
        error.0.fields = said
            .fields
            .into_iter()
            .take(MAX_FIELDS)
            .map(|(name, text)| (redact_short(&name, 100), redact_short(&text, MAX_MESSAGE)))
            .collect();
        error
    }

    pub(super) fn from_egress(method: &Method, path: &'static str, error: &EgressError) -> Self {
        let (kind, retry_after) = match error {
            EgressError::Refused(_) | EgressError::Setup(_) => (Kind::Refused, None),
            EgressError::Resting { retry_after, .. } => (Kind::Resting, Some(*retry_after)),
            EgressError::Connect { .. } => (Kind::Unreachable, None),
            EgressError::Timeout { .. } => (Kind::Timeout, None),
            EgressError::Broken { .. } => (Kind::Broken, None),
        };
        let mut found = Self::without_answer(method, path, kind, &error.to_string());
        found.0.retry_after = retry_after;
        found
    }

    pub(super) fn from_redirect(
        method: &Method,
        path: &'static str,
        error: &RedirectError,
    ) -> Self {
        match error {
            RedirectError::Egress(error) => Self::from_egress(method, path, error),
            RedirectError::Build(_) => {
                Self::without_answer(method, path, Kind::BadCall, &error.to_string())
            }
            RedirectError::TooMany { .. }
            | RedirectError::BadLocation { .. }
            | RedirectError::Downgrade { .. } => {
                Self::without_answer(method, path, Kind::Redirect, &error.to_string())
            }
        }
    }

    pub(super) fn from_body(method: &Method, path: &'static str, error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => {
                Self::without_answer(method, path, Kind::TooLarge, &error.to_string())
            }
            BodyError::Egress(error) => Self::from_egress(method, path, error),
        }
    }

    pub(super) fn from_path(method: &Method, path: &'static str, error: PathError) -> Self {
        Self::without_answer(method, path, Kind::BadCall, &error.to_string())
    }

    /// Kind of the failure.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What Bitbucket or the network said, redacted, at most 500 bytes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields that Bitbucket does not take, by its names, each with one sentence (bitbucket.md §4.4).
    pub fn fields(&self) -> &[(String, String)] {
        &self.0.fields
    }

    /// Bitbucket's id of the request, for their support.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The page that announced a removal (410).
    pub fn announcement_url(&self) -> Option<&str> {
        self.0.announcement.as_deref()
    }

    /// How long Bitbucket, or our own breaker, asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Name of the API path (row of the table).
    pub fn path_name(&self) -> &'static str {
        self.0.path
    }

    /// Whether the work is worth another try, by someone who first looks whether it was done.
    /// `attempt` counts from 1; the caller adds jitter.
    pub fn verdict(&self, attempt: u32) -> Verdict {
        retry::for_work(self.0.outcome, attempt, self.0.retry_after)
    }

    /// Whether the very request may be sent again.
    pub(super) fn request_verdict(&self, attempt: u32) -> Verdict {
        retry::for_request(&self.0.method, self.0.outcome, attempt, self.0.retry_after)
    }

    /// What a user can do about it.
    pub fn advice(&self) -> &'static str {
        if self.tracker_missing() {
            return "This repository has no issue tracker. Switch it on in Bitbucket or use another repository.";
        }
        self.0.kind.advice()
    }

    /// The thing asked for is not there: 404, or removed for good.
    pub fn is_absent(&self) -> bool {
        matches!(self.0.kind, Kind::NotFound | Kind::Gone)
    }

    /// The repository has no issue tracker (404 whose text says so, sentry.md §15.6).
    pub fn tracker_missing(&self) -> bool {
        self.0.kind == Kind::NotFound && self.says("no issue tracker")
    }

    /// 410: removed from the service, never to be tried again.
    pub fn removed(&self) -> bool {
        self.0.kind == Kind::Gone
    }

    /// The whole feature is gone or switched off, not only one object (bitbucket.md §2.2): 410, a
    /// 4xx that speaks of a removal, a missing tracker, or a 404 of the list of issues itself.
    pub fn feature_gone(&self) -> bool {
        let refused = self
            .0
            .status
            .is_some_and(|status| (400..500).contains(&status));
        self.removed()
            || self.tracker_missing()
            || (self.0.kind == Kind::NotFound
                && self.0.path == "issues"
                && self.0.method == Method::GET)
            || (refused && (self.says("deprecated") || self.says("has been removed")))
    }

    fn says(&self, text: &str) -> bool {
        self.0.message.to_lowercase().contains(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.0;
        write!(out, "Bitbucket {} {}: ", facts.method, facts.path)?;
        match facts.status {
            Some(status) => write!(out, "{status} {}", facts.kind.code())?,
            None => out.write_str(facts.kind.code())?,
        }
        if !facts.message.is_empty() {
            write!(out, ": {}", facts.message)?;
        }
        match &facts.request_id {
            Some(id) => write!(out, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl std::error::Error for Error {}

/// What an error body says (bitbucket.md §4.4). Any part may be missing.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(String, String)>,
    id: Option<String>,
    announcement: Option<String>,
    /// The caller is known and may not do this.
    not_permitted: bool,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        let Ok(value) = json::read::<Value>(body) else {
            let text = String::from_utf8_lossy(body).replace('\0', " ");
            return Self {
                message: text.split_whitespace().collect::<Vec<_>>().join(" "),
                ..Self::default()
            };
        };
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let parts = [
            text("/error/message"),
            text("/error/detail"),
            text("/error_description"),
            text("/error"),
        ];
        let mut message: Vec<String> = parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| (*part).to_owned())
            .collect();
        let fields: Vec<(String, String)> = value
            .pointer("/error/fields")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, problem)| (name.clone(), first_text(problem).to_owned()))
            .collect();
        message.extend(fields.iter().map(|(name, text)| format!("{name}: {text}")));
        // Data Center: `{"errors": [{"context", "message", "exceptionName"}]}` (bitbucket.md §7).
        let listed = value.pointer("/errors").and_then(Value::as_array);
        let mut not_permitted = false;
        for error in listed.into_iter().flatten().take(MAX_FIELDS) {
            let part = |name: &str| error.get(name).and_then(Value::as_str);
            not_permitted |=
                part("exceptionName").is_some_and(|name| name.ends_with(".AuthorisationException"));
            match (part("context"), part("message")) {
                (Some(context), Some(text)) if !context.is_empty() => {
                    message.push(format!("{context}: {text}"));
                }
                (_, Some(text)) => message.push(text.to_owned()),
                _ => {}
            }
        }
        let some = |found: &str| (!found.is_empty()).then(|| found.to_owned());
        Self {
            message: message.join("; "),
            fields,
            id: some(text("/error/id")),
            announcement: some(text("/error/data/announcement_url")),
            not_permitted,
        }
    }
}

fn first_text(problem: &Value) -> &str {
    problem
        .as_str()
        .or_else(|| problem.get(0).and_then(Value::as_str))
        .unwrap_or("not accepted")
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
