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
}

fn hour() -> i64 {
    3600
}

#[derive(Default)]
pub(crate) struct Limits(Mutex<Window>);

#[derive(Default)]
struct Window {
    rule: Option<RateLimit>,
    calls: HashMap<String, Vec<i64>>,
}

impl Limits {
    pub(crate) fn set(&self, rule: Option<RateLimit>) {
        *lock(&self.0) = Window {
            rule,
            calls: HashMap::new(),
        };
    }

    /// Counts a call of `credential` at `now` (unix seconds); the rule when it is over.
    pub(crate) fn over(&self, credential: &str, now: i64) -> Option<RateLimit> {
        let mut window = lock(&self.0);
        let rule = window.rule.clone()?;
        let calls = window.calls.entry(credential.to_owned()).or_default();
        calls.retain(|at| now - at < rule.window_seconds);
        if calls.len() >= rule.limit as usize {
            return Some(rule);
        }
        calls.push(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_rolls() {
        let limits = Limits::default();
        assert!(limits.over("a", 0).is_none(), "off by default");
        limits.set(Some(RateLimit {
            limit: 2,
            window_seconds: 10,
            retry_after: None,
        }));
        assert!(limits.over("a", 0).is_none());
        assert!(limits.over("a", 5).is_none());
        assert!(limits.over("a", 9).is_some());
        assert!(limits.over("b", 9).is_none(), "per credential");
        assert!(
            limits.over("a", 10).is_none(),
            "the first call left the window"
        );
    }
}
