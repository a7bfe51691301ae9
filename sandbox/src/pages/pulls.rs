use crate::core::Core;
use crate::git::diff;
use crate::model::{PullRequest, PullState, Repository};
use crate::pulls;

use super::home::Page;
use super::html::{badge, escape, link, table};

fn state_badge(pull: &PullRequest) -> String {
    let kind = match pull.state {
        PullState::Merged => "good",
        _ => "plain",
    };
    badge(kind, pull.state.name())
}

fn way(pull: &PullRequest) -> String {
    let (from, to) = (&pull.source.branch, &pull.destination.branch);
    escape(&format!("{from} → {to}"))
}

pub(super) fn list(core: &Core, repository: &Repository) -> Page {
    let (name, all) = core.store.read(|state| {
        let all: Vec<PullRequest> = state.pulls(&repository.uuid).cloned().collect();
        (state.full_name(repository), all)
    });
    let row = |pull: &PullRequest| {
        let (page, number) = (format!("/{name}/pull-requests/{}", pull.id), pull.id);
        vec![
            link(&page, &format!("#{number}")),
            escape(&pull.title),
            state_badge(pull),
            way(pull),
        ]
    };
    let rows: Vec<_> = all.iter().rev().map(row).collect();
    let body = format!(
        "<p>{}</p><h1>Pull requests</h1>{}",
        link(&format!("/{name}"), &name),
        table(
            &["#", "Title", "State", "Branches"],
            &rows,
            "No pull request yet."
        )
    );
    (format!("Pull requests of {name}"), body)
}

pub(super) async fn one(
    core: &Core,
    repository: &Repository,
    id: &str,
) -> anyhow::Result<Option<Page>> {
    let found = core.store.read(|state| {
        let pull = state.pull(&repository.uuid, id.parse().ok()?)?.clone();
        Some((state.full_name(repository), pull))
    });
    let Some((name, pull)) = found else {
        return Ok(None);
    };
    let dir = core.git_dir(repository);
    let commits: Vec<_> = pulls::commits(&dir, &pull)
        .await?
        .iter()
        .map(|c| {
            let short: String = c.hash.chars().take(12).collect();
            let subject = c.message.lines().next().unwrap_or_default();
            let page = format!("/{name}/commits/{}", c.hash);
            vec![link(&page, &short), escape(subject)]
        })
        .collect();
    let (source, destination) = (&pull.source.commit, &pull.destination.commit);
    let sides = diff::between(&dir, source, destination, true).await;
    let text = diff::text(&dir, &sides, &diff::Options::default()).await?;
    let comments: String = pull
        .comments
        .iter()
        .map(|c| {
            let text = escape(&c.content);
            format!(
                r#"<article class="card" id="comment-{}"><pre>{text}</pre></article>"#,
                c.id
            )
        })
        .collect();
    let body = format!(
        "<p>{}</p><h1>#{} {}</h1><p>{} {}</p><pre>{}</pre><h2>Commits</h2>{}<h2>Comments</h2>{comments}<h2>Changes</h2><pre>{}</pre>",
        link(
            &format!("/{name}/pull-requests"),
            &format!("Pull requests of {name}")
        ),
        pull.id,
        escape(&pull.title),
        state_badge(&pull),
        way(&pull),
        escape(&pull.description),
        table(&["Commit", "Message"], &commits, "It brings no commit."),
        escape(&String::from_utf8_lossy(&text)),
    );
    Ok(Some((format!("#{} {}", pull.id, pull.title), body)))
}
