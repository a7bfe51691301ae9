//! Rate limits per credential (bitbucket.md §4.5); off until set.

use std::collections::HashMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::core::lock;

/// How many calls a credential may make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls per window.
    pub limit: u32,
    /// Length of the window in seconds.
    #[serde(default = "hour")]
    pub window_seconds: i64,
    /// Sent as `Retry-After` when set; Bitbucket sends none.
    #[serde(default)]
    pub retry_after: Option<u32>,
    /// Label of the one credential it is for; every other one when absent.
    #[serde(default)]
    pub credential: Option<String>,
}

fn hour() -> i64 {
    3600
}

/// A call that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) limit: u32,
    /// Calls left after this one.
    pub(crate) left: u32,
    /// Whether this call is one too many.
    pub(crate) over: bool,
    pub(crate) retry_after: Option<u32>,
}

impl Counted {
    /// Whether under a fifth is left.
    pub(crate) fn near(&self) -> bool {
        u64::from(self.left) * 5 < u64::from(self.limit)
    }
}

#[derive(Default)]
pub(crate) struct Limits(Mutex<Windows>);

#[derive(Default)]
struct Windows {
    common: Option<RateLimit>,
    own: HashMap<String, RateLimit>,
    calls: HashMap<String, Vec<i64>>,
}

impl Limits {
    /// Sets a limit and begins a fresh window; `None` lifts all.
    pub(crate) fn set(&self, rule: Option<RateLimit>) {
        let mut windows = lock(&self.0);
        windows.calls.clear();
        match rule {
            None => *windows = Windows::default(),
            Some(rule) => match &rule.credential {
                Some(label) => {
                    windows.own.insert(label.clone(), rule);
                }
                None => windows.common = Some(rule),
            },
        }
    }

    /// Counts a call of `credential` at `now` (unix seconds); none when it has no limit.
    pub(crate) fn count(&self, credential: &str, now: i64) -> Option<Counted> {
        let mut windows = lock(&self.0);
        let rule = windows
            .own
            .get(credential)
            .or(windows.common.as_ref())?
            .clone();
        let calls = windows.calls.entry(credential.to_owned()).or_default();
        calls.retain(|at| now - at < rule.window_seconds);
        let over = calls.len() >= rule.limit as usize;
        if !over {
            calls.push(now);
        }
        let used = u32::try_from(calls.len()).unwrap_or(u32::MAX);
        Some(Counted {
            limit: rule.limit,
            left: rule.limit.saturating_sub(used),
            over,
            retry_after: rule.retry_after,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn rule(limit: u32, credential: Option<&str>) -> RateLimit {
        RateLimit {
            limit,
            window_seconds: 10,
            retry_after: None,
            credential: credential.map(str::to_owned),
        }
    }

    #[test]
    fn a_window_rolls() {
        let limits = Limits::default();
        let over = |name: &str, at| limits.count(name, at).unwrap().over;
        assert!(limits.count("a", 0).is_none(), "off by default");
        limits.set(Some(rule(2, None)));
        assert!(!over("a", 0));
        assert!(!over("a", 5));
        assert!(over("a", 9));
        assert!(!over("b", 9), "per credential");
        assert!(!over("a", 10), "the first call left the window");
    }

    #[test]
    fn one_credential_has_its_own() {
        let limits = Limits::default();
        limits.set(Some(rule(1, Some("a"))));
        assert!(limits.count("b", 0).is_none());
        let counted = limits.count("a", 0).unwrap();
        assert_eq!(
            (counted.left, counted.over, counted.near()),
            (0, false, true)
        );
        assert!(limits.count("a", 0).unwrap().over);
        limits.set(None);
        assert!(limits.count("a", 0).is_none());
    }
}
