//! What the headers of an answer say about the credential: its scopes, its budget, and what time it is there.

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap};

use crate::kit::clock::Micros;
use crate::kit::redact::redact_short;

/// What an answer said beside its body. Each part may be missing: only some kinds of credential are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// Scopes that the credential has, sorted; `None` when the answer does not say.
    pub scopes: Option<Vec<String>>,
    /// Scopes that the call needed.
    pub needed: Option<Vec<String>>,
    /// Their clock minus ours, in seconds.
    pub skew: Option<i64>,
    /// Name of the person, which Data Center tells with every answer.
    pub user: Option<String>,
    /// The budget of this credential (bitbucket.md §4.5).
    pub budget: Option<Budget>,
    /// Bitbucket's id of the request, at most 100 bytes.
    pub request_id: Option<String>,
}

/// How often a credential may call in an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Calls per hour.
    pub limit: u64,
    /// Bitbucket's name of the group of calls.
    pub resource: String,
    /// Less than about a fifth is left.
    pub near: bool,
}

impl Meta {
    pub(super) fn read(headers: &HeaderMap, now: Micros) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text(DATE.as_str()).and_then(|value| DateTime::parse_from_rfc2822(value).ok());
        Self {
            scopes: text("x-oauth-scopes").map(scopes),
            needed: text("x-accepted-oauth-scopes").map(scopes),
            skew: date.map(|date| date.timestamp().saturating_sub(now.secs())),
            user: text("x-ausername").map(str::to_owned),
            budget: text("x-ratelimit-limit")
                .and_then(|limit| limit.trim().parse().ok())
                .map(|limit| Budget {
                    limit,
                    resource: text("x-ratelimit-resource").unwrap_or("api").to_owned(),
                    near: text("x-ratelimit-nearlimit")
                        .is_some_and(|near| near.trim().eq_ignore_ascii_case("true")),
                }),
            request_id: text("x-request-id").map(|id| redact_short(id, 100)),
        }
    }
}

/// Names of scopes, separated by blanks or commas; sorted, each once.
#[must_use]
pub fn scopes(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_is_there_is_read() {
        let now = Micros::from_rfc3339("2026-11-22T12:00:00Z").unwrap();
        let meta = Meta::read(
            &headers(&[
                (
                    "x-oauth-scopes",
                    "webhook, repository:write repository:write",
                ),
                ("x-accepted-oauth-scopes", ""),
                ("date", "Sun, 22 Nov 2026 12:03:20 GMT"),
                ("x-ratelimit-limit", "1000"),
                ("x-ratelimit-nearlimit", "True"),
            ]),
            now,
        );
        assert_eq!(meta.scopes.unwrap(), ["repository:write", "webhook"]);
        assert_eq!(meta.needed.unwrap(), Vec::<String>::new());
        assert_eq!(meta.skew, Some(200));
        let budget = meta.budget.unwrap();
        assert_eq!((budget.limit, budget.near), (1_000, true));
    }

    #[test]
    fn what_is_missing_or_odd_is_none() {
        assert_eq!(Meta::read(&HeaderMap::new(), Micros(0)), Meta::default());
        let odd = headers(&[("date", "tomorrow"), ("x-ratelimit-limit", "many")]);
        assert_eq!(Meta::read(&odd, Micros(0)), Meta::default());
    }
}
