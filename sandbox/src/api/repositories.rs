use serde_json::Value;

use super::{Cx, paging};
use crate::core::Core;
use crate::journal::Rule;
use crate::model::Repository;
use crate::reply::{Outcome, Reply};
use crate::wire;

pub(super) async fn list(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let role = cx.call.param("role");
    if let Some(role) =
        role.filter(|r| !["admin", "contributor", "member", "owner"].contains(&r.as_str()))
    {
        return Err(cx.wrong(Rule::BadQuery, 400, &format!("there is no role {role:?}")));
    }
    let repositories = cx.core.store.read(|state| {
        let own = state
            .repositories
            .iter()
            .filter(|r| r.workspace == workspace.uuid);
        own.cloned().collect::<Vec<_>>()
    });
    let items = repositories.iter().map(|r| show(&cx.core, r)).collect();
    paging::answer(&cx, items, 10)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    Ok(Reply::json(200, &show(&cx.core, &repository)))
}

fn show(core: &Core, repository: &Repository) -> Value {
    let size = disk_size(&core.git_dir(repository));
    core.store
        .read(|state| wire::repository(core, state, repository, size))
}

/// Bytes of the packs and of the files at the top; an estimate, as Bitbucket's is.
fn disk_size(dir: &std::path::Path) -> u64 {
    let folders = [dir.to_owned(), dir.join("objects/pack")];
    let entries = folders
        .iter()
        .filter_map(|f| std::fs::read_dir(f).ok())
        .flatten()
        .flatten();
    entries
        .filter_map(|e| e.metadata().ok())
        .filter(|m| m.is_file())
        .map(|m| m.len())
        .sum()
}

/// The sandbox has no pull requests: the list is always empty, its parameters are judged.
pub(super) async fn pull_requests(cx: Cx) -> Outcome {
    cx.repository()?;
    for (name, value) in cx.call.params() {
        if name == "state"
            && !["OPEN", "MERGED", "DECLINED", "SUPERSEDED"].contains(&value.as_str())
        {
            return Err(cx.wrong(Rule::BadQuery, 400, &format!("there is no state {value:?}")));
        }
    }
    paging::answer(&cx, Vec::new(), 10)
}
