use crate::core::Core;
use crate::git::{diff, log, refs};
use crate::model::{Issue, Repository};

use super::home::Page;
use super::html::{badge, code, escape, link, table};

const COMMITS: usize = 20;

pub(super) async fn overview(core: &Core, repository: &Repository) -> anyhow::Result<Page> {
    let name = core.store.read(|s| s.full_name(repository));
    let dir = core.git_dir(repository);
    let all = refs::all(&dir).await?;
    let range = log::Range {
        include: all.values().map(|r| r.commit.clone()).collect(),
        ..log::Range::default()
    };
    let commits: Vec<_> = log::log(&dir, &range, 0, COMMITS)
        .await?
        .iter()
        .map(|c| {
            let short: String = c.hash.chars().take(12).collect();
            let subject = c.message.lines().next().unwrap_or_default();
            vec![
                link(&format!("/{name}/commits/{}", c.hash), &short),
                escape(subject),
                escape(&c.author_name),
                escape(&c.date),
            ]
        })
        .collect();
    let branches: Vec<_> = all
        .values()
        .map(|r| {
            let short: String = r.commit.chars().take(12).collect();
            vec![escape(r.name()), r.kind().to_owned(), code(&short)]
        })
        .collect();
    let open = repository.issues.iter().filter(|i| is_open(i)).count();
    let body = format!(
        "<h1>{}</h1><p>{}</p><pre>git clone {}</pre><p>{} · {}</p><h2>Recent commits</h2>{}<h2>Branches and tags</h2>{}",
        escape(&name),
        escape(&repository.description),
        escape(&core.web(&format!("/{name}.git"))),
        link(&format!("/{name}/issues"), &format!("{open} open issues")),
        link(&format!("/{name}/pull-requests"), "pull requests"),
        table(
            &["Commit", "Message", "Author", "Date"],
            &commits,
            "Nothing was pushed yet."
        ),
        table(&["Name", "Kind", "Commit"], &branches, "No branch yet."),
    );
    Ok((name, body))
}

fn is_open(issue: &Issue) -> bool {
    matches!(
        issue.state.as_str(),
        "new" | "open" | "submitted" | "on hold"
    )
}

fn state_badge(issue: &Issue) -> String {
    badge(if is_open(issue) { "plain" } else { "good" }, &issue.state)
}

pub(super) fn issues(core: &Core, repository: &Repository) -> Page {
    let name = core.store.read(|s| s.full_name(repository));
    let rows: Vec<_> = repository
        .issues
        .iter()
        .rev()
        .map(|i| {
            vec![
                link(&format!("/{name}/issues/{}", i.id), &format!("#{}", i.id)),
                escape(&i.title),
                state_badge(i),
                escape(&format!("{}, {}", i.kind, i.priority)),
                i.comments.len().to_string(),
            ]
        })
        .collect();
    let body = format!(
        "<p>{}</p><h1>Issues</h1>{}",
        link(&format!("/{name}"), &name),
        table(
            &["#", "Title", "State", "Kind", "Comments"],
            &rows,
            "No issue yet."
        )
    );
    (format!("Issues of {name}"), body)
}

pub(super) fn issue(core: &Core, repository: &Repository, id: &str) -> Option<Page> {
    let name = core.store.read(|s| s.full_name(repository));
    let id = id.parse::<u64>().ok()?;
    let issue = repository.issues.iter().find(|i| i.id == id)?;
    let who = |uuid: &str| {
        core.store.read(|s| {
            let person = s.user(uuid).map(|u| u.display_name.clone());
            person
                .or_else(|| s.workspace(uuid).map(|w| w.name.clone()))
                .unwrap_or_default()
        })
    };
    let comments: String = issue
        .comments
        .iter()
        .map(|c| {
            format!(
                r#"<article class="card" id="comment-{}"><p class="soft">{} · {}</p><pre>{}</pre></article>"#,
                c.id,
                escape(&who(&c.user)),
                escape(&c.created_on),
                escape(&c.content)
            )
        })
        .collect();
    let comments = if comments.is_empty() {
        r#"<p class="empty">No comment yet.</p>"#.to_owned()
    } else {
        comments
    };
    let body = format!(
        "<p>{}</p><h1>#{id} {}</h1><p>{} {} {} <span class=\"soft\">by {} · {}</span></p><pre>{}</pre><h2>Comments</h2>{comments}",
        link(&format!("/{name}/issues"), &format!("Issues of {name}")),
        escape(&issue.title),
        state_badge(issue),
        badge("plain", &issue.kind),
        badge("plain", &issue.priority),
        escape(&who(&issue.reporter)),
        escape(&issue.created_on),
        escape(&issue.content),
    );
    Some((format!("#{id} {}", issue.title), body))
}

pub(super) async fn commit(
    core: &Core,
    repository: &Repository,
    hash: &str,
) -> anyhow::Result<Option<Page>> {
    let name = core.store.read(|s| s.full_name(repository));
    let dir = core.git_dir(repository);
    let Some(full) = refs::resolve(&dir, hash).await else {
        return Ok(None);
    };
    let Some(commit) = log::one(&dir, &full).await? else {
        return Ok(None);
    };
    let sides = diff::of_commit(&dir, &full).await;
    let text = diff::text(&dir, &sides, &diff::Options::default()).await?;
    let short: String = full.chars().take(12).collect();
    let body = format!(
        "<p>{}</p><h1>{}</h1><p class=\"soft\">{} · {}</p><pre>{}</pre><h2>Changes</h2><pre>{}</pre>",
        link(&format!("/{name}"), &name),
        escape(commit.message.lines().next().unwrap_or_default()),
        escape(&commit.author_raw()),
        escape(&commit.date),
        escape(&commit.message),
        escape(&String::from_utf8_lossy(&text)),
    );
    Ok(Some((format!("{name}@{short}"), body)))
}
