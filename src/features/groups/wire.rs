//! Rows in the shapes of Sentry's API (sentry.md §16).

use std::collections::{HashMap, HashSet};

use chrono::DateTime;
use serde_json::{Map, Value};

use super::store::activity::ActivityRow;
use super::store::{self, Group};
use super::{GroupId, GroupStatus};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, Org, Project, ProjectId, User, UserId};
use crate::kit::clock::Micros;
use crate::kit::db::Conn;
use crate::sentry::title::Metadata;
use crate::sentry::wire::{
    self, Actor, Assignee, GroupProject, Release, Stats, StringCount, StringId, Time, VersionInfo,
};

const HOUR: i64 = 3_600;

/// A time of the wire.
pub(super) fn time(at: Micros) -> Time {
    Time(DateTime::from_timestamp_micros(at.0).unwrap_or_default())
}

/// A count of the wire.
fn count(n: impl TryInto<u64>) -> u64 {
    n.try_into().unwrap_or_default()
}

/// A user of the wire.
fn actor(user: &User) -> Actor {
    let name = if user.name.is_empty() {
        &user.email
    } else {
        &user.name
    };
    Actor {
        id: StringId(user.id.0),
        name: name.clone(),
        username: user.email.clone(),
        email: user.email.clone(),
    }
}

/// What rows of one answer refer to.
pub(super) struct Around {
    org: Org,
    base: String,
    projects: HashMap<ProjectId, Project>,
    users: HashMap<UserId, User>,
    hours: HashMap<(GroupId, i64), i64>,
    /// The present hour, counted from 1970.
    hour: i64,
}

impl Around {
    /// Reads what these groups refer to, and the users of `activity`.
    pub(super) fn load(
        conn: &mut Conn,
        app: &App,
        org: &Org,
        groups: &[Group],
        activity: &[ActivityRow],
    ) -> AppResult<Self> {
        let hour = app.clock.now().secs().div_euclid(HOUR);
        let ids: Vec<_> = groups.iter().map(|group| group.id).collect();
        let projects: HashSet<_> = groups.iter().map(|group| group.project_id).collect();
        let projects: Vec<_> = projects.into_iter().collect();
        let users: HashSet<_> = groups
            .iter()
            .filter_map(|g| g.assignee_id)
            .chain(activity.iter().filter_map(|a| a.user_id))
            .collect();
        let users: Vec<_> = users.into_iter().collect();
        let hours = store::hours(conn, &ids, hour - 23)?;
        Ok(Self {
            org: org.clone(),
            base: app.config.absolute(""),
            projects: accounts::projects_by_ids(conn, org.id, &projects)?
                .into_iter()
                .map(|p| (p.id, p))
                .collect(),
            users: accounts::users_by_ids(conn, &users)?
                .into_iter()
                .map(|user| (user.id, user))
                .collect(),
            hours: hours
                .into_iter()
                .map(|(group, hour, events)| ((group, hour), events))
                .collect(),
            hour,
        })
    }

    /// Events per hour of the last 24, oldest first.
    pub(super) fn day(&self, group: GroupId) -> Vec<i64> {
        let hours = self.hour - 23..=self.hour;
        hours
            .map(|hour| self.hours.get(&(group, hour)).copied().unwrap_or_default())
            .collect()
    }

    /// The project of a group.
    pub(super) fn project(&self, group: &Group) -> AppResult<&Project> {
        let gone = || AppError::internal(anyhow::anyhow!("group {} has no project", group.id));
        self.projects.get(&group.project_id).ok_or_else(gone)
    }

    fn user(&self, id: Option<UserId>) -> Option<Actor> {
        self.users.get(&id?).map(actor)
    }

    /// A group in a list.
    pub(super) fn group(&self, group: &Group) -> AppResult<wire::Group> {
        let project = self.project(group)?;
        let stats = (self.hour - 23..)
            .map(|hour| hour * HOUR)
            .zip(self.day(group.id).into_iter().map(count));
        let assignee = group
            .assignee_id
            .and_then(|id| self.users.get(&id))
            .map(actor);
        Ok(wire::Group {
            id: StringId(group.id.0),
            share_id: None,
            short_id: group.short_id(project),
            title: group.title.clone(),
            culprit: group.culprit.clone(),
            permalink: format!(
                "{}{}",
                self.base,
                Group::permalink_path(&self.org.slug, group.id)
            ),
            logger: group.logger.clone(),
            level: group.level.clone(),
            status: group.status.as_str().to_owned(),
            substatus: group.substatus.clone(),
            status_details: group.status_details(),
            is_public: false,
            platform: group.platform.clone(),
            project: GroupProject {
                id: StringId(project.id.0),
                name: project.name.clone(),
                slug: project.slug.clone(),
                platform: Some(project.platform.clone()),
            },
            kind: group.kind.clone(),
            metadata: metadata(&group.metadata),
            num_comments: count(group.num_comments),
            assigned_to: assignee.map(|user| Assignee {
                kind: "user",
                id: user.id,
                name: user.name,
                email: user.email,
            }),
            is_bookmarked: false,
            is_subscribed: false,
            has_seen: true,
            annotations: Vec::new(),
            count: StringCount(count(group.times_seen)),
            user_count: count(group.user_count),
            first_seen: time(group.first_seen),
            last_seen: time(group.last_seen),
            stats: Stats {
                day: stats.collect(),
            },
        })
    }

    /// A group alone.
    pub(super) fn detail(
        &self,
        group: &Group,
        activity: &[ActivityRow],
    ) -> AppResult<wire::GroupDetail> {
        let project = self.project(group)?;
        let release = |version: &Option<String>, at| {
            version
                .as_ref()
                .map(|version| bare_release(version, at, project))
        };
        let mut participants: Vec<_> = activity.iter().filter_map(|row| row.user_id).collect();
        participants.sort_unstable();
        participants.dedup();
        Ok(wire::GroupDetail {
            group: self.group(group)?,
            activity: activity.iter().map(|row| self.activity(row)).collect(),
            seen_by: Vec::new(),
            participants: participants
                .into_iter()
                .filter_map(|id| self.user(Some(id)))
                .collect(),
            first_release: release(&group.first_release, group.first_seen),
            last_release: release(&group.last_release, group.last_seen),
            tags: Vec::new(),
        })
    }

    fn activity(&self, row: &ActivityRow) -> wire::Activity {
        wire::Activity {
            id: StringId(row.id.0),
            kind: row.kind.as_str().to_owned(),
            user: self.user(row.user_id),
            data: serde_json::from_str(&row.data).unwrap_or_default(),
            date_created: time(row.created_at),
        }
    }

    /// A note.
    pub(super) fn note(&self, row: &ActivityRow) -> wire::Note {
        let data: Value = serde_json::from_str(&row.data).unwrap_or_default();
        let text = data
            .get("text")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        wire::Note::new(row.id.0, self.user(row.user_id), text, time(row.created_at))
    }
}

/// The stored parts of a title.
fn metadata(json: &str) -> Metadata {
    let mut parts: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let mut take = |key: &str| match parts.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    Metadata {
        kind: take("type"),
        value: take("value"),
        filename: take("filename"),
        function: take("function"),
        title: take("title"),
    }
}

/// A release as far as events tell of it.
fn bare_release(version: &str, at: Micros, project: &Project) -> Release {
    let (package, short) = match version.split_once('@') {
        Some((package, rest)) => (Some(package.to_owned()), rest),
        None => (None, version),
    };
    let mut raw = Map::new();
    raw.insert("raw".to_owned(), Value::String(version.to_owned()));
    Release {
        version: version.to_owned(),
        short_version: short.to_owned(),
        version_info: VersionInfo {
            package,
            version: raw,
            description: short.to_owned(),
            build_hash: None,
        },
        status: "open".to_owned(),
        reference: None,
        url: None,
        date_created: time(at),
        date_released: None,
        first_event: None,
        last_event: None,
        new_groups: 0,
        commit_count: 0,
        deploy_count: 0,
        last_deploy: None,
        last_commit: None,
        authors: Vec::new(),
        owner: None,
        data: Map::new(),
        projects: vec![wire::ReleaseProject {
            id: project.id.0,
            slug: project.slug.clone(),
            name: project.name.clone(),
            platform: Some(project.platform.clone()),
            platforms: Vec::new(),
            new_groups: 0,
        }],
    }
}

/// The words of an update (sentry.md §10.5, §16): what `status` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewStatus {
    Resolved,
    ResolvedInNextRelease,
    Unresolved,
    Ignored,
}

impl NewStatus {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "resolved" => Some(Self::Resolved),
            "resolvedInNextRelease" => Some(Self::ResolvedInNextRelease),
            "unresolved" => Some(Self::Unresolved),
            "ignored" | "muted" | "archived" => Some(Self::Ignored),
            _ => None,
        }
    }

    /// The status it leads to.
    pub(super) fn status(self) -> GroupStatus {
        match self {
            Self::Resolved | Self::ResolvedInNextRelease => GroupStatus::Resolved,
            Self::Unresolved => GroupStatus::Unresolved,
            Self::Ignored => GroupStatus::Ignored,
        }
    }
}
