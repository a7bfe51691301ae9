//! When to try again. Pure: status and attempt in, verdict out; the caller sleeps and adds jitter.

use std::time::Duration;

use reqwest::Method;

use super::egress::EgressError;
use crate::kit::clock::Micros;

const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
const RATE_LIMIT_FIRST: Duration = Duration::from_secs(60);
const RATE_LIMIT_MAX: Duration = Duration::from_secs(900);
const TROUBLE_FIRST: Duration = Duration::from_secs(1);
const TROUBLE_MAX: Duration = Duration::from_secs(300);

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// Nothing was sent: no connection, or the host rests.
    NotSent,
    /// The answer is missing or unreadable; the work may have been done.
    Unknown,
    /// Our own rules forbid the call.
    Forbidden,
}

impl From<&EgressError> for Outcome {
    fn from(error: &EgressError) -> Self {
        match error {
            EgressError::Refused(_) | EgressError::Setup(_) => Self::Forbidden,
            EgressError::Resting { .. } | EgressError::Connect { .. } => Self::NotSent,
            EgressError::Timeout { .. } | EgressError::Broken { .. } => Self::Unknown,
        }
    }
}

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this time.
    Retry(Duration),
    /// The same again would fail again.
    Never,
    /// The thing does not exist any more and will not come back (410).
    GoneForever,
}

/// Whether the **work** is worth another try, by someone who first looks whether it was done.
/// `attempt` counts from 1; `retry_after` is what the other side asked for.
pub fn for_work(outcome: Outcome, attempt: u32, retry_after: Option<Duration>) -> Verdict {
    let after = |first: Duration, most: Duration| {
        let own = first
            .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)))
            .min(most);
        Verdict::Retry(retry_after.map_or(own, |asked| asked.min(MAX_RETRY_AFTER)))
    };
    match outcome {
        Outcome::Status(410) => Verdict::GoneForever,
        Outcome::Status(429) => after(RATE_LIMIT_FIRST, RATE_LIMIT_MAX),
        // Too big a question stays too big (bitbucket.md §4.4).
        Outcome::Status(501 | 505 | 555) | Outcome::Forbidden => Verdict::Never,
        Outcome::Status(408 | 425 | 500..) | Outcome::NotSent | Outcome::Unknown => {
            after(TROUBLE_FIRST, TROUBLE_MAX)
        }
        Outcome::Status(_) => Verdict::Never,
    }
}

/// Whether the very **request** may be sent again blindly. A POST whose fate is unknown must not be.
pub fn for_request(
    method: &Method,
    outcome: Outcome,
    attempt: u32,
    retry_after: Option<Duration>,
) -> Verdict {
    let done_at_most_once = matches!(outcome, Outcome::NotSent | Outcome::Status(429));
    let verdict = for_work(outcome, attempt, retry_after);
    match verdict {
        Verdict::Retry(_) if !method.is_idempotent() && !done_at_most_once => Verdict::Never,
        _ => verdict,
    }
}

/// Reads `Retry-After`: seconds or an HTTP date. Past dates mean at once.
pub fn parse_retry_after(value: &str, now: Micros) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    Some(Micros::from_unix_seconds(date.timestamp()).since(now))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(count: u64) -> Verdict {
        Verdict::Retry(Duration::from_secs(count))
    }

    #[test]
    fn statuses_of_work() {
        let rows = [
            (400, Verdict::Never),
            (401, Verdict::Never),
            (402, Verdict::Never),
            (403, Verdict::Never),
            (404, Verdict::Never),
            (302, Verdict::Never),
            (410, Verdict::GoneForever),
            (555, Verdict::Never),
            (501, Verdict::Never),
            (408, seconds(1)),
            (500, seconds(1)),
            (502, seconds(1)),
            (503, seconds(1)),
            (429, seconds(60)),
        ];
        for (status, verdict) in rows {
            assert_eq!(
                for_work(Outcome::Status(status), 1, None),
                verdict,
                "{status}"
            );
        }
        assert_eq!(for_work(Outcome::NotSent, 1, None), seconds(1));
        assert_eq!(for_work(Outcome::Unknown, 3, None), seconds(4));
        assert_eq!(for_work(Outcome::Forbidden, 1, None), Verdict::Never);
    }

    #[test]
    fn waits_double_up_to_a_limit_and_obey_the_other_side() {
        assert_eq!(for_work(Outcome::Status(429), 2, None), seconds(120));
        assert_eq!(for_work(Outcome::Status(429), 40, None), seconds(900));
        assert_eq!(for_work(Outcome::Status(500), u32::MAX, None), seconds(300));
        assert_eq!(
            for_work(Outcome::Status(429), 9, Some(Duration::from_secs(7))),
            seconds(7)
        );
        assert_eq!(
            for_work(Outcome::Status(503), 1, Some(Duration::from_secs(9_999))),
            seconds(3_600)
        );
        assert_eq!(
            for_work(Outcome::Status(404), 1, Some(Duration::from_secs(7))),
            Verdict::Never
        );
    }

    #[test]
    fn a_post_of_unknown_fate_is_never_repeated_blindly() {
        for outcome in [
            Outcome::Unknown,
            Outcome::Status(500),
            Outcome::Status(503),
            Outcome::Status(408),
        ] {
            assert_eq!(
                for_request(&Method::POST, outcome, 1, None),
                Verdict::Never,
                "{outcome:?}"
            );
            assert_eq!(
                for_request(&Method::PATCH, outcome, 1, None),
                Verdict::Never,
                "{outcome:?}"
            );
            assert_eq!(
                for_request(&Method::GET, outcome, 1, None),
                seconds(1),
                "{outcome:?}"
            );
            assert_eq!(
                for_request(&Method::PUT, outcome, 1, None),
                seconds(1),
                "{outcome:?}"
            );
        }
        assert_eq!(
            for_request(&Method::POST, Outcome::NotSent, 1, None),
            seconds(1)
        );
        assert_eq!(
            for_request(&Method::POST, Outcome::Status(429), 1, None),
            seconds(60)
        );
        assert_eq!(
            for_request(&Method::POST, Outcome::Status(410), 1, None),
            Verdict::GoneForever
        );
    }

    #[test]
    fn both_forms_of_retry_after() {
        let now = Micros::from_rfc3339("2026-01-01T00:00:00Z").unwrap();
        assert_eq!(parse_retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(
            parse_retry_after("Thu, 01 Jan 2026 00:01:30 GMT", now),
            Some(Duration::from_secs(90))
        );
        assert_eq!(
            parse_retry_after("Wed, 31 Dec 2025 00:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(parse_retry_after("soon", now), None);
        assert_eq!(parse_retry_after("-1", now), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_wait_is_longer_than_an_hour(status in any::<u16>(), attempt in any::<u32>(), asked in any::<Option<u64>>()) {
            let verdict = for_work(Outcome::Status(status), attempt, asked.map(Duration::from_secs));
            if let Verdict::Retry(after) = verdict {
                prop_assert!(after <= MAX_RETRY_AFTER);
            }
        }

        #[test]
        fn no_header_panics(value in ".*") {
            let _ = parse_retry_after(&value, Micros(0));
        }
    }
}
