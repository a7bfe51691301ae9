//! What the forms offer and start with (sentry.md §7.4, §7.5, §15.7).

use serde_json::{Value, json};

use super::backend::{FieldKind, FormField};
use super::store;
use crate::app::App;
use crate::error::AppResult;
use crate::features::accounts::{Org, OrgId, Project};
use crate::features::groups::{self, Group};
use crate::features::links::{self, LinkId, RepoStatus};
use crate::kit::db::Conn;
use crate::sentry::text;

/// Longest title that is proposed, in characters.
const MAX_TITLE: usize = 255;
/// Longest text form of an event, in bytes.
const MAX_EVENT_TEXT: usize = 30_000;

/// Title and description that a new ticket starts with.
#[derive(Debug, Clone)]
pub struct DefaultText {
    /// One line.
    pub title: String,
    /// Link to the group, then the event as text between fences.
    pub description: String,
}

/// The default text for a group, from its latest event.
///
/// # Errors
/// When a query fails.
pub fn default_text(
    app: &App,
    conn: &mut Conn,
    org: &Org,
    group: &Group,
    project: &Project,
) -> AppResult<DefaultText> {
    let url = format!(
        "{}?referrer=bitbucket_integration",
        super::permalink(app, &org.slug, group.id)
    );
    let mut description = format!("Sentry Issue: [{}]({url})", group.short_id(project));
    if let Some(stored) = groups::latest_event(conn, org.id, group.id)? {
        let body = text::event_text(&stored.event()?, MAX_EVENT_TEXT);
        if !body.trim().is_empty() {
            description.push_str("\n\n");
            description.push_str(&text::fenced(&body));
        }
    }
    Ok(DefaultText {
        title: text::cut_chars(&text::one_line(&group.title), MAX_TITLE).into_owned(),
        description,
    })
}

/// Repositories to choose from, by name, and the one to start with: the last used, else the first.
///
/// # Errors
/// When a query fails.
pub fn repo_choices(
    conn: &mut Conn,
    org: OrgId,
    link: LinkId,
    project: &Project,
) -> AppResult<(Vec<String>, String)> {
    let mut names: Vec<_> = links::repos_of_link(conn, org, link)?
        .into_iter()
        // One whose tracker is off is not proposed; typing its name still asks Bitbucket, which may know better.
        .filter(|repo| repo.status == RepoStatus::Active && repo.has_tracker != Some(false))
        .map(|repo| repo.name)
        .collect();
    names.sort();
    let remembered = store::default_of(conn, org, link, project.id, "repo")?;
    if let Some(remembered) = &remembered
        && !names.contains(remembered)
    {
        names.insert(0, remembered.clone());
    }
    let default = remembered
        .or_else(|| names.first().cloned())
        .unwrap_or_default();
    Ok((names, default))
}

/// The two field lists of `/api/0`.
#[derive(Debug, Clone)]
pub struct Fields {
    /// Where the selects ask for more choices.
    pub search_url: String,
    /// Repositories to choose from.
    pub repos: Vec<String>,
    /// The one to start with.
    pub repo: String,
    /// Title and description to start with.
    pub text: DefaultText,
    /// The tracker's form.
    pub form: &'static [FormField],
}

impl DefaultText {
    /// What a field of the form starts with.
    pub(super) fn of<'a>(&'a self, field: &FormField) -> &'a str {
        match field.name {
            "title" => &self.title,
            "description" => &self.description,
            _ => field.default,
        }
    }
}

impl Fields {
    fn repo_field(&self) -> Value {
        json!({
            "name": "repo", "required": true, "updatesForm": true, "type": "select", "url": self.search_url,
            "choices": self.repos.iter().map(|name| [name, name]).collect::<Vec<_>>(),
            "default": self.repo, "label": "Bitbucket Repository",
        })
    }

    /// `createIssueConfig`.
    #[must_use]
    pub fn create(&self) -> Value {
        let own = self.form.iter().map(|field| {
            let (name, label, default) = (field.name, field.label, self.text.of(field));
            match field.kind {
                FieldKind::Line(_) => {
                    json!({ "name": name, "label": label, "type": "string", "required": true, "default": default })
                }
                FieldKind::Text(_) => json!({
                    "name": name, "label": label, "type": "textarea", "autosize": true, "maxRows": 10,
                    "default": default,
                }),
                FieldKind::Choice(choices) => {
                    json!({ "name": name, "label": label, "type": "select", "default": default, "choices": choices })
                }
            }
        });
        std::iter::once(self.repo_field()).chain(own).collect()
    }

    /// `linkIssueConfig`.
    #[must_use]
    pub fn link(&self) -> Value {
        json!([
            self.repo_field(),
            { "name": "externalIssue", "label": "Issue", "type": "select", "required": true, "default": "",
              "url": self.search_url },
            { "name": "comment", "label": "Comment", "type": "textarea", "required": false, "default": "",
              "help": "Leave blank if you don't want to add a comment to the Bitbucket issue." },
        ])
    }
}
