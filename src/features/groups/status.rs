//! Changes of a group's status, of who works on it, and its end. Every change is one guarded update: what did not
//! change writes no activity and tells nobody.

use diesel::QueryResult;
use serde_json::{Value, json};

use super::jobs::EraseGroup;
use super::store::{self, Guarded, hot};
use super::{
    Activity, ActivityKind, Actor, GroupId, GroupResolved, GroupStatus, GroupUnresolved, log,
};
use crate::features::accounts::{OrgId, User};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::kit::jobs::{emit, enqueue};

/// Why a group counts as resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Somebody said so.
    ByHand,
    /// Somebody said that the next release will have the fix.
    InNextRelease,
    /// A release holds the fix.
    InRelease {
        /// The release.
        version: String,
    },
    /// A commit fixes it.
    InCommit {
        /// Full hash.
        commit: String,
        /// Name of the repository, `workspace/repository`.
        repository: String,
        /// Page of the commit.
        url: Option<String>,
    },
}

impl Resolution {
    fn kind(&self) -> ActivityKind {
        match self {
            Self::ByHand => ActivityKind::SetResolved,
            Self::InNextRelease | Self::InRelease { .. } => ActivityKind::SetResolvedInRelease,
            Self::InCommit { .. } => ActivityKind::SetResolvedInCommit,
        }
    }

    /// Data of the activity.
    fn data(&self) -> Value {
        match self {
            Self::ByHand => json!({}),
            Self::InNextRelease => json!({ "version": "" }),
            Self::InRelease { version } => json!({ "version": version }),
            Self::InCommit {
                commit,
                repository,
                url,
            } => {
                json!({ "commit": commit, "repository": repository, "url": url })
            }
        }
    }

    /// Sentry's `statusDetails`.
    pub(super) fn details(&self) -> Value {
        match self {
            Self::ByHand => json!({}),
            Self::InNextRelease => json!({ "inNextRelease": true }),
            Self::InRelease { version } => json!({ "inRelease": version }),
            Self::InCommit { .. } => json!({ "inCommit": self.data() }),
        }
    }
}

/// Resolves a group. True when it was not resolved before.
///
/// # Errors
/// When a statement fails.
pub fn resolve(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    actor: &Actor,
    resolution: &Resolution,
    now: Micros,
) -> QueryResult<bool> {
    let to = Guarded {
        status: GroupStatus::Resolved,
        substatus: None,
        details: &resolution.details().to_string(),
    };
    let open = [GroupStatus::Unresolved, GroupStatus::Ignored];
    if !store::change_status(tx, org, group, &open, &to, now)? {
        return Ok(false);
    }
    log(
        tx,
        org,
        group,
        &Activity::new(resolution.kind(), actor, resolution.data()),
        now,
    )?;
    emit(
        tx,
        &GroupResolved {
            org,
            group,
            resolution: resolution.clone(),
        },
        now,
    )?;
    Ok(true)
}

/// Opens a group again. True when it was resolved or ignored before.
///
/// # Errors
/// When a statement fails.
pub fn unresolve(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    actor: &Actor,
    now: Micros,
) -> QueryResult<bool> {
    let to = Guarded {
        status: GroupStatus::Unresolved,
        substatus: Some("ongoing"),
        details: "{}",
    };
    for from in [GroupStatus::Resolved, GroupStatus::Ignored] {
        if store::change_status(tx, org, group, &[from], &to, now)? {
            log(
                tx,
                org,
                group,
                &Activity::new(ActivityKind::SetUnresolved, actor, json!({})),
                now,
            )?;
            emit(tx, &GroupUnresolved { org, group, from }, now)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ignores a group: its events are counted and open nothing. True when it was not ignored before.
///
/// # Errors
/// When a statement fails.
pub fn ignore(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    actor: &Actor,
    now: Micros,
) -> QueryResult<bool> {
    let to = Guarded {
        status: GroupStatus::Ignored,
        substatus: Some("archived_forever"),
        details: "{}",
    };
    let from = [GroupStatus::Unresolved, GroupStatus::Resolved];
    if !store::change_status(tx, org, group, &from, &to, now)? {
        return Ok(false);
    }
    log(
        tx,
        org,
        group,
        &Activity::new(ActivityKind::SetIgnored, actor, json!({})),
        now,
    )?;
    Ok(true)
}

/// Gives a group to a member of the organization, or to nobody. True when that is a change.
///
/// # Errors
/// When a statement fails.
pub fn assign(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    actor: &Actor,
    to: Option<&User>,
    now: Micros,
) -> QueryResult<bool> {
    if !store::set_assignee(tx, org, group, to.map(|user| user.id))? {
        return Ok(false);
    }
    let (kind, data) = match to {
        Some(user) => {
            let data = json!({ "assignee": user.id.to_string(), "assigneeEmail": user.email, "assigneeType": "user" });
            (ActivityKind::Assigned, data)
        }
        None => (ActivityKind::Unassigned, json!({})),
    };
    log(tx, org, group, &Activity::new(kind, actor, data), now)?;
    Ok(true)
}

/// Takes a group away at once; a job removes its events later, in small steps. A later event of the same kind makes
/// a new group. True when there was one.
///
/// # Errors
/// When a statement fails.
pub fn delete(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    actor: &Actor,
    now: Micros,
) -> QueryResult<bool> {
    let to = Guarded {
        status: GroupStatus::Deleting,
        substatus: None,
        details: "{}",
    };
    let from = [
        GroupStatus::Unresolved,
        GroupStatus::Resolved,
        GroupStatus::Ignored,
    ];
    if !store::change_status(tx, org, group, &from, &to, now)? {
        return Ok(false);
    }
    store::delete_hashes(tx, org, group)?;
    enqueue(tx, &EraseGroup { org, group }, now)?;
    audit::record(
        tx,
        Some(org),
        &actor.name,
        "groups.delete",
        &group.to_string(),
        &json!({}),
        now,
    )?;
    Ok(true)
}

/// Says which releases are known not to hold the fix of a resolved group: their events are counted and open
/// nothing. Replaces what was said before; a regression forgets it. (architecture: journey *Push → resolve*)
///
/// # Errors
/// When a statement fails.
pub fn mark_unfixed(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    releases: &[String],
) -> QueryResult<()> {
    if store::find(tx, org, group)?.is_none() {
        return Ok(());
    }
    hot::forget_unfixed(tx, group)?;
    for release in releases {
        hot::insert_unfixed(tx, group, release)?;
    }
    Ok(())
}
