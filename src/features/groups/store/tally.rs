//! The events of one commit, inserted and counted together.
//!
//! One statement per group and commit instead of several per event is what makes intake fast. The unique index on
//! the event id decides what is new: only what was really inserted is counted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use diesel::prelude::*;
use diesel::result::Error as DieselError;

use crate::features::groups::{Facet, GroupId, NewEvent};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Fold};

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Events that wait for the end of their commit.
#[derive(Default)]
pub(in crate::features::groups) struct Tally {
    rows: Vec<Row>,
}

struct Row {
    group: GroupId,
    event: Arc<NewEvent>,
    /// The group comes from memory: it must still be there, and not be resolved.
    guarded: bool,
}

impl Tally {
    pub(in crate::features::groups) fn add(
        &mut self,
        group: GroupId,
        event: &Arc<NewEvent>,
        guarded: bool,
    ) {
        self.rows.push(Row {
            group,
            event: Arc::clone(event),
            guarded,
        });
    }
}

impl Fold for Tally {
    fn merge(&mut self, mut other: Self) {
        self.rows.append(&mut other.rows);
    }

    fn flush(self, conn: &mut Conn) -> QueryResult<()> {
        match conn {
            Conn::Sqlite(conn) => sqlite::flush(conn, &self.rows),
            Conn::Postgresql(conn) => postgres::flush(conn, &self.rows),
        }
    }
}

/// What the events of one commit add to one group.
#[derive(Default)]
struct Sum<'a> {
    guarded: bool,
    events: i64,
    users: i64,
    last_seen: Micros,
    last_release: Option<&'a str>,
}

/// What the events of one commit add to the tables of counters, in the order of their keys: two processes that
/// count the same groups then lock them in the same order.
#[derive(Default)]
struct Sums<'a> {
    groups: BTreeMap<GroupId, Sum<'a>>,
    hours: BTreeMap<(GroupId, i64), i64>,
    facets: BTreeMap<(GroupId, &'static str, &'a str), (i64, Micros)>,
    users: BTreeSet<(GroupId, [u8; 16])>,
}

impl<'a> Sums<'a> {
    fn add(&mut self, row: &'a Row) {
        let event = &*row.event;
        let at = event.received_at;
        let sum = self.groups.entry(row.group).or_default();
        sum.guarded |= row.guarded;
        sum.events += 1;
        sum.last_seen = sum.last_seen.max(at);
        sum.last_release = event.release.as_deref().or(sum.last_release);
        *self
            .hours
            .entry((row.group, at.0.div_euclid(MICROS_PER_HOUR)))
            .or_default() += 1;
        let facets = [
            (Facet::Release, event.release.as_deref()),
            (Facet::Environment, event.environment.as_deref()),
        ];
        for (facet, value) in facets {
            if let Some(value) = value {
                let (events, last_seen) = self
                    .facets
                    .entry((row.group, facet.as_str(), value))
                    .or_default();
                *events += 1;
                *last_seen = (*last_seen).max(at);
            }
        }
        if let Some(user) = event.user {
            self.users.insert((row.group, user));
        }
    }

    fn add_user(&mut self, group: GroupId) {
        if let Some(sum) = self.groups.get_mut(&group) {
            sum.users += 1;
        }
    }
}

/// A group that was remembered is resolved or deleted by now: the commit is run again, closure by closure, and
/// [`super::super::record`] asks the database this time.
fn stale() -> DieselError {
    DieselError::QueryBuilderError(
        "a remembered group was resolved or deleted in the meantime".into(),
    )
}

/// The embedded database: statements are calls, so one per row and group, each prepared once.
mod sqlite {
    use diesel::dsl::case_when;
    use diesel::prelude::*;
    use diesel::sql_types::BigInt;
    use diesel::upsert::excluded;

    use super::{Row, Sum, Sums, stale};
    use crate::features::groups::{GroupId, GroupStatus};
    use crate::kit::clock::Micros;
    use crate::schema::{events, group_facets, group_hours, group_users, groups};

    pub(super) fn flush(conn: &mut SqliteConnection, rows: &[Row]) -> QueryResult<()> {
        let mut sums = Sums::default();
        for row in rows {
            if insert(conn, row)? {
                sums.add(row);
            }
        }
        for (group, user) in sums.users.clone() {
            if insert_user(conn, group, user)? {
                sums.add_user(group);
            }
        }
        for (group, sum) in &sums.groups {
            count(conn, *group, sum)?;
        }
        for ((group, hour), count) in &sums.hours {
            count_hour(conn, *group, *hour, *count)?;
        }
        for ((group, facet, value), (count, last_seen)) in &sums.facets {
            count_facet(conn, *group, facet, value, *count, *last_seen)?;
        }
        Ok(())
    }

    fn insert(conn: &mut SqliteConnection, row: &Row) -> QueryResult<bool> {
        let event = &*row.event;
        diesel::insert_into(events::table)
            .values((
                events::project_id.eq(event.project),
                events::group_id.eq(row.group),
                events::event_id.eq(&event.event_id.0[..]),
                events::received_at.eq(event.received_at),
                events::occurred_at.eq(event.occurred_at),
                events::release.eq(event.release.as_deref()),
                events::environment.eq(event.environment.as_deref()),
                events::body.eq(&event.body[..]),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .map(|count| count == 1)
    }

    fn insert_user(
        conn: &mut SqliteConnection,
        group: GroupId,
        user: [u8; 16],
    ) -> QueryResult<bool> {
        diesel::insert_into(group_users::table)
            .values((
                group_users::group_id.eq(group),
                group_users::user_hash.eq(&user[..]),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .map(|count| count == 1)
    }

    fn count(conn: &mut SqliteConnection, group: GroupId, sum: &Sum<'_>) -> QueryResult<()> {
        // No group has an empty status: the statement stays the same and is prepared once.
        let refused = [GroupStatus::Resolved, GroupStatus::Deleting]
            .map(|s| if sum.guarded { s.as_str() } else { "" });
        let [one, other] = refused;
        let target = groups::table
            .filter(groups::id.eq(group))
            .filter(groups::status.ne(one))
            .filter(groups::status.ne(other));
        let later = case_when(
            groups::last_seen.lt(sum.last_seen),
            sum.last_seen.into_sql::<BigInt>(),
        )
        .otherwise(groups::last_seen);
        let counters = (
            groups::times_seen.eq(groups::times_seen + sum.events),
            groups::user_count.eq(groups::user_count + sum.users),
            groups::last_seen.eq(later),
        );
        let changed = match sum.last_release {
            Some(release) => diesel::update(target)
                .set((counters, groups::last_release.eq(release)))
                .execute(conn)?,
            None => diesel::update(target).set(counters).execute(conn)?,
        };
        if changed == 1 { Ok(()) } else { Err(stale()) }
    }

    fn count_hour(
        conn: &mut SqliteConnection,
        group: GroupId,
        hour: i64,
        count: i64,
    ) -> QueryResult<()> {
        diesel::insert_into(group_hours::table)
            .values((
                group_hours::group_id.eq(group),
                group_hours::hour.eq(hour),
                group_hours::events.eq(count),
            ))
            .on_conflict((group_hours::group_id, group_hours::hour))
            .do_update()
            .set(group_hours::events.eq(group_hours::events + excluded(group_hours::events)))
            .execute(conn)
            .map(drop)
    }

    fn count_facet(
        conn: &mut SqliteConnection,
        group: GroupId,
        facet: &str,
        value: &str,
        count: i64,
        last_seen: Micros,
    ) -> QueryResult<()> {
        diesel::insert_into(group_facets::table)
            .values((
                group_facets::group_id.eq(group),
                group_facets::kind.eq(facet),
                group_facets::value.eq(value),
                group_facets::events.eq(count),
                group_facets::last_seen.eq(last_seen),
            ))
            .on_conflict((
                group_facets::group_id,
                group_facets::kind,
                group_facets::value,
            ))
            .do_update()
            .set((
                group_facets::events.eq(group_facets::events + excluded(group_facets::events)),
                group_facets::last_seen.eq(excluded(group_facets::last_seen)),
            ))
            .execute(conn)
            .map(drop)
    }
}

/// PostgreSQL: a statement is a round trip, so one per table, with arrays.
mod postgres {
    use diesel::prelude::*;
    use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text};

    use super::{HashSet, Row, Sums, stale};

    pub(super) fn flush(conn: &mut PgConnection, rows: &[Row]) -> QueryResult<()> {
        let mut fresh = insert(conn, rows)?;
        let mut sums = Sums::default();
        for row in rows {
            // Of two rows of one id the first was inserted, and is the first here.
            if fresh.remove(&(row.event.project.0, row.event.event_id.0)) {
                sums.add(row);
            }
        }
        if sums.groups.is_empty() {
            return Ok(());
        }
        insert_users(conn, &mut sums)?;
        count(conn, &sums)?;
        count_hours(conn, &sums)?;
        count_facets(conn, &sums)
    }

    #[derive(QueryableByName)]
    struct Inserted {
        #[diesel(sql_type = BigInt)]
        project_id: i64,
        #[diesel(sql_type = Binary)]
        event_id: Vec<u8>,
    }

    fn insert(conn: &mut PgConnection, rows: &[Row]) -> QueryResult<HashSet<(i64, [u8; 16])>> {
        let column = |get: fn(&Row) -> i64| rows.iter().map(get).collect::<Vec<i64>>();
        let inserted: Vec<Inserted> = diesel::sql_query(
            "INSERT INTO events (project_id, group_id, event_id, received_at, occurred_at, release, environment, body) \
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT DO NOTHING RETURNING project_id, event_id",
        )
        .bind::<Array<BigInt>, _>(column(|row| row.event.project.0))
        .bind::<Array<BigInt>, _>(column(|row| row.group.0))
        .bind::<Array<Binary>, _>(rows.iter().map(|row| &row.event.event_id.0[..]).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(column(|row| row.event.received_at.0))
        .bind::<Array<BigInt>, _>(column(|row| row.event.occurred_at.0))
        .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|row| row.event.release.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|row| row.event.environment.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(rows.iter().map(|row| &row.event.body[..]).collect::<Vec<_>>())
        .load(conn)?;
        Ok(inserted
            .into_iter()
            .map(|row| {
                (
                    row.project_id,
                    row.event_id.as_slice().try_into().unwrap_or_default(),
                )
            })
            .collect())
    }

    #[derive(QueryableByName)]
    struct NewUser {
        #[diesel(sql_type = BigInt)]
        group_id: crate::features::groups::GroupId,
    }

    fn insert_users(conn: &mut PgConnection, sums: &mut Sums<'_>) -> QueryResult<()> {
        if sums.users.is_empty() {
            return Ok(());
        }
        let new: Vec<NewUser> = diesel::sql_query(
            "INSERT INTO group_users (group_id, user_hash) SELECT * FROM unnest($1, $2) \
             ON CONFLICT DO NOTHING RETURNING group_id",
        )
        .bind::<Array<BigInt>, _>(
            sums.users
                .iter()
                .map(|(group, _)| group.0)
                .collect::<Vec<_>>(),
        )
        .bind::<Array<Binary>, _>(
            sums.users
                .iter()
                .map(|(_, user)| &user[..])
                .collect::<Vec<_>>(),
        )
        .load(conn)?;
        for user in new {
            sums.add_user(user.group_id);
        }
        Ok(())
    }

    fn count(conn: &mut PgConnection, sums: &Sums<'_>) -> QueryResult<()> {
        let groups = &sums.groups;
        // The rows are locked in the order of their ids first: an UPDATE … FROM locks in any order it likes.
        let changed = diesel::sql_query(
            "WITH d AS (SELECT * FROM unnest($1, $2, $3, $4, $5, $6) AS d (id, events, users, at, release, guarded)), \
             locked AS (SELECT g.id FROM groups g JOIN d ON d.id = g.id ORDER BY g.id FOR NO KEY UPDATE OF g) \
             UPDATE groups AS g SET times_seen = g.times_seen + d.events, user_count = g.user_count + d.users, \
             last_seen = GREATEST(g.last_seen, d.at), last_release = COALESCE(d.release, g.last_release) \
             FROM d JOIN locked ON locked.id = d.id \
             WHERE g.id = d.id AND (NOT d.guarded OR g.status IN ('unresolved', 'ignored'))",
        )
        .bind::<Array<BigInt>, _>(groups.keys().map(|group| group.0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(groups.values().map(|sum| sum.events).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(groups.values().map(|sum| sum.users).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(groups.values().map(|sum| sum.last_seen.0).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(groups.values().map(|sum| sum.last_release).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(groups.values().map(|sum| sum.guarded).collect::<Vec<_>>())
        .execute(conn)?;
        if changed == groups.len() {
            Ok(())
        } else {
            Err(stale())
        }
    }

    fn count_hours(conn: &mut PgConnection, sums: &Sums<'_>) -> QueryResult<()> {
        diesel::sql_query(
            "INSERT INTO group_hours (group_id, hour, events) SELECT * FROM unnest($1, $2, $3) \
             ON CONFLICT (group_id, hour) DO UPDATE SET events = group_hours.events + excluded.events",
        )
        .bind::<Array<BigInt>, _>(sums.hours.keys().map(|(group, _)| group.0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(sums.hours.keys().map(|(_, hour)| *hour).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(sums.hours.values().copied().collect::<Vec<_>>())
        .execute(conn)
        .map(drop)
    }

    fn count_facets(conn: &mut PgConnection, sums: &Sums<'_>) -> QueryResult<()> {
        let facets = &sums.facets;
        if facets.is_empty() {
            return Ok(());
        }
        diesel::sql_query(
            "INSERT INTO group_facets (group_id, kind, value, events, last_seen) \
             SELECT * FROM unnest($1, $2, $3, $4, $5) ON CONFLICT (group_id, kind, value) \
             DO UPDATE SET events = group_facets.events + excluded.events, last_seen = excluded.last_seen",
        )
        .bind::<Array<BigInt>, _>(facets.keys().map(|(group, ..)| group.0).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(facets.keys().map(|(_, kind, _)| *kind).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(facets.keys().map(|(.., value)| *value).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(facets.values().map(|(count, _)| *count).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(facets.values().map(|(_, at)| at.0).collect::<Vec<_>>())
        .execute(conn)
        .map(drop)
    }
}
