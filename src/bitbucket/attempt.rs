//! How one attempt went, in the words of metrics and logs.

use std::time::Duration;

use super::call::Answer;
use super::error::Error;

/// How one attempt went, for metrics and logs.
pub(super) struct Attempt<'a> {
    pub(super) outcome: &'static str,
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<&'a str>,
    pub(super) error: Option<&'a Error>,
    pub(super) elapsed: Option<Duration>,
}

impl<'a> Attempt<'a> {
    pub(super) const fn cached() -> Self {
        Self {
            outcome: "cached",
            status: None,
            request_id: None,
            error: None,
            elapsed: None,
        }
    }

    pub(super) fn refused(error: &'a Error) -> Self {
        Self {
            outcome: if error.out_of_budget() {
                "out_of_budget"
            } else {
                error.kind().code()
            },
            error: Some(error),
            ..Self::cached()
        }
    }

    pub(super) fn sent(result: &'a Result<Answer, Error>, elapsed: Duration) -> Self {
        let (outcome, status, request_id, error) = match result {
            Ok(answer) => (
                if answer.status == 304 {
                    "not_modified"
                } else {
                    "ok"
                },
                Some(answer.status),
                answer.meta.request_id.as_deref(),
                None,
            ),
            Err(error) => (
                error.kind().code(),
                error.status(),
                error.request_id(),
                Some(error),
            ),
        };
        Self {
            outcome,
            status,
            request_id,
            error,
            elapsed: Some(elapsed),
        }
    }
}
