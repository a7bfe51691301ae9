use serde_json::Value;

use super::{Cx, paging};
use crate::git::{log, refs};
use crate::reply::{Outcome, Reply};
use crate::wire;

pub(super) async fn list(cx: Cx) -> Outcome {
    below(cx, "refs/").await
}

pub(super) async fn branches(cx: Cx) -> Outcome {
    below(cx, "refs/heads/").await
}

pub(super) async fn tags(cx: Cx) -> Outcome {
    below(cx, "refs/tags/").await
}

pub(super) async fn branch(cx: Cx) -> Outcome {
    one(cx, "refs/heads/", "branch").await
}

pub(super) async fn tag(cx: Cx) -> Outcome {
    one(cx, "refs/tags/", "tag").await
}

async fn below(cx: Cx, prefix: &str) -> Outcome {
    let repository = cx.repository()?;
    let dir = cx.git_dir(&repository);
    let mut all = refs::all(&dir).await?;
    all.retain(|name, _| name.starts_with(prefix));
    let hashes: Vec<String> = all.values().map(|r| r.commit.clone()).collect();
    let commits = log::exactly(&dir, &hashes).await?;
    let items: Vec<Value> = cx.core.store.read(|state| {
        let show = |r: &refs::Ref| {
            let target = commits.iter().find(|c| c.hash == r.commit);
            wire::reference(&cx.core, state, &repository, r, target)
        };
        all.values().map(show).collect()
    });
    paging::answer(&cx, items, 10)
}

async fn one(cx: Cx, prefix: &str, kind: &str) -> Outcome {
    let full = format!("{prefix}{}", cx.arg("name"));
    let repository = cx.repository()?;
    let dir = cx.git_dir(&repository);
    let all = refs::all(&dir).await?;
    let found = all
        .get(&full)
        .ok_or_else(|| Reply::error(404, &format!("No such {kind}: {}", cx.arg("name"))))?;
    let target = log::one(&dir, &found.commit).await?;
    let value = cx
        .core
        .store
        .read(|state| wire::reference(&cx.core, state, &repository, found, target.as_ref()));
    Ok(Reply::json(200, &value))
}
