//! The tables of groups. What concerns the hot path, events, activities and retention has a file of its own.

pub(super) mod activity;
pub(super) mod events;
pub(super) mod hot;
pub(super) mod retention;
mod tally;

use std::collections::HashMap;

use diesel::dsl::{count_star, exists, max};
use diesel::prelude::*;

use super::projects::Busy;
use super::query::{Assigned, Search, Sort, Word};
use super::{Facet, GroupId, GroupStatus};
use crate::features::accounts::{self, OrgId, Project, ProjectId, UserId};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx};
use crate::schema::{group_facets, group_hashes, group_hours, groups};
use crate::sentry::shortid::ShortId;

pub(super) use events::EventData;
pub use events::{Pick, event_of, latest_event};
pub(super) use tally::Tally;

/// A tracked error.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = groups)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Group {
    pub id: GroupId,
    pub org_id: OrgId,
    pub project_id: ProjectId,
    pub short_no: i64,
    pub title: String,
    pub culprit: String,
    pub kind: String,
    pub metadata: String,
    pub level: String,
    pub platform: String,
    pub logger: Option<String>,
    pub top_path: Option<String>,
    pub status: GroupStatus,
    pub substatus: Option<String>,
    pub status_details: String,
    pub resolved_at: Option<Micros>,
    pub first_seen: Micros,
    pub last_seen: Micros,
    pub times_seen: i64,
    pub user_count: i64,
    pub first_release: Option<String>,
    pub last_release: Option<String>,
    pub num_comments: i32,
    pub assignee_id: Option<UserId>,
}

/// The group of an id, with its project.
///
/// # Errors
/// When a query fails.
pub fn find(conn: &mut Conn, org: OrgId, id: GroupId) -> QueryResult<Option<(Group, Project)>> {
    find_in(conn, &[org], id)
}

/// The group of an id in one of these organizations, with its project.
///
/// # Errors
/// When a query fails.
pub fn find_in(
    conn: &mut Conn,
    orgs: &[OrgId],
    id: GroupId,
) -> QueryResult<Option<(Group, Project)>> {
    let group = groups::table
        .filter(groups::id.eq(id))
        .filter(groups::org_id.eq_any(orgs))
        .filter(groups::status.ne(GroupStatus::Deleting))
        .select(Group::as_select())
        .first(conn)
        .optional()?;
    with_project(conn, group)
}

fn with_project(conn: &mut Conn, group: Option<Group>) -> QueryResult<Option<(Group, Project)>> {
    let Some(group) = group else { return Ok(None) };
    let project = accounts::project_by_id(conn, group.org_id, group.project_id)?;
    Ok(project.map(|project| (group, project)))
}

/// The group of a qualified short id, with its project.
///
/// # Errors
/// When a query fails.
pub fn find_by_short_id(
    conn: &mut Conn,
    org: OrgId,
    short: &ShortId,
) -> QueryResult<Option<(Group, Project)>> {
    let Some(project) = project_of(conn, org, short)? else {
        return Ok(None);
    };
    let group = groups::table
        .filter(groups::org_id.eq(org))
        .filter(groups::project_id.eq(project.id))
        .filter(groups::short_no.eq(short.number))
        .filter(groups::status.ne(GroupStatus::Deleting))
        .select(Group::as_select())
        .first(conn)
        .optional()?;
    Ok(group.map(|group| (group, project)))
}

/// The project whose slug a short id begins with; unlike elsewhere a number is not an id here.
fn project_of(conn: &mut Conn, org: OrgId, short: &ShortId) -> QueryResult<Option<Project>> {
    Ok(
        accounts::find_project(conn, org, &short.slug)?
            .filter(|project| project.slug == short.slug),
    )
}

/// The group that a path names: a decimal id, or a qualified short id.
///
/// # Errors
/// When a query fails.
pub fn find_by_name(
    conn: &mut Conn,
    orgs: &[OrgId],
    name: &str,
) -> QueryResult<Option<(Group, Project)>> {
    if let Ok(id) = name.parse() {
        return find_in(conn, orgs, id);
    }
    let Ok(short) = name.parse::<ShortId>() else {
        return Ok(None);
    };
    for org in orgs {
        if let Some(found) = find_by_short_id(conn, *org, &short)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

type Query<'a> = groups::BoxedQuery<'a, <Conn as Connection>::Backend>;

/// The groups that a search names.
fn matching<'a>(conn: &mut Conn, org: OrgId, search: &Search) -> QueryResult<Query<'a>> {
    let mut query = groups::table
        .filter(groups::org_id.eq(org))
        .filter(groups::status.ne(GroupStatus::Deleting))
        .into_boxed();
    if let Some(status) = search.status {
        query = query.filter(groups::status.eq(status));
    }
    if !search.levels.is_empty() {
        query = query.filter(groups::level.eq_any(search.levels.clone()));
    }
    if !search.projects.is_empty() {
        query = query.filter(groups::project_id.eq_any(search.projects.clone()));
    }
    if !search.ids.is_empty() {
        query = query.filter(groups::id.eq_any(search.ids.clone()));
    }
    match search.assigned {
        None => {}
        Some(Assigned::Nobody) => query = query.filter(groups::assignee_id.is_null()),
        Some(Assigned::To(user)) => query = query.filter(groups::assignee_id.eq(user)),
    }
    let facets = [
        (Facet::Release, &search.releases),
        (Facet::Environment, &search.environments),
    ];
    for (facet, values) in facets {
        if !values.is_empty() {
            let seen = group_facets::table
                .filter(group_facets::group_id.eq(groups::id))
                .filter(group_facets::kind.eq(facet))
                .filter(group_facets::value.eq_any(values.clone()));
            query = query.filter(exists(seen));
        }
    }
    for word in &search.words {
        query = match word {
            Word::Text(text) => query.filter(groups::search_text.like(pattern(text)).escape('\\')),
            Word::ShortId(short, text) => match project_of(conn, org, short)? {
                Some(project) => query.filter(
                    groups::project_id
                        .eq(project.id)
                        .and(groups::short_no.eq(short.number))
                        .or(groups::search_text.like(pattern(text)).escape('\\')),
                ),
                None => query.filter(groups::search_text.like(pattern(text)).escape('\\')),
            },
        };
    }
    Ok(query)
}

/// A LIKE pattern for "contains", with `\` before what would be a wildcard.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// One page of the groups that a search names.
pub(super) fn list(
    conn: &mut Conn,
    org: OrgId,
    search: &Search,
    sort: Sort,
    offset: i64,
    limit: i64,
) -> QueryResult<Vec<Group>> {
    let query = matching(conn, org, search)?;
    let query = match sort {
        Sort::Date => query.order((groups::last_seen.desc(), groups::id.desc())),
        Sort::New => query.order((groups::first_seen.desc(), groups::id.desc())),
        Sort::Freq => query.order((groups::times_seen.desc(), groups::id.desc())),
        Sort::User => query.order((groups::user_count.desc(), groups::id.desc())),
    };
    query
        .offset(offset)
        .limit(limit)
        .select(Group::as_select())
        .load(conn)
}

/// How many groups a search names.
pub(super) fn count(conn: &mut Conn, org: OrgId, search: &Search) -> QueryResult<i64> {
    matching(conn, org, search)?
        .select(count_star())
        .first(conn)
}

/// Ids of the groups that a search names, in ascending order after `after`.
pub(super) fn ids(
    conn: &mut Conn,
    org: OrgId,
    search: &Search,
    after: GroupId,
    limit: i64,
) -> QueryResult<Vec<GroupId>> {
    matching(conn, org, search)?
        .filter(groups::id.gt(after))
        .order(groups::id)
        .limit(limit)
        .select(groups::id)
        .load(conn)
}

/// How many groups there are per status, of one project or of all.
pub(super) fn count_by_status(
    conn: &mut Conn,
    org: OrgId,
    project: Option<ProjectId>,
) -> QueryResult<HashMap<GroupStatus, i64>> {
    let query = groups::table
        .filter(groups::org_id.eq(org))
        .group_by(groups::status);
    let rows: Vec<(GroupStatus, i64)> = match project {
        Some(project) => query
            .filter(groups::project_id.eq(project))
            .select((groups::status, count_star()))
            .load(conn)?,
        None => query.select((groups::status, count_star())).load(conn)?,
    };
    Ok(rows.into_iter().collect())
}

/// How busy each project is, with its events from `hour` (hours since 1970) on. Projects without a group are left out.
pub(super) fn busy(
    conn: &mut Conn,
    org: OrgId,
    hour: i64,
) -> QueryResult<HashMap<ProjectId, Busy>> {
    let mut busy = HashMap::<ProjectId, Busy>::new();
    let rows: Vec<(ProjectId, GroupStatus, i64, Option<Micros>)> = groups::table
        .filter(groups::org_id.eq(org))
        .group_by((groups::project_id, groups::status))
        .select((
            groups::project_id,
            groups::status,
            count_star(),
            max(groups::last_seen),
        ))
        .load(conn)?;
    for (project, status, count, last) in rows {
        let entry = busy.entry(project).or_default();
        entry.last_event = entry.last_event.max(last);
        if status == GroupStatus::Unresolved {
            entry.open_groups = count;
        }
    }
    // A plain SUM is NUMERIC on PostgreSQL.
    let sum =
        diesel::dsl::sql::<diesel::sql_types::BigInt>("CAST(SUM(group_hours.events) AS BIGINT)");
    let rows: Vec<(ProjectId, i64)> = group_hours::table
        .inner_join(groups::table.on(groups::id.eq(group_hours::group_id)))
        .filter(groups::org_id.eq(org))
        .filter(group_hours::hour.ge(hour))
        .group_by(groups::project_id)
        .select((groups::project_id, sum))
        .load(conn)?;
    for (project, events) in rows {
        busy.entry(project).or_default().events = events;
    }
    Ok(busy)
}

/// Events per group and hour (hours since 1970) from `from` on; the groups were read for this organization.
pub(super) fn hours(
    conn: &mut Conn,
    ids: &[GroupId],
    from: i64,
) -> QueryResult<Vec<(GroupId, i64, i64)>> {
    group_hours::table
        .filter(group_hours::group_id.eq_any(ids))
        .filter(group_hours::hour.ge(from))
        .select((
            group_hours::group_id,
            group_hours::hour,
            group_hours::events,
        ))
        .load(conn)
}

/// What a group was counted by: values with events, the latest first.
pub(super) fn facets(
    conn: &mut Conn,
    group: &Group,
    facet: Facet,
    limit: i64,
) -> QueryResult<Vec<(String, i64)>> {
    group_facets::table
        .filter(group_facets::group_id.eq(group.id))
        .filter(group_facets::kind.eq(facet))
        .order((group_facets::last_seen.desc(), group_facets::value))
        .limit(limit)
        .select((group_facets::value, group_facets::events))
        .load(conn)
}

/// What a change of status writes.
pub(super) struct Guarded<'a> {
    pub(super) status: GroupStatus,
    pub(super) substatus: Option<&'a str>,
    /// JSON object.
    pub(super) details: &'a str,
}

/// Changes the status if it is one of `from`. True when it did.
pub(super) fn change_status(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    from: &[GroupStatus],
    to: &Guarded<'_>,
    now: Micros,
) -> QueryResult<bool> {
    let resolved_at = (to.status == GroupStatus::Resolved).then_some(now);
    diesel::update(
        groups::table
            .filter(groups::org_id.eq(org))
            .filter(groups::id.eq(group))
            .filter(groups::status.eq_any(from.to_vec())),
    )
    .set((
        groups::status.eq(to.status),
        groups::substatus.eq(to.substatus),
        groups::status_details.eq(to.details),
        groups::resolved_at.eq(resolved_at),
    ))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Changes who works on a group. True when that was somebody else.
pub(super) fn set_assignee(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    to: Option<UserId>,
) -> QueryResult<bool> {
    let group = groups::table
        .filter(groups::org_id.eq(org))
        .filter(groups::id.eq(group))
        .filter(groups::status.ne(GroupStatus::Deleting));
    let changed = match to {
        Some(user) => diesel::update(
            group.filter(
                groups::assignee_id
                    .is_null()
                    .or(groups::assignee_id.ne(user)),
            ),
        )
        .set(groups::assignee_id.eq(user))
        .execute(tx.conn())?,
        None => diesel::update(group.filter(groups::assignee_id.is_not_null()))
            .set(groups::assignee_id.eq(to))
            .execute(tx.conn())?,
    };
    Ok(changed == 1)
}

/// Changes the number of notes. False when the group is gone.
pub(super) fn count_note(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    change: i32,
) -> QueryResult<bool> {
    diesel::update(
        groups::table
            .filter(groups::org_id.eq(org))
            .filter(groups::id.eq(group))
            .filter(groups::status.ne(GroupStatus::Deleting)),
    )
    .set(groups::num_comments.eq(groups::num_comments + change))
    .execute(tx.conn())
    .map(|count| count == 1)
}

/// Lets go of a group's hashes, so that their next event makes a new group.
pub(super) fn delete_hashes(tx: &mut Tx<'_>, org: OrgId, group: GroupId) -> QueryResult<usize> {
    let own = groups::table
        .filter(groups::org_id.eq(org))
        .filter(groups::id.eq(group))
        .select(groups::id);
    diesel::delete(group_hashes::table.filter(group_hashes::group_id.eq_any(own)))
        .execute(tx.conn())
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn wildcards_of_a_search_are_letters() {
        assert_eq!(pattern("100%_a\\b"), "%100\\%\\_a\\\\b%");
    }
}
