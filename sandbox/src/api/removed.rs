//! Lists over all workspaces, which were taken away in April 2026 (bitbucket.md §2.2).

use serde_json::json;

use super::Cx;
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::judge::{self, Wrong};
use crate::reply::{Outcome, Reply};

/// The 410 of the service, for a right credential; else the refusal of that.
pub(super) fn gone(core: &Core, call: &Call) -> Reply {
    if let Err(wrong) = judge::caller(core, call) {
        return wrong.refuse(core, call);
    }
    let body = json!({"type": "error", "error": {
        "message": "CHANGE-2770 - Functionality has been deprecated",
        "detail": "Please read the changelog entry for more details.",
        "data": {
            "announcement_url":
                "https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770",
        },
    }});
    Wrong::new(Rule::Removed, 410, "the operation was taken away")
        .answering(Reply::json(410, &body))
        .refuse(core, call)
}

/// Stands in the table where nothing is run.
pub(super) async fn never(_: Cx) -> Outcome {
    Err(Reply::empty(410))
}
