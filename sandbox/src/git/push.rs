//! What a push changed, as the body of `repo:push` (bitbucket.md §5.3).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::log::{self, Range};
use super::refs::{self, Ref};
use crate::core::Core;
use crate::dc::events;
use crate::model::{PullRequest, Repository};
use crate::protocol::qsh::encode;
use crate::pulls;
use crate::wire;

/// A change lists at most this many commits, the newest.
const LISTED: usize = 5;

/// Refs by full name.
pub(crate) type Snapshot = BTreeMap<String, Ref>;

/// What a push changed, for both kinds of server.
pub(crate) struct Pushed {
    /// Body of `repo:push`.
    pub(crate) cloud: Value,
    /// Body of `repo:refs_changed`.
    pub(crate) data_center: Value,
    /// Open pull requests that it changed.
    pub(crate) pulls: Vec<(PullRequest, pulls::Event)>,
    /// Account uuid of who pushed; empty for nobody.
    pub(crate) actor: String,
}

/// Compares the refs with what they were `before`; the event bodies, or none when nothing changed.
/// Also points HEAD of a repository that had no branch to the first one pushed, and stamps the
/// repository. `pusher` is the nickname of a user; the workspace's owner stands in for others.
pub(crate) async fn after(
    core: &Core,
    repository: &Repository,
    before: &Snapshot,
    pusher: Option<&str>,
) -> anyhow::Result<Option<Pushed>> {
    let dir = core.git_dir(repository);
    let now = refs::all(&dir).await?;
    if *before == now {
        return Ok(None);
    }
    adopt_main_branch(&dir, before, &now).await?;
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let moved: Vec<(Option<&Ref>, Option<&Ref>)> = names
        .into_iter()
        .map(|name| (before.get(name), now.get(name)))
        .filter(|(old, new)| old != new)
        .collect();
    let mut changes = Vec::new();
    for (old, new) in &moved {
        changes.push(change(core, repository, &dir, before, *old, *new).await?);
    }
    let stamp = core.clock.stamp();
    let main_branch = refs::main_branch(&dir).await;
    core.store.write(|state| {
        if let Some(stored) = state.repository_mut(&repository.uuid) {
            stored.updated_on = stamp;
            stored.main_branch = main_branch;
        }
    })?;
    let person = core.store.read(|state| {
        let named = |name| {
            let mut all = state.users.iter();
            all.find(|u| u.nickname.eq_ignore_ascii_case(name)).cloned()
        };
        let owner = || {
            let workspace = state.workspace(&repository.workspace)?;
            state.user(&workspace.owner).cloned()
        };
        pusher.and_then(named).or_else(owner)
    });
    let account = person.as_ref().map(|u| u.uuid.as_str());
    let data_center = events::refs_changed(core, repository, &dir, &moved, account).await?;
    let cloud = core.store.read(|state| {
        json!({
            "actor": person.as_ref().map(|user| wire::user(core, user)),
            "repository": wire::event_repository(core, state, repository),
            "push": {"changes": changes},
        })
    });
    let actor = account.unwrap_or_default().to_owned();
    Ok(Some(Pushed {
        cloud,
        data_center,
        pulls: pulls::follow(core, repository, &now, &actor).await?,
        actor,
    }))
}

async fn adopt_main_branch(dir: &Path, before: &Snapshot, now: &Snapshot) -> anyhow::Result<()> {
    let had_branch = before.values().any(|r| r.kind() == "branch");
    if had_branch || now.contains_key("refs/heads/main") {
        return Ok(());
    }
    if let Some(first) = now.values().find(|r| r.kind() == "branch") {
        super::run(dir, &["symbolic-ref", "HEAD", &first.full]).await?;
    }
    Ok(())
}

async fn change(
    core: &Core,
    repository: &Repository,
    dir: &Path,
    before: &Snapshot,
    old: Option<&Ref>,
    new: Option<&Ref>,
) -> anyhow::Result<Value> {
    let old_json = match old {
        Some(old) => reference(core, repository, dir, old).await?,
        None => Value::Null,
    };
    let Some(new) = new else {
        return Ok(json!({
            "old": old_json, "new": null,
            "created": false, "closed": true, "forced": false, "truncated": false,
        }));
    };
    let new_json = reference(core, repository, dir, new).await?;
    let exclude: Vec<String> = match old {
        Some(old) => vec![old.commit.clone()],
        None => before.values().map(|r| r.commit.clone()).collect(),
    };
    let range = Range {
        include: vec![new.commit.clone()],
        exclude,
        ..Range::default()
    };
    let mut commits = log::log(dir, &range, 0, LISTED + 1).await?;
    let truncated = commits.len() > LISTED;
    commits.truncate(LISTED);
    let forced = match old {
        Some(old) => !refs::is_ancestor(dir, &old.commit, &new.commit).await,
        None => false,
    };
    let full_name = core.store.read(|s| s.full_name(repository));
    let commits: Vec<Value> = core.store.read(|state| {
        commits
            .iter()
            .map(|c| wire::commit(core, state, repository, c))
            .collect()
    });
    Ok(json!({
        "old": old_json, "new": new_json,
        "created": old.is_none(), "closed": false, "forced": forced,
        "truncated": truncated, "commits": commits,
        "links": links(core, &full_name, old, new),
    }))
}

async fn reference(
    core: &Core,
    repository: &Repository,
    dir: &Path,
    reference: &Ref,
) -> anyhow::Result<Value> {
    let target = log::one(dir, &reference.commit).await?;
    Ok(core
        .store
        .read(|s| wire::reference(core, s, repository, reference, target.as_ref())))
}

fn links(core: &Core, full_name: &str, old: Option<&Ref>, new: &Ref) -> Value {
    let mut commits = core.api(&format!(
        "/repositories/{full_name}/commits?include={}",
        new.commit
    ));
    if let Some(old) = old {
        commits.push_str(&format!("&exclude={}", old.commit));
    }
    let mut links = json!({"commits": {"href": commits}});
    if let (Some(old), "branch", Some(map)) = (old, new.kind(), links.as_object_mut()) {
        let spec = format!("{}..{}", new.commit, old.commit);
        map.insert(
            "diff".into(),
            json!({"href": core.api(&format!("/repositories/{full_name}/diff/{spec}"))}),
        );
        map.insert(
            "html".into(),
            json!({"href": core.web(&format!("/{full_name}/branches/compare/{spec}"))}),
        );
    } else if let ("branch", Some(map)) = (new.kind(), links.as_object_mut()) {
        let page = format!("/{full_name}/branch/{}", encode(new.name()));
        map.insert("html".into(), json!({"href": core.web(&page)}));
    }
    links
}
