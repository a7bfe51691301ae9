use serde_json::Value;

use super::{Cx, paging};
use crate::git::{log, refs};
use crate::journal::Rule;
use crate::reply::{Outcome, Reply};
use crate::wire;

fn prefix(cx: &Cx) -> Result<&'static str, Reply> {
    match cx.arg("kind") {
        "branches" => Ok("refs/heads/"),
        "tags" => Ok("refs/tags/"),
        "" => Ok("refs/"),
        _ => Err(cx.wrong(Rule::UnknownRoute, 404, "Resource not found")),
    }
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let prefix = prefix(&cx)?;
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

pub(super) async fn get(cx: Cx) -> Outcome {
    let full = format!("{}{}", prefix(&cx)?, cx.arg("name"));
    let repository = cx.repository()?;
    let dir = cx.git_dir(&repository);
    let all = refs::all(&dir).await?;
    let found = all.get(&full).ok_or_else(|| {
        Reply::error(
            404,
            &format!("No such {}: {}", cx.arg("kind"), cx.arg("name")),
        )
    })?;
    let target = log::one(&dir, &found.commit).await?;
    let value = cx
        .core
        .store
        .read(|state| wire::reference(&cx.core, state, &repository, found, target.as_ref()));
    Ok(Reply::json(200, &value))
}
