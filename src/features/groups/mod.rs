//! Stand-in until the real feature is merged.
#![allow(missing_docs, reason = "stand-in")]

use diesel::prelude::*;
use serde_json::{Map, Value, json};

use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, Caller, OrgId, Project, ProjectId, UserId};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx, on_both};
use crate::kit::ids::{row_id, text_enum};
use crate::kit::jobs::{Event, emit};
use crate::schema::{activities, events, groups, projects};
use crate::sentry::shortid::ShortId;

row_id! {
    /// Row id of a group.
    GroupId
}
row_id! {
    /// Row id of an activity.
    ActivityId
}

text_enum! {
    /// Where a group stands.
    GroupStatus {
        /// Open.
        Unresolved = "unresolved",
        /// Fixed.
        Resolved = "resolved",
        /// Ignored.
        Ignored = "ignored",
        /// Gone.
        Deleting = "deleting",
    }
}

text_enum! {
    /// What happened.
    ActivityKind {
        /// x
        SetResolved = "set_resolved",
        /// x
        SetResolvedInCommit = "set_resolved_in_commit",
        /// x
        SetUnresolved = "set_unresolved",
        /// x
        CreateIssue = "create_issue",
        /// x
        UnlinkIssue = "unlink_issue",
        /// x
        ReferencedInCommit = "referenced_in_commit",
    }
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = groups)]
pub struct Group {
    pub id: GroupId,
    pub org_id: OrgId,
    pub project_id: ProjectId,
    pub short_no: i64,
    pub title: String,
    pub culprit: String,
    pub status: GroupStatus,
    pub substatus: Option<String>,
    pub status_details: String,
    pub last_release: Option<String>,
}

impl Group {
    pub fn short_id(&self, project: &Project) -> String {
        ShortId { slug: project.slug.clone(), number: self.short_no }.to_string()
    }
    pub fn permalink_path(org_slug: &str, id: GroupId) -> String {
        format!("/organizations/{org_slug}/issues/{id}/")
    }
    pub fn status_details(&self) -> Map<String, Value> {
        serde_json::from_str(&self.status_details).unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
pub struct GroupResolved {
    pub org: OrgId,
    pub group: GroupId,
    pub resolution: Resolution,
}
impl Event for GroupResolved {
    const NAME: &'static str = "group_resolved";
}
pub struct GroupUnresolved {
    pub org: OrgId,
    pub group: GroupId,
    pub from: GroupStatus,
}
impl Event for GroupUnresolved {
    const NAME: &'static str = "group_unresolved";
}
pub struct GroupRegressed {
    pub org: OrgId,
    pub group: GroupId,
    pub release: Option<String>,
}
impl Event for GroupRegressed {
    const NAME: &'static str = "group_regressed";
}

#[derive(Debug, Clone)]
pub struct Actor {
    pub user: Option<UserId>,
    pub name: String,
}
impl Actor {
    pub fn of(caller: &Caller) -> Self {
        Self { user: caller.user_id(), name: caller.name() }
    }
    pub fn system(name: impl Into<String>) -> Self {
        Self { user: None, name: name.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    ByHand,
    InCommit { commit: String, repository: String, url: Option<String> },
}

pub struct Activity<'a> {
    kind: ActivityKind,
    actor: &'a Actor,
    data: Value,
    ident: Option<String>,
}
impl<'a> Activity<'a> {
    pub fn new(kind: ActivityKind, actor: &'a Actor, data: Value) -> Self {
        Self { kind, actor, data, ident: None }
    }
    pub fn once(mut self, ident: impl Into<String>) -> Self {
        self.ident = Some(ident.into());
        self
    }
}

pub fn find(conn: &mut Conn, org: OrgId, id: GroupId) -> QueryResult<Option<(Group, Project)>> {
    find_in(conn, &[org], id)
}

pub fn find_in(conn: &mut Conn, orgs: &[OrgId], id: GroupId) -> QueryResult<Option<(Group, Project)>> {
    let group = groups::table
        .filter(groups::org_id.eq_any(orgs))
        .filter(groups::id.eq(id))
        .select(Group::as_select())
        .first(conn)
        .optional()?;
    let Some(group) = group else { return Ok(None) };
    Ok(accounts::project_by_id(conn, group.org_id, group.project_id)?.map(|p| (group, p)))
}

pub fn find_by_name(conn: &mut Conn, orgs: &[OrgId], name: &str) -> QueryResult<Option<(Group, Project)>> {
    if let Ok(id) = name.parse() {
        return find_in(conn, orgs, id);
    }
    let Ok(short) = name.parse::<ShortId>() else { return Ok(None) };
    for org in orgs {
        if let Some(found) = find_by_short_id(conn, *org, &short)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

pub fn find_by_short_id(conn: &mut Conn, org: OrgId, short: &ShortId) -> QueryResult<Option<(Group, Project)>> {
    let id: Option<GroupId> = groups::table
        .inner_join(projects::table.on(projects::id.eq(groups::project_id)))
        .filter(groups::org_id.eq(org))
        .filter(projects::slug.eq(&short.slug))
        .filter(groups::short_no.eq(short.number))
        .select(groups::id)
        .first(conn)
        .optional()?;
    match id {
        Some(id) => find(conn, org, id),
        None => Ok(None),
    }
}

pub struct StoredEvent {
    pub text: String,
}
impl StoredEvent {
    pub fn event(&self) -> AppResult<crate::sentry::event::Event<'_>> {
        crate::sentry::event::Event::parse(&self.text).map_err(AppError::internal)
    }
}

pub fn latest_event(conn: &mut Conn, _org: OrgId, group: GroupId) -> AppResult<Option<StoredEvent>> {
    let body: Option<Vec<u8>> = events::table
        .filter(events::group_id.eq(group))
        .order(events::id.desc())
        .select(events::body)
        .first(conn)
        .optional()?;
    Ok(body.map(|b| StoredEvent { text: String::from_utf8_lossy(&b).into_owned() }))
}

pub fn log(tx: &mut Tx<'_>, org: OrgId, group: GroupId, what: &Activity<'_>, now: Micros) -> QueryResult<Option<ActivityId>> {
    let values = (
        activities::org_id.eq(org),
        activities::group_id.eq(group),
        activities::kind.eq(what.kind),
        activities::ident.eq(what.ident.as_deref()),
        activities::user_id.eq(what.actor.user),
        activities::actor.eq(&what.actor.name),
        activities::data.eq(what.data.to_string()),
        activities::created_at.eq(now),
    );
    on_both!(tx.conn(), |conn| diesel::insert_into(activities::table).values(values).on_conflict_do_nothing().execute(conn))
        .map(|n| (n == 1).then_some(ActivityId(0)))
}

pub fn resolve(tx: &mut Tx<'_>, org: OrgId, group: GroupId, actor: &Actor, resolution: &Resolution, now: Micros) -> QueryResult<bool> {
    let (kind, data, details) = match resolution {
        Resolution::ByHand => (ActivityKind::SetResolved, json!({}), json!({})),
        Resolution::InCommit { commit, repository, url } => {
            let data = json!({"commit": commit, "repository": repository, "url": url});
            (ActivityKind::SetResolvedInCommit, data.clone(), json!({"inCommit": data}))
        }
    };
    let changed = diesel::update(
        groups::table.filter(groups::org_id.eq(org)).filter(groups::id.eq(group)).filter(groups::status.ne(GroupStatus::Resolved)),
    )
    .set((
        groups::status.eq(GroupStatus::Resolved),
        groups::substatus.eq(None::<String>),
        groups::status_details.eq(details.to_string()),
        groups::resolved_at.eq(Some(now)),
    ))
    .execute(tx.conn())?;
    if changed == 1 {
        log(tx, org, group, &Activity::new(kind, actor, data), now)?;
        emit(tx, &GroupResolved { org, group, resolution: resolution.clone() }, now)?;
    }
    Ok(changed == 1)
}

pub fn unresolve(tx: &mut Tx<'_>, org: OrgId, group: GroupId, actor: &Actor, now: Micros) -> QueryResult<bool> {
    let changed = diesel::update(
        groups::table.filter(groups::org_id.eq(org)).filter(groups::id.eq(group)).filter(groups::status.ne(GroupStatus::Unresolved)),
    )
    .set((
        groups::status.eq(GroupStatus::Unresolved),
        groups::substatus.eq(Some("ongoing")),
        groups::status_details.eq("{}"),
        groups::resolved_at.eq(None::<Micros>),
    ))
    .execute(tx.conn())?;
    if changed == 1 {
        log(tx, org, group, &Activity::new(ActivityKind::SetUnresolved, actor, json!({})), now)?;
        emit(tx, &GroupUnresolved { org, group, from: GroupStatus::Resolved }, now)?;
    }
    Ok(changed == 1)
}
