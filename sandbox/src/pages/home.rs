use crate::core::Core;
use crate::deliveries::DeliveryStatus;
use crate::model::{State, Workspace};

use super::html::{badge, code, escape, link, table};

/// Title and body.
pub(super) type Page = (String, String);

/// How many rows the logs show.
const ROWS: usize = 20;
/// How many repositories a page shows.
const REPOSITORIES: usize = 200;

pub(super) fn index(core: &Core) -> Page {
    let state = core.store.read(|state| {
        format!(
            "<h1>What is here</h1><h2>Workspaces</h2>{}<h2>Repositories</h2>{}<h2>Installed apps</h2>{}<h2>Hooks</h2>{}",
            workspaces(state),
            repositories(core, state, None),
            installs(state),
            hooks(state),
        )
    });
    let body = format!(
        "{state}<h2>Deliveries</h2>{}<h2>Broken rules</h2>{}",
        deliveries(core),
        violations(core)
    );
    ("Overview".to_owned(), body)
}

pub(super) fn workspace(core: &Core, name: &str) -> Option<Page> {
    core.store.read(|state| {
        let workspace = state.workspace(name)?;
        let body = format!(
            "<h1>{}</h1><p class=\"soft\">{}</p><h2>Repositories</h2>{}",
            escape(&workspace.name),
            code(&workspace.uuid),
            repositories(core, state, Some(workspace))
        );
        Some((workspace.name.clone(), body))
    })
}

fn workspaces(state: &State) -> String {
    let rows: Vec<_> = state
        .workspaces
        .iter()
        .map(|w| {
            let count = state
                .repositories
                .iter()
                .filter(|r| r.workspace == w.uuid)
                .count();
            vec![
                link(&format!("/{}/", w.slug), &w.name),
                code(&w.uuid),
                count.to_string(),
            ]
        })
        .collect();
    table(
        &["Name", "UUID", "Repositories"],
        &rows,
        "No workspace yet.",
    )
}

fn repositories(core: &Core, state: &State, only: Option<&Workspace>) -> String {
    let rows: Vec<_> = state
        .repositories
        .iter()
        .filter(|r| only.is_none_or(|w| w.uuid == r.workspace))
        // Thousands of names are of no use to a reader.
        .take(REPOSITORIES)
        .map(|r| {
            let name = state.full_name(r);
            let open = r
                .issues
                .iter()
                .filter(|i| matches!(i.state.as_str(), "new" | "open"))
                .count();
            vec![
                link(&format!("/{name}"), &name),
                code(&core.web(&format!("/{name}.git"))),
                link(
                    &format!("/{name}/issues"),
                    &format!("{open} open, {} in all", r.issues.len()),
                ),
            ]
        })
        .collect();
    table(
        &["Repository", "Clone URL", "Issues"],
        &rows,
        "No repository yet.",
    )
}

fn installs(state: &State) -> String {
    let rows: Vec<_> = state
        .installs
        .iter()
        .map(|i| {
            let workspace = state.workspace(&i.workspace).map_or("", |w| &w.slug);
            let action = if i.live {
                format!(
                    r#"<form class="inline" method="post" action="/site/addons/uninstall"><input type="hidden" name="client_key" value="{}"><button type="submit">Uninstall</button></form>"#,
                    escape(&i.client_key)
                )
            } else {
                String::new()
            };
            let live = if i.live { badge("good", "installed") } else { badge("plain", "uninstalled") };
            vec![
                escape(&i.app_key),
                code(&i.client_key),
                escape(workspace),
                escape(&i.scopes.join(", ")),
                live,
                action,
            ]
        })
        .collect();
    let heads = ["App", "Client key", "Workspace", "Scopes", "State", ""];
    table(
        &heads,
        &rows,
        "No app is installed. An app's own page offers the install.",
    )
}

fn hooks(state: &State) -> String {
    let rows: Vec<_> = state
        .hooks
        .iter()
        .map(|h| {
            let secret = if h.secret.is_some() {
                badge("good", "signed")
            } else {
                badge("plain", "no secret")
            };
            vec![
                code(&h.url),
                escape(&h.events.join(", ")),
                secret,
                escape(&h.description),
            ]
        })
        .collect();
    table(
        &["URL", "Events", "Secret", "Description"],
        &rows,
        "No hook yet.",
    )
}

fn deliveries(core: &Core) -> String {
    let rows: Vec<_> = core
        .deliveries
        .list()
        .iter()
        .rev()
        .take(ROWS)
        .map(|d| {
            let (kind, word) = match d.status {
                DeliveryStatus::Delivered => ("good", "delivered"),
                DeliveryStatus::Failed => ("bad", "failed"),
                DeliveryStatus::TooLarge => ("bad", "too large"),
                DeliveryStatus::Dropped => ("bad", "dropped"),
                DeliveryStatus::Held => ("plain", "held"),
                DeliveryStatus::Sending => ("plain", "sending"),
            };
            let tries: Vec<String> = d
                .attempts
                .iter()
                .map(|a| {
                    a.status
                        .map_or_else(|| a.error.clone().unwrap_or_default(), |s| s.to_string())
                })
                .collect();
            vec![
                d.id.to_string(),
                escape(&d.event),
                badge(kind, word),
                escape(&tries.join(", ")),
                code(&d.url),
            ]
        })
        .collect();
    table(
        &["#", "Event", "State", "Answers", "URL"],
        &rows,
        "Nothing was delivered yet.",
    )
}

fn violations(core: &Core) -> String {
    let rows: Vec<_> = core
        .journal
        .violations()
        .iter()
        .rev()
        .take(ROWS)
        .map(|v| {
            let rule = serde_json::to_value(v.rule).ok();
            let rule = rule.as_ref().and_then(|r| r.as_str()).unwrap_or_default();
            vec![
                badge("bad", rule),
                code(&format!("{} {}", v.method, v.path)),
                escape(&v.detail),
            ]
        })
        .collect();
    table(
        &["Rule", "Call", "What was wrong"],
        &rows,
        "No caller broke a rule.",
    )
}
