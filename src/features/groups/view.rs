//! What the console shows of groups: the fields of `templates/groups/*.html`, whose examples are in
//! `tests/fixtures/pages/`.

mod event;
mod timeline;

use serde::Serialize;

use super::store::{self, Pick, activity, events};
use super::tags::{self, TagCounts};
use super::{EventRow, Facet, Group, GroupStatus};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::Project;
use crate::kit::clock::Micros;

pub use event::EventView;
use timeline::TimelineEntry;

/// Activities that the page of a group shows.
const TIMELINE: i64 = 100;
/// Releases that the page of a group shows.
const RELEASES: i64 = 6;
const HOUR: i64 = 3_600;
/// Hours of the chart by day.
const CHART_HOURS: i64 = 30 * 24;

/// A project, as far as lists show one.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ProjectPart {
    slug: String,
    name: String,
    platform: String,
}

impl ProjectPart {
    pub(super) fn new(project: &Project) -> Self {
        Self {
            slug: project.slug.clone(),
            name: project.name.clone(),
            platform: project.platform.clone(),
        }
    }
}

/// A ticket of a group, as lists show it. The tickets feature makes them.
#[derive(Debug, Clone, Serialize)]
pub struct TicketBadge {
    /// `pending`, `linked` or `failed`.
    pub state: String,
    /// Name of the ticket, `workspace/repository#12`; empty while pending.
    pub key: String,
    /// State on the other side, when known.
    pub remote_status: Option<String>,
}

/// A group in the list.
#[derive(Debug, Clone, Serialize)]
pub(super) struct GroupRow {
    pub(super) id: String,
    pub(super) short_id: String,
    pub(super) title: String,
    pub(super) culprit: String,
    pub(super) level: String,
    pub(super) status: GroupStatus,
    pub(super) project: ProjectPart,
    pub(super) count: i64,
    pub(super) user_count: i64,
    pub(super) first_seen: Micros,
    pub(super) last_seen: Micros,
    pub(super) hours: Vec<i64>,
    pub(super) is_regression: bool,
    pub(super) tickets: Vec<TicketBadge>,
}

impl GroupRow {
    pub(super) fn new(
        group: &Group,
        project: &Project,
        hours: Vec<i64>,
        tickets: Vec<TicketBadge>,
    ) -> Self {
        Self {
            id: group.id.to_string(),
            short_id: group.short_id(project),
            title: group.title.clone(),
            culprit: group.culprit.clone(),
            level: group.level.clone(),
            status: group.status,
            project: ProjectPart::new(project),
            count: group.times_seen,
            user_count: group.user_count,
            first_seen: group.first_seen,
            last_seen: group.last_seen,
            hours,
            is_regression: is_regression(group),
            tickets,
        }
    }
}

fn is_regression(group: &Group) -> bool {
    group.status == GroupStatus::Unresolved && group.substatus.as_deref() == Some("regressed")
}

/// The head of a group's page.
#[derive(Debug, Clone, Serialize)]
struct GroupPart {
    id: String,
    short_id: String,
    title: String,
    culprit: String,
    level: String,
    status: GroupStatus,
    status_detail: Option<String>,
    is_regression: bool,
    project: ProjectPart,
    count: i64,
    user_count: i64,
    first_seen: Micros,
    last_seen: Micros,
    first_release: Option<String>,
    last_release: Option<String>,
    hours: Vec<i64>,
    days: Vec<i64>,
}

/// A release of a group with its events.
#[derive(Debug, Clone, Serialize)]
struct ReleaseCount {
    version: String,
    count: i64,
}

/// The form for a note.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NoteForm {
    /// What was typed.
    pub text: String,
    /// What was wrong with it.
    pub error: Option<String>,
    /// What else happens to a note; the tickets feature knows.
    pub hint: Option<String>,
}

/// Everything that the page of a group shows, but for its tickets.
#[derive(Debug, Clone, Serialize)]
pub struct DetailView {
    group: GroupPart,
    /// The event that is shown; `None` when none is kept.
    pub event: Option<EventView>,
    retention_days: u64,
    tags: Vec<TagCounts>,
    releases: Vec<ReleaseCount>,
    activity: Vec<TimelineEntry>,
    /// The form for a note.
    pub note: NoteForm,
    /// Whether the reader may change the group.
    pub can_write: bool,
}

impl DetailView {
    /// Title of the page.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.group.short_id, self.group.title)
    }
}

/// Reads what the page of a group shows, with the event in `row` or else the last one. `can_write` says whether the
/// reader has `event:write` there.
///
/// # Errors
/// 404 when there is no such event in this group.
pub async fn detail_view(
    app: &App,
    group: Group,
    project: Project,
    row: Option<EventRow>,
    can_write: bool,
) -> AppResult<DetailView> {
    let retention_days = app.config.retention.as_secs() / 86_400;
    let hour = app.clock.now().secs().div_euclid(HOUR);
    app.db
        .read(move |conn| {
            let stored = store::event_of(conn, &group, row.map_or(Pick::Latest, Pick::Row))?;
            if stored.is_none() && row.is_some() {
                return Err(AppError::not_found());
            }
            let event = match stored {
                Some(stored) => {
                    let neighbours = events::neighbours(conn, &stored)?;
                    Some(EventView::new(&stored, &neighbours)?)
                }
                None => None,
            };
            let counted = store::hours(conn, &[group.id], hour + 1 - CHART_HOURS)?;
            let mut by_hour = vec![0_i64; usize::try_from(CHART_HOURS).unwrap_or_default()];
            for (_, at, count) in counted {
                let slot = usize::try_from(at - (hour + 1 - CHART_HOURS))
                    .ok()
                    .and_then(|at| by_hour.get_mut(at));
                if let Some(slot) = slot {
                    *slot += count;
                }
            }
            let releases = store::facets(conn, &group, Facet::Release, RELEASES)?;
            let rows = activity::list(conn, group.org_id, group.id, None, TIMELINE)?;
            Ok(DetailView {
                event,
                retention_days,
                tags: tags::sample(conn, &group)?,
                releases: releases
                    .into_iter()
                    .map(|(version, count)| ReleaseCount { version, count })
                    .collect(),
                activity: timeline::of(&group, &rows),
                note: NoteForm::default(),
                can_write,
                group: GroupPart {
                    id: group.id.to_string(),
                    short_id: group.short_id(&project),
                    status_detail: timeline::status_detail(&group),
                    is_regression: is_regression(&group),
                    project: ProjectPart::new(&project),
                    count: group.times_seen,
                    user_count: group.user_count,
                    first_seen: group.first_seen,
                    last_seen: group.last_seen,
                    hours: by_hour.iter().rev().take(24).rev().copied().collect(),
                    days: by_hour.chunks(24).map(|day| day.iter().sum()).collect(),
                    title: group.title,
                    culprit: group.culprit,
                    level: group.level,
                    status: group.status,
                    first_release: group.first_release,
                    last_release: group.last_release,
                },
            })
        })
        .await
}
