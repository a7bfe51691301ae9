//! Projects: they are there as soon as a repository names them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Cx, paging};
use crate::reply::{Outcome, Reply};
use crate::wire;

fn keys(cx: &Cx, workspace: &str) -> BTreeSet<String> {
    cx.core.store.read(|state| {
        let seen = state
            .repositories
            .iter()
            .filter(|r| r.workspace == workspace)
            .filter(|r| cx.reach().is_none_or(|reach| state.sees(reach, r)));
        seen.map(|r| r.project.clone()).collect()
    })
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let items: Vec<Value> = keys(&cx, &workspace.uuid)
        .iter()
        .map(|key| wire::project(&cx.core, &workspace, key))
        .collect();
    paging::answer(&cx, items, 10)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let wanted = cx.arg("key");
    match keys(&cx, &workspace.uuid).get(wanted) {
        Some(key) => Ok(Reply::json(200, &wire::project(&cx.core, &workspace, key))),
        None => Err(Reply::error(404, &format!("No project {wanted}"))),
    }
}
