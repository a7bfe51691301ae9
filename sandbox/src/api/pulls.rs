//! Pull requests (bitbucket.md §3.2.5, §3.3, §3.4).

use serde_json::Value;

use super::body::Body;
use super::{Cx, paging};
use crate::journal::Rule;
use crate::model::{MergeStrategy, PullLinks, PullRequest, PullState, Repository};
use crate::pulls::{self, Merging, Opening, Refused};
use crate::reply::{Outcome, Reply};
use crate::wire;

/// Longest title in characters.
const TITLE_LIMIT: usize = 255;
/// Longest description in characters.
const TEXT_LIMIT: usize = 1 << 20;
/// Longest message of a merge, in bytes.
const MESSAGE_LIMIT: usize = 128 * 1024;
/// Longest page of the list.
const PAGE_LIMIT: usize = 50;

const FIELDS: &[&str] = &[
    "type",
    "title",
    "description",
    "source",
    "destination",
    "reviewers",
    "close_source_branch",
    "draft",
];

fn show(cx: &Cx, repository: &Repository, pull: &PullRequest) -> Value {
    cx.core
        .store
        .read(|s| wire::pull(&cx.core, s, repository, pull, true))
}

/// The pull request of the path.
pub(super) fn find(cx: &Cx, repository: &Repository) -> Result<PullRequest, Reply> {
    let id = cx.arg("id").parse::<u64>().ok();
    let found = id.and_then(|id| {
        cx.core
            .store
            .read(|s| s.pull(&repository.uuid, id).cloned())
    });
    found.ok_or_else(|| {
        let text = format!("Pull request {} does not exist", cx.arg("id"));
        Reply::error(404, &text)
    })
}

/// The answer to what cannot be done. A field that is to blame is a broken rule; a pull request that
/// is in another state, or in conflict, is not.
fn refused(cx: &Cx, body: Option<Body>, why: Refused) -> Reply {
    match (why.field, body) {
        (Some(field), Some(mut body)) => {
            body.wrong(field, why.text.as_str());
            match body.finish(cx, FIELDS) {
                Err(reply) => reply,
                Ok(()) => Reply::error(why.status, &why.text),
            }
        }
        (Some(field), None) => cx.wrong(
            Rule::BodyField,
            why.status,
            &format!("{field}: {}", why.text),
        ),
        (None, _) => Reply::error(why.status, &why.text),
    }
}

/// `state` may be repeated; without it the open ones are listed.
fn states(cx: &Cx) -> Result<Vec<PullState>, Reply> {
    let mut wanted = Vec::new();
    for (name, value) in cx.call.params() {
        if name == "state" {
            let unknown = || cx.wrong(Rule::BadQuery, 400, &format!("there is no state {value:?}"));
            wanted.push(PullState::parse(&value).ok_or_else(unknown)?);
        }
    }
    if wanted.is_empty() {
        wanted.push(PullState::Open);
    }
    Ok(wanted)
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    paging::at_most(&cx, PAGE_LIMIT)?;
    let wanted = states(&cx)?;
    let mut found: Vec<PullRequest> = cx.core.store.read(|state| {
        let all = state.pulls(&repository.uuid);
        all.filter(|p| wanted.contains(&p.state)).cloned().collect()
    });
    // Nothing promises an order: what changed last comes first, which is not the order of creation.
    found.sort_by(|a, b| (&b.updated_on, b.id).cmp(&(&a.updated_on, a.id)));
    listed(&cx, &repository, &found, 10)
}

fn listed(cx: &Cx, repository: &Repository, found: &[PullRequest], length: usize) -> Outcome {
    let items = cx.core.store.read(|state| {
        let shown = found
            .iter()
            .map(|p| wire::pull(&cx.core, state, repository, p, false));
        shown.collect()
    });
    paging::answer(cx, items, length)
}

/// `commit/{commit}/pullrequests`.
pub(super) async fn of_commit(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let hash = cx.resolve(&repository, cx.arg("commit")).await?;
    let links = cx
        .core
        .store
        .read(|s| s.pull_links.get(&repository.uuid).copied());
    match links.unwrap_or_default() {
        PullLinks::On => {
            let found = pulls::of_commit(&cx.core, &repository, &hash).await;
            listed(&cx, &repository, &found, 30)
        }
        PullLinks::Indexing => {
            let mut reply = paging::answer(&cx, Vec::new(), 30)?;
            reply.status = 202;
            Ok(reply)
        }
        PullLinks::Off => Err(Reply::error(
            404,
            "Pull request commit links are not indexed for this repository.",
        )),
    }
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(&cx, &repository)?;
    Ok(Reply::json(200, &show(&cx, &repository, &pull)))
}

/// Name of the branch of a side; `source` may name the repository, which must be this one.
fn branch(cx: &Cx, repository: &Repository, body: &mut Body, side: &str) -> Option<String> {
    let given = body.get(side)?.clone();
    let name = given.pointer("/branch/name").and_then(Value::as_str);
    let other = given.get("repository").is_some_and(|named| {
        let full_name = cx.core.store.read(|s| s.full_name(repository));
        let is = |key: &str, own: &str| named.get(key).and_then(Value::as_str) == Some(own);
        !is("full_name", &full_name) && !is("uuid", &repository.uuid)
    });
    if other {
        body.wrong(side, "the stand-in has no forks: only this repository");
    } else if name.is_none_or(str::is_empty) {
        body.wrong(side, "must be {\"branch\": {\"name\": text}}");
    }
    name.map(str::to_owned)
}

fn reviewers(cx: &Cx, body: &mut Body) -> Option<Vec<String>> {
    let given = body.get("reviewers")?.clone();
    let known = |one: &Value| {
        let id = one
            .get("uuid")
            .or_else(|| one.get("account_id"))?
            .as_str()?;
        cx.core.store.read(|s| s.user(id).map(|u| u.uuid.clone()))
    };
    let found: Option<Vec<String>> = given
        .as_array()
        .and_then(|all| all.iter().map(known).collect());
    if found.is_none() {
        body.wrong(
            "reviewers",
            "must be a list of accounts with uuid or account_id",
        );
    }
    found
}

pub(super) async fn create(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let mut body = Body::read(&cx)?;
    if !body.has("source") {
        body.wrong("source", "required key not provided");
    }
    let new = Opening {
        title: body.needed_text("title", TITLE_LIMIT),
        description: body.text("description", TEXT_LIMIT).unwrap_or_default(),
        source: branch(&cx, &repository, &mut body, "source").unwrap_or_default(),
        destination: branch(&cx, &repository, &mut body, "destination").unwrap_or_default(),
        close_source_branch: body.flag("close_source_branch").unwrap_or_default(),
        draft: body.flag("draft").unwrap_or_default(),
        reviewers: reviewers(&cx, &mut body).unwrap_or_default(),
        author: cx.actor(),
    };
    body.judge(&cx, FIELDS)?;
    let made = pulls::open(&cx.core, &repository, new).await;
    let pull = made.map_err(|why| refused(&cx, Some(body), why))?;
    let value = show(&cx, &repository, &pull);
    let own = value.pointer("/links/self/href").and_then(Value::as_str);
    Ok(Reply::json(201, &value).with("location", own.unwrap_or_default()))
}

pub(super) async fn update(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let old = find(&cx, &repository)?;
    let mut body = Body::read(&cx)?;
    let title = body
        .has("title")
        .then(|| body.needed_text("title", TITLE_LIMIT));
    let description = body.text("description", TEXT_LIMIT);
    let destination = branch(&cx, &repository, &mut body, "destination");
    let (close, draft) = (body.flag("close_source_branch"), body.flag("draft"));
    let reviewers = reviewers(&cx, &mut body);
    let source = branch(&cx, &repository, &mut body, "source");
    if source.is_some_and(|name| name != old.source.branch) {
        body.wrong("source", "cannot be changed");
    }
    body.judge(&cx, FIELDS)?;
    let change = |pull: &mut PullRequest| {
        pull.title = title.unwrap_or_else(|| pull.title.clone());
        pull.description = description.unwrap_or_else(|| pull.description.clone());
        pull.close_source_branch = close.unwrap_or(pull.close_source_branch);
        pull.draft = draft.unwrap_or(pull.draft);
        pull.reviewers = reviewers.unwrap_or_else(|| pull.reviewers.clone());
    };
    let to = destination.as_deref();
    let done = pulls::update(&cx.core, &repository, old.id, to, &cx.actor(), change).await;
    let pull = done.map_err(|why| refused(&cx, Some(body), why))?;
    Ok(Reply::json(200, &show(&cx, &repository, &pull)))
}

/// `merge`. The body may be absent; a merge is never asynchronous here.
pub(super) async fn merge(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(&cx, &repository)?;
    cx.need_write(&repository)?;
    let mut how = Merging {
        by: cx.actor(),
        ..Merging::default()
    };
    if !cx.call.body.is_empty() {
        let mut body = Body::read(&cx)?;
        how.message = body.text("message", MESSAGE_LIMIT);
        if how
            .message
            .as_ref()
            .is_some_and(|m| m.len() > MESSAGE_LIMIT)
        {
            body.wrong("message", "longer than 128 KiB");
        }
        how.close_source_branch = body.flag("close_source_branch");
        let strategy = body.choice("merge_strategy", MergeStrategy::NAMES);
        how.strategy = strategy
            .and_then(|word| MergeStrategy::parse(&word))
            .unwrap_or_default();
        let known = ["type", "message", "close_source_branch", "merge_strategy"];
        body.finish(&cx, &known)?;
    }
    let merged = pulls::merge(&cx.core, &repository, pull.id, &how).await;
    let merged = merged.map_err(|why| refused(&cx, None, why))?;
    Ok(Reply::json(200, &show(&cx, &repository, &merged)))
}

pub(super) async fn decline(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(&cx, &repository)?;
    if !cx.call.body.is_empty() {
        Body::read(&cx)?.finish(&cx, &["type"])?;
    }
    let done = pulls::decline(&cx.core, &repository, pull.id, "", &cx.actor());
    let pull = done.map_err(|why| refused(&cx, None, why))?;
    Ok(Reply::json(200, &show(&cx, &repository, &pull)))
}

/// Its commits in chronological order.
pub(super) async fn commits(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(&cx, &repository)?;
    let commits = pulls::commits(&cx.git_dir(&repository), &pull).await?;
    let items = cx.core.store.read(|state| {
        let shown = commits.iter().rev();
        shown
            .map(|c| wire::commit(&cx.core, state, &repository, c))
            .collect()
    });
    paging::answer(&cx, items, 10)
}

pub(super) async fn diff(cx: Cx) -> Outcome {
    elsewhere(&cx, "diff")
}

pub(super) async fn diffstat(cx: Cx) -> Outcome {
    elsewhere(&cx, "diffstat")
}

/// Sends the caller to the same of both commits.
fn elsewhere(cx: &Cx, what: &str) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(cx, &repository)?;
    let full_name = cx.core.store.read(|s| s.full_name(&repository));
    let (source, destination) = (&pull.source.commit, &pull.destination.commit);
    let path = format!("/repositories/{full_name}/{what}/{source}..{destination}?topic=true");
    Ok(Reply::redirect(302, &cx.core.api(&path)))
}

/// Build statuses of its newest commit: those of its branch, and those of no branch.
pub(super) async fn statuses(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(&cx, &repository)?;
    super::statuses::listed(
        &cx,
        &repository,
        &pull.source.commit,
        Some(&pull.source.branch),
    )
}
