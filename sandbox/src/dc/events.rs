//! Bodies of Data Center webhooks (bitbucket.md §7).

use std::path::Path;

use serde_json::{Value, json};

use super::wire;
use crate::core::Core;
use crate::git::log::{self, Range};
use crate::git::refs::Ref;
use crate::model::{PullComment, PullRequest, Repository};

/// Stands for a ref that is not there.
const ZERO: &str = "0000000000000000000000000000000000000000";
/// How many commits a body lists, the newest.
const LISTED: usize = 5;

/// `repo:refs_changed`. `person` is the account uuid of who pushed.
pub(crate) async fn refs_changed(
    core: &Core,
    repository: &Repository,
    dir: &Path,
    changes: &[(Option<&Ref>, Option<&Ref>)],
    person: Option<&str>,
) -> anyhow::Result<Value> {
    let shown: Vec<Value> = changes
        .iter()
        .filter_map(|(old, new)| change(*old, *new))
        .collect();
    let moved = changes.iter().find_map(|(old, new)| Some((*old, (*new)?)));
    let (mut commits, mut last) = (Vec::new(), None);
    if let Some((old, new)) = moved {
        let range = Range {
            include: vec![new.commit.clone()],
            exclude: old.map(|o| o.commit.clone()).into_iter().collect(),
            ..Range::default()
        };
        commits = log::log(dir, &range, 0, LISTED).await?;
        last = log::one(dir, &new.commit).await?;
    }
    Ok(core.store.read(|state| {
        let show = |c: &log::Commit| wire::commit(core, state, c);
        json!({
            "eventKey": "repo:refs_changed",
            "date": core.clock.now().format("%Y-%m-%dT%H:%M:%S%z").to_string(),
            "actor": person.and_then(|p| state.user(p)).map(|u| wire::user(core, u)),
            "repository": wire::repository(core, state, repository),
            "changes": shown,
            "commits": commits.iter().map(show).collect::<Vec<_>>(),
            "toCommit": last.as_ref().map(show),
        })
    }))
}

/// `pr:*` of a pull request of a repository. `actor` is an account uuid.
pub(crate) fn pull_request(
    core: &Core,
    (repository, pull): (&Repository, &PullRequest),
    event: &str,
    actor: &str,
    comment: Option<&PullComment>,
) -> Value {
    core.store.read(|state| {
        let mut body = json!({
            "eventKey": event,
            "date": core.clock.now().format("%Y-%m-%dT%H:%M:%S%z").to_string(),
            "actor": wire::person(core, state, actor),
            "pullRequest": wire::pull(core, state, repository, pull),
        });
        if let (Some(comment), Some(map)) = (comment, body.as_object_mut()) {
            map.insert("comment".into(), wire::comment(core, state, comment));
            map.extend(
                comment
                    .parent
                    .map(|id| ("commentParentId".into(), json!(id))),
            );
        }
        body
    })
}

/// `pr:*`: nobody opened it, but it looks like it.
pub(crate) fn imagined(core: &Core, repository: &Repository, event: &str, id: u64) -> Value {
    core.store.read(|state| {
        let shown = wire::repository(core, state, repository);
        let side = |name: &str| {
            json!({
                "id": format!("refs/heads/{name}"), "displayId": name, "latestCommit": ZERO,
                "type": "BRANCH", "repository": shown,
            })
        };
        let actor = state.workspace(&repository.workspace);
        let actor = actor
            .and_then(|w| state.user(&w.owner))
            .map(|u| wire::user(core, u));
        json!({
            "eventKey": event,
            "date": core.clock.now().format("%Y-%m-%dT%H:%M:%S%z").to_string(),
            "actor": actor,
            "pullRequest": {
                "id": id, "version": 0, "title": "A change", "state": "OPEN", "open": true,
                "closed": false, "fromRef": side("change"), "toRef": side("main"),
            },
        })
    })
}

fn change(old: Option<&Ref>, new: Option<&Ref>) -> Option<Value> {
    let named = new.or(old)?;
    let kind = match (old, new) {
        (None, _) => "ADD",
        (_, None) => "DELETE",
        _ => "UPDATE",
    };
    let hash = |side: Option<&Ref>| side.map_or(ZERO, |r| r.commit.as_str()).to_owned();
    Some(json!({
        "ref": {
            "id": named.full, "displayId": named.name(),
            "type": named.kind().to_ascii_uppercase(),
        },
        "refId": named.full, "fromHash": hash(old), "toHash": hash(new), "type": kind,
    }))
}
