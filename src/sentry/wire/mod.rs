//! The shapes of Sentry's `/api/0` answers, so that existing clients and UIs work unchanged
//! (sentry.md §8.2, §8.4, §10.4, §16).
//!
//! Rules of the wire: ids of our rows are strings ([`StringId`]) except where a shape says otherwise,
//! counts of events are strings too, times are RFC 3339 in UTC with microseconds ([`Time`]), `null` is
//! written where Sentry writes it, and an error is an object with the one key `detail` ([`Detail`]).

mod event;
mod group;
mod org;
mod release;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

pub use event::{
    ContextLine, Entry, EventBody, EventIdentity, ExceptionData, ExceptionValue, FrameData,
    MessageData, StacktraceData, TagData, ThreadData, ThreadStack, Values, context, entries,
};
pub use group::{
    Activity, Assignee, Group, GroupDetail, GroupProject, Note, NoteData, ShortIdLookup, Stats,
};
pub use org::{
    AuthInfo, AuthScopes, AuthUser, Integration, IntegrationProvider, NamedId, OrgIntegration,
    Organization, Project, Repository,
};
pub use release::{Commit, CommitFile, CommitRef, Deploy, Release, ReleaseProject, VersionInfo};

/// An error answer: the one shape that sentry-cli shows to people (sentry.md §10.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// What is wrong, in a sentence.
    pub detail: String,
}

impl Detail {
    /// An error answer with this text.
    pub fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
        }
    }
}

/// A row id that is a string on the wire (sentry.md §10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StringId(pub i64);

impl Serialize for StringId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A number that is a string on the wire, such as a group's `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StringCount(pub u64);

impl Serialize for StringCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time as `2026-11-21T23:15:08.584797Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub DateTime<Utc>);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

/// An actor: a user as far as answers show one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// Row id.
    pub id: StringId,
    /// Name for people, else the e-mail address.
    pub name: String,
    /// Login name; the e-mail address with us.
    pub username: String,
    /// E-mail address.
    pub email: String,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
