//! Activities in words.

use serde::Serialize;
use serde_json::Value;

use crate::features::groups::store::activity::ActivityRow;
use crate::features::groups::{ActivityKind, Group};
use crate::kit::clock::Micros;

/// Digits of a commit's hash that people see.
const SHORT_HASH: usize = 7;

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TimelineEntry {
    kind: &'static str,
    actor: Option<String>,
    text: String,
    link: Option<Link>,
    body: Option<String>,
    at: Micros,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Link {
    url: String,
    label: String,
}

/// The timeline of a group, newest first; it ends with the first event.
pub(super) fn of(group: &Group, rows: &[ActivityRow]) -> Vec<TimelineEntry> {
    let mut entries: Vec<_> = rows.iter().map(entry).collect();
    let text = match &group.first_release {
        Some(release) => format!("First seen in {release}"),
        None => "First seen".to_owned(),
    };
    entries.push(TimelineEntry {
        kind: "first_seen",
        actor: None,
        text,
        link: None,
        body: None,
        at: group.first_seen,
    });
    entries
}

/// What an activity is about, as it was noted with it.
struct Noted(Value);

impl Noted {
    fn field(&self, key: &str) -> Option<&str> {
        let text = self.0.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    }

    /// The words and the commit: as a link, or in the text where there is no page of it.
    fn commit(&self, words: &str) -> Said {
        let hash = self.field("commit").unwrap_or_default();
        let label: String = hash.chars().take(SHORT_HASH).collect();
        match self.field("url") {
            Some(url) => {
                let url = url.to_owned();
                (words.to_owned(), Some(Link { url, label }))
            }
            None => (format!("{words} {label}"), None),
        }
    }

    fn ticket(&self, words: &str) -> Said {
        let label = self.field("label").or(self.field("title"));
        let link = self.field("location").map(|url| Link {
            url: url.to_owned(),
            label: label.unwrap_or("ticket").to_owned(),
        });
        (words.to_owned(), link)
    }

    /// The words and the release, or other words where none was noted.
    fn release(&self, words: &str, without: &str) -> Said {
        match self.field("version") {
            Some(version) => (format!("{words} {version}"), None),
            None => plain(without),
        }
    }
}

/// A text, and what stands behind it.
type Said = (String, Option<Link>);

fn plain(words: &str) -> Said {
    (words.to_owned(), None)
}

fn entry(row: &ActivityRow) -> TimelineEntry {
    let noted = Noted(serde_json::from_str(&row.data).unwrap_or_default());
    let is_new = noted.0.get("new") == Some(&Value::Bool(true));
    let (kind, (text, link)) = match row.kind {
        ActivityKind::Note => ("note", plain("wrote")),
        ActivityKind::SetResolved => ("resolved", plain("resolved this")),
        ActivityKind::SetResolvedInRelease => {
            let next = "resolved this in the next release";
            ("resolved", noted.release("resolved this in", next))
        }
        ActivityKind::SetResolvedInCommit => ("resolved", noted.commit("Resolved by commit")),
        ActivityKind::SetUnresolved => ("unresolved", plain("reopened this")),
        ActivityKind::SetIgnored => ("ignored", plain("ignored this")),
        ActivityKind::SetRegression => ("regression", noted.release("Came back in", "Came back")),
        ActivityKind::Assigned => {
            let whom = noted.field("assigneeEmail").unwrap_or("somebody");
            ("assigned", (format!("assigned this to {whom}"), None))
        }
        ActivityKind::Unassigned => ("unassigned", plain("took the assignee off")),
        ActivityKind::CreateIssue if is_new => ("ticket", noted.ticket("created the issue")),
        ActivityKind::CreateIssue => ("ticket", noted.ticket("linked the issue")),
        ActivityKind::UnlinkIssue => ("ticket", noted.ticket("unlinked the issue")),
        ActivityKind::ReferencedInCommit => ("commit", noted.commit("Mentioned in commit")),
    };
    // A sentence of its own names nobody in front of it.
    let is_sentence = text.starts_with(char::is_uppercase);
    let is_note = row.kind == ActivityKind::Note;
    TimelineEntry {
        kind,
        actor: (!row.actor.is_empty() && !is_sentence).then(|| row.actor.clone()),
        text,
        link,
        body: is_note.then(|| noted.field("text").unwrap_or_default().to_owned()),
        at: row.created_at,
    }
}

/// Why the group is resolved, in words; `None` when there is nothing to add.
pub(super) fn status_detail(group: &Group) -> Option<String> {
    let details = group.status_details();
    if let Some(commit) = details.get("inCommit") {
        let hash = commit
            .get("commit")
            .and_then(Value::as_str)
            .unwrap_or_default();
        return Some(format!(
            "Resolved by commit {}",
            hash.chars().take(SHORT_HASH).collect::<String>()
        ));
    }
    if let Some(version) = details.get("inRelease").and_then(Value::as_str) {
        return Some(format!("Resolved in {version}"));
    }
    details
        .contains_key("inNextRelease")
        .then(|| "Resolved in the next release".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::groups::ActivityId;

    fn shown(
        kind: ActivityKind,
        actor: &str,
        data: &str,
    ) -> (Option<String>, String, Option<String>) {
        let row = ActivityRow {
            id: ActivityId(1),
            kind,
            user_id: None,
            actor: actor.to_owned(),
            data: data.to_owned(),
            created_at: Micros(0),
        };
        let entry = entry(&row);
        (entry.actor, entry.text, entry.link.map(|link| link.label))
    }

    #[test]
    fn commits_and_tickets_are_links() {
        let data = r#"{"commit":"9d2f5e7a0b1c","repository":"acme/shop","url":"https://h/c"}"#;
        let entry = shown(ActivityKind::SetResolvedInCommit, "Ada", data);
        assert_eq!(
            entry,
            (None, "Resolved by commit".into(), Some("9d2f5e7".into()))
        );
        let entry = shown(
            ActivityKind::ReferencedInCommit,
            "",
            r#"{"commit":"9d2f5e7a"}"#,
        );
        assert_eq!(entry, (None, "Mentioned in commit 9d2f5e7".into(), None));
        let data = r#"{"location":"https://h/12","label":"acme/shop#12","new":true}"#;
        let entry = shown(ActivityKind::CreateIssue, "Ada", data);
        assert_eq!(
            entry,
            (
                Some("Ada".into()),
                "created the issue".into(),
                Some("acme/shop#12".into())
            )
        );
    }

    #[test]
    fn a_regression_names_its_release() {
        assert_eq!(
            shown(ActivityKind::SetRegression, "", r#"{"version":"2.0"}"#).1,
            "Came back in 2.0"
        );
        assert_eq!(
            shown(ActivityKind::SetRegression, "", r#"{"version":""}"#).1,
            "Came back"
        );
        assert_eq!(
            shown(ActivityKind::SetRegression, "", "broken").1,
            "Came back"
        );
    }
}
