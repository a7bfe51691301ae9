//! Controls of pull requests.

use std::sync::Arc;

use serde_json::json;

use super::{bad, body, created, ok};
use crate::call::Call;
use crate::core::Core;
use crate::model::PullRequest;
use crate::reply::{Outcome, Reply};
use crate::setup::{NewPullRequest, PullDecline, PullMerge, SetPullLinks};

/// None when the path is another control's.
pub(super) async fn serve(core: &Arc<Core>, call: &Call, path: &str) -> Option<Outcome> {
    let tail = path.strip_prefix("pull-requests")?;
    if call.method != "POST" {
        return None;
    }
    Some(match tail {
        "" => open(core, call).await,
        "/merge" => merge(core, call).await,
        "/decline" => body::<PullDecline>(call)
            .and_then(|decline| core.decline_pull(&decline).map_err(bad))
            .and_then(|pull| ok(&shown(&pull))),
        "/links" => body::<SetPullLinks>(call)
            .and_then(|set| core.set_pull_links(&set).map_err(bad))
            .map(|()| Reply::empty(204)),
        _ => return None,
    })
}

async fn open(core: &Arc<Core>, call: &Call) -> Outcome {
    let new = body::<NewPullRequest>(call)?;
    created(&shown(&core.open_pull(&new).await.map_err(bad)?))
}

async fn merge(core: &Arc<Core>, call: &Call) -> Outcome {
    let merge = body::<PullMerge>(call)?;
    ok(&shown(&core.merge_pull(&merge).await.map_err(bad)?))
}

fn shown(pull: &PullRequest) -> serde_json::Value {
    json!({"id": pull.id, "state": pull.state, "merge_commit": pull.merge_commit})
}
