//! Tracked errors, which Sentry's API calls issues, and the events they are made of.
//!
//! An event is read, named and grouped before any transaction ([`NewEvent::read`]). [`record`] then puts it into
//! the group of its hash inside the write: a known group costs no query of its own, because all events of one
//! commit are inserted and counted together just before COMMIT. A group is made by the first event of its hash, and
//! opened again by an event that comes after it was resolved (a regression). Everything that happens to a group is
//! an activity; what others may have to act on is also an event of `kit::jobs` ([`GroupCreated`] and its
//! neighbours), written in the same transaction.
//!
//! Ids are looked up within an organization: another tenant's group does not exist.

mod access;
pub mod api;
mod event;
mod history;
pub mod jobs;
mod notes;
pub mod pages;
pub mod projects;
mod query;
mod record;
mod status;
mod store;
mod tags;
mod view;
mod wire;

use serde_json::{Map, Value};

use crate::features::accounts::{Caller, OrgId, Project, ProjectId, UserId};
use crate::kit::ids::{row_id, text_enum};
use crate::kit::jobs::Event;
use crate::sentry::shortid::ShortId;

pub use access::GroupAccess;
pub use event::{NewEvent, StoredEvent};
pub use history::{Activity, ActivityKind, log};
pub use notes::{add_note, delete_note, edit_note};
pub use query::{BadQuery, Search, Sort};
pub use record::{Known, Recorded, record};
pub use status::{Resolution, assign, delete, ignore, mark_unfixed, resolve, unresolve};
pub use store::{
    Group, Pick, event_of, find, find_by_name, find_by_short_id, find_in, latest_event,
};
pub use view::{DetailView, EventView, TicketBadge, detail_view};

row_id! {
    /// Row id of a group.
    GroupId
}
row_id! {
    /// Row id of an event; within a group it grows with the time of arrival.
    EventRow
}
row_id! {
    /// Row id of an activity.
    ActivityId
}

text_enum! {
    /// Where a group stands.
    GroupStatus {
        /// Somebody should look at it.
        Unresolved = "unresolved",
        /// Fixed, as far as we know.
        Resolved = "resolved",
        /// Nobody wants to hear of it.
        Ignored = "ignored",
        /// Gone for everybody; a job removes its rows.
        Deleting = "deleting",
    }
}

text_enum! {
    /// What a group is counted by.
    Facet {
        /// Release of the program.
        Release = "release",
        /// Environment it ran in.
        Environment = "environment",
    }
}

impl Group {
    /// The id that people use, such as `SHOP-1F`; `project` is the group's own.
    #[must_use]
    pub fn short_id(&self, project: &Project) -> String {
        ShortId {
            slug: project.slug.clone(),
            number: self.short_no,
        }
        .to_string()
    }

    /// The path of a group's page, as tickets and API answers link to it; below the public URL.
    #[must_use]
    pub fn permalink_path(org_slug: &str, id: GroupId) -> String {
        format!("/organizations/{org_slug}/issues/{id}/")
    }

    /// Why the status is what it is (Sentry's `statusDetails`).
    #[must_use]
    pub fn status_details(&self) -> Map<String, Value> {
        serde_json::from_str(&self.status_details).unwrap_or_default()
    }
}

/// Who changes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The person, if it is one.
    pub user: Option<UserId>,
    /// Readable name, of a person, a token or a part of the system.
    pub name: String,
}

impl Actor {
    /// The sender of a request.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        Self {
            user: caller.user_id(),
            name: caller.name(),
        }
    }

    /// A part of the system, such as `Bitbucket`.
    #[must_use]
    pub fn system(name: impl Into<String>) -> Self {
        Self {
            user: None,
            name: name.into(),
        }
    }
}

macro_rules! group_events {
    ($($(#[$meta:meta])* $name:ident = $text:literal { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* })+) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $name {
                /// Its organization.
                pub org: OrgId,
                /// The group.
                pub group: GroupId,
                $($(#[$field_meta])* pub $field: $ty,)*
            }

            impl Event for $name {
                const NAME: &'static str = $text;
            }
        )+
    };
}

group_events! {
    /// The first event of its kind has come.
    GroupCreated = "group_created" {
        /// The group's project.
        project: ProjectId,
    }
    /// An event has come after the group was resolved; it is unresolved again.
    GroupRegressed = "group_regressed" {
        /// Release of that event.
        release: Option<String>,
    }
    /// The group is resolved now and was not before.
    GroupResolved = "group_resolved" {
        /// Why.
        resolution: Resolution,
    }
    /// Somebody opened the group again.
    GroupUnresolved = "group_unresolved" {
        /// Where it stood: `Resolved` or `Ignored`.
        from: GroupStatus,
    }
    /// Somebody wrote a note.
    NoteAdded = "note_added" {
        /// The activity that is the note.
        note: ActivityId,
    }
    /// Somebody changed a note.
    NoteEdited = "note_edited" {
        /// The activity that is the note.
        note: ActivityId,
    }
    /// Somebody took a note back.
    NoteDeleted = "note_deleted" {
        /// The activity that was the note.
        note: ActivityId,
    }
}
