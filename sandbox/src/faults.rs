//! Faults on demand: what to break, where, how often.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::core::lock;

/// Which calls a fault meets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultMatch {
    /// Only this method.
    pub method: Option<String>,
    /// Only paths (as sent, with query) that contain this text.
    pub path_contains: Option<String>,
    /// How many calls meet it; `null` for all of them.
    pub times: Option<u32>,
    /// How many matching calls pass untouched first.
    pub skip: u32,
}

impl Default for FaultMatch {
    fn default() -> Self {
        Self {
            method: None,
            path_contains: None,
            times: Some(1),
            skip: 0,
        }
    }
}

/// What happens to a call that meets a fault. A call that would be refused (token, scope, route)
/// is refused first and does not use the fault up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Answer this status without doing the work.
    Status {
        /// 400–599, also 555.
        status: u16,
        /// Seconds for the header `Retry-After`.
        #[serde(default)]
        retry_after: Option<u32>,
        /// Body instead of the usual error JSON.
        #[serde(default)]
        body: Option<String>,
    },
    /// Wait this many milliseconds, then go on as usual.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// Close the connection without doing the work.
    DropBefore,
    /// Do the work, then close the connection without an answer.
    DropAfter,
    /// Do the work, answer 200 with a body that is not JSON.
    Garbage,
    /// Do the work, announce the whole answer, send half of it and close the connection.
    Half,
    /// Answer a redirect to this URL without doing the work.
    Redirect {
        /// Value of `Location`.
        url: String,
        /// 301, 302, 303, 307 or 308; 302 when absent.
        #[serde(default)]
        status: Option<u16>,
    },
    /// Do the work, then wait this many milliseconds (or until the held calls are released)
    /// before answering. Meanwhile `/_sandbox/held` counts the call.
    HoldAfter {
        /// Milliseconds.
        ms: u64,
    },
}

/// A fault to inject.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which calls.
    #[serde(default, rename = "match")]
    pub matching: FaultMatch,
    /// What happens to them.
    pub action: Action,
}

impl Fault {
    /// The next call whose path contains `path` meets `action`.
    pub fn once(method: &str, path: &str, action: Action) -> Self {
        Self {
            matching: FaultMatch {
                method: Some(method.to_owned()),
                path_contains: Some(path.to_owned()),
                ..FaultMatch::default()
            },
            action,
        }
    }

    /// Every call whose path contains `path` meets `action` until the faults are cleared.
    pub fn always(method: &str, path: &str, action: Action) -> Self {
        let mut fault = Self::once(method, path, action);
        fault.matching.times = None;
        fault
    }

    fn meets(&self, method: &str, path: &str) -> bool {
        let matching = &self.matching;
        matching.times != Some(0)
            && matching
                .method
                .as_deref()
                .is_none_or(|m| m.eq_ignore_ascii_case(method))
            && matching
                .path_contains
                .as_deref()
                .is_none_or(|p| path.contains(p))
    }
}

/// The faults waiting to happen, oldest first.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        lock(&self.0).push(fault);
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        lock(&self.0).clone()
    }

    /// The action the call meets, if any; counts it.
    pub(crate) fn take(&self, method: &str, path: &str) -> Option<Action> {
        let mut faults = lock(&self.0);
        let mut met = None;
        for fault in faults.iter_mut().filter(|f| f.meets(method, path)) {
            if fault.matching.skip > 0 {
                fault.matching.skip -= 1;
                continue;
            }
            fault.matching.times = fault.matching.times.map(|left| left.saturating_sub(1));
            met = Some(fault.action.clone());
            break;
        }
        faults.retain(|f| f.matching.times != Some(0));
        met
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn counts_skips_and_expires() {
        let faults = Faults::default();
        let mut fault = Fault::once("POST", "/issues", Action::DropAfter);
        fault.matching.skip = 1;
        faults.add(fault);
        assert!(faults.take("GET", "/2.0/x/issues").is_none());
        assert!(faults.take("POST", "/2.0/x/issues").is_none(), "skipped");
        assert!(matches!(
            faults.take("POST", "/2.0/x/issues"),
            Some(Action::DropAfter)
        ));
        assert!(faults.list().is_empty());
    }

    #[test]
    fn reads_the_documented_json() {
        let fault: Fault = serde_json::from_str(
            r#"{"match":{"path_contains":"/issues","times":2},"action":{"kind":"status","status":429,"retry_after":7}}"#,
        )
        .unwrap();
        assert_eq!(fault.matching.times, Some(2));
        assert!(serde_json::from_str::<Fault>(r#"{"action":{"kind":"explode"}}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"action":{"kind":"half"},"mach":{}}"#).is_err());
    }
}
