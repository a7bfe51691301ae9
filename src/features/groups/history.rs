//! What happened to a group: its activities, append-only but for notes.

use diesel::QueryResult;
use serde_json::Value;

use super::store::activity;
use super::{ActivityId, Actor, GroupId};
use crate::features::accounts::OrgId;
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::kit::ids::text_enum;

text_enum! {
    /// What happened; Sentry's words (sentry.md §16).
    ActivityKind {
        /// Somebody wrote something.
        Note = "note",
        /// Resolved by hand.
        SetResolved = "set_resolved",
        /// Resolved because a release holds the fix.
        SetResolvedInRelease = "set_resolved_in_release",
        /// Resolved because of a commit; data: `commit` and `repository`, perhaps `url`.
        SetResolvedInCommit = "set_resolved_in_commit",
        /// Opened again by hand.
        SetUnresolved = "set_unresolved",
        /// Ignored.
        SetIgnored = "set_ignored",
        /// Opened again by an event; data: `version`, `event_id`.
        SetRegression = "set_regression",
        /// Given to somebody; data: `assignee`, `assigneeEmail`.
        Assigned = "assigned",
        /// Taken from somebody.
        Unassigned = "unassigned",
        /// A ticket was created or linked; data: `provider`, `location`, `label`, `title`, `new`.
        CreateIssue = "create_issue",
        /// A ticket was unlinked; data as for `create_issue`.
        UnlinkIssue = "unlink_issue",
        /// A commit names the group; data: `commit` and `repository`, perhaps `url`.
        ReferencedInCommit = "referenced_in_commit",
    }
}

/// Something that happened, to be written down.
#[derive(Debug, Clone)]
pub struct Activity<'a> {
    kind: ActivityKind,
    actor: &'a Actor,
    data: Value,
    ident: Option<String>,
}

impl<'a> Activity<'a> {
    /// What, who, and the details as a JSON object.
    #[must_use]
    pub fn new(kind: ActivityKind, actor: &'a Actor, data: Value) -> Self {
        Self {
            kind,
            actor,
            data,
            ident: None,
        }
    }

    /// Written once per group and kind, however often it is told; `ident` is for example a commit's hash.
    #[must_use]
    pub fn once(mut self, ident: impl Into<String>) -> Self {
        self.ident = Some(ident.into());
        self
    }
}

/// Writes an activity down. `None` when [`Activity::once`] found it written already.
///
/// # Errors
/// When the row cannot be inserted, for example because the group is gone.
pub fn log(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    what: &Activity<'_>,
    now: Micros,
) -> QueryResult<Option<ActivityId>> {
    activity::insert(
        tx,
        org,
        &activity::NewActivity {
            group,
            kind: what.kind,
            ident: what.ident.as_deref(),
            user: what.actor.user,
            actor: &what.actor.name,
            data: &what.data.to_string(),
        },
        now,
    )
}
