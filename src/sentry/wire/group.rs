//! Groups (Sentry's API calls them issues), their activity and notes (sentry.md §16).

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Actor, StringCount, StringId, TagData, Time};
use crate::sentry::title::Metadata;

/// The project a group belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupProject {
    /// Row id.
    pub id: StringId,
    /// Name for people.
    pub name: String,
    /// Name in URLs.
    pub slug: String,
    /// Platform, if one was chosen.
    pub platform: Option<String>,
}

/// Events per hour: `[[unix seconds, count], …]`, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// The last 24 hours.
    #[serde(rename = "24h")]
    pub day: Vec<(i64, u64)>,
}

/// A group in a list. sentry-cli needs id, shortId, title, lastSeen, status and level (§10.4).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Row id.
    pub id: StringId,
    /// Always `null`: groups are not shared.
    pub share_id: Option<String>,
    /// Qualified short id, such as `SHOP-1F`.
    pub short_id: String,
    /// One line.
    pub title: String,
    /// Where it happens; may be empty.
    pub culprit: String,
    /// Page of the group.
    pub permalink: String,
    /// Logger of its events.
    pub logger: Option<String>,
    /// Level of its last event.
    pub level: String,
    /// `resolved`, `unresolved` or `ignored`.
    pub status: String,
    /// `ongoing`, `new`, `regressed`, …; `null` when resolved.
    pub substatus: Option<String>,
    /// Why it is resolved or ignored: `inRelease`, `inCommit`, ….
    pub status_details: Map<String, Value>,
    /// Always false.
    pub is_public: bool,
    /// Platform of its events.
    pub platform: String,
    /// Where it belongs.
    pub project: GroupProject,
    /// `error` or `default`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Parts of the title.
    pub metadata: Metadata,
    /// Notes on it.
    pub num_comments: u64,
    /// Who works on it.
    pub assigned_to: Option<Assignee>,
    /// Whether the caller marked it.
    pub is_bookmarked: bool,
    /// Whether the caller is told about it.
    pub is_subscribed: bool,
    /// Whether the caller has opened it.
    pub has_seen: bool,
    /// Links to tickets, as Sentry shows them under the title.
    pub annotations: Vec<Value>,
    /// Events.
    pub count: StringCount,
    /// Users it happened to.
    pub user_count: u64,
    /// First event.
    pub first_seen: Time,
    /// Last event.
    pub last_seen: Time,
    /// Events per hour.
    pub stats: Stats,
}

/// Who a group is assigned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assignee {
    /// Always `user`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Row id.
    pub id: StringId,
    /// Name for people.
    pub name: String,
    /// E-mail address.
    pub email: String,
}

/// A group alone: the list shape and more.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupDetail {
    /// The list shape.
    #[serde(flatten)]
    pub group: Group,
    /// What happened to it, newest first.
    pub activity: Vec<Activity>,
    /// Who has seen it.
    pub seen_by: Vec<Actor>,
    /// Who takes part.
    pub participants: Vec<Actor>,
    /// Release of the first event.
    pub first_release: Option<super::Release>,
    /// Release of the last event.
    pub last_release: Option<super::Release>,
    /// Tags and how many values each has.
    pub tags: Vec<TagData>,
}

/// One line of a group's history: `note`, `set_resolved`, `set_regression`, `create_issue`, ….
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Row id.
    pub id: StringId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who did it; `null` for the system.
    pub user: Option<Actor>,
    /// Details, by kind.
    pub data: Value,
    /// When.
    pub date_created: Time,
}

/// The text of a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoteData {
    /// Markdown.
    pub text: String,
}

/// A note on a group, as its endpoints answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// Row id.
    pub id: StringId,
    /// Always `note`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Who wrote it.
    pub user: Option<Actor>,
    /// What.
    pub data: NoteData,
    /// When.
    pub date_created: Time,
}

impl Note {
    /// A note.
    pub fn new(id: i64, user: Option<Actor>, text: String, date_created: Time) -> Self {
        Self {
            id: StringId(id),
            kind: "note",
            user,
            data: NoteData { text },
            date_created,
        }
    }
}

/// Answer of the short-id look-up.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShortIdLookup {
    /// Slug of the organization.
    pub organization_slug: String,
    /// Slug of the project.
    pub project_slug: String,
    /// Row id of the group.
    pub group_id: StringId,
    /// The group.
    pub group: Group,
    /// The id looked up.
    pub short_id: String,
}
