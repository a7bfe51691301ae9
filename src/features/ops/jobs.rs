//! The job dashboard: what waits, what gave up and why, and giving it a fresh start.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    CsrfForm, Flash, Nothing, OrgAccess, Scope, Shell, SignedIn, need, redirect_with,
};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::jobs::{self, JobId, JobRow, JobState, Queue, QueueStat, RunnerConfig};

/// Jobs on one page.
const PAGE: i64 = 50;

/// What the list shows.
#[derive(Debug, Default, Deserialize)]
pub struct Filters {
    #[serde(default)]
    state: String,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    kind: String,
    cursor: Option<i64>,
}

#[derive(Serialize)]
struct JobPart {
    id: String,
    kind: String,
    queue: Queue,
    state: JobState,
    attempts: i32,
    max_attempts: i32,
    run_at: Micros,
    finished_at: Option<Micros>,
    last_error: Option<String>,
    can_redrive: bool,
}

impl JobPart {
    fn new(job: &JobRow, can_manage: bool) -> Self {
        Self {
            id: job.id.to_string(),
            kind: job.kind.clone(),
            queue: job.queue,
            state: job.state,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            run_at: job.run_at,
            finished_at: job.finished_at,
            last_error: job.last_error.clone(),
            can_redrive: can_manage && job.state == JobState::Dead,
        }
    }
}

/// The organization's jobs, dead ones first.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn list(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
    query: web::Query<Filters>,
) -> AppResult<HttpResponse> {
    let filters = query.into_inner();
    let state = JobState::parse(&filters.state).unwrap_or(JobState::Dead);
    let wanted = jobs::Filter {
        org: Some(access.org.id.0),
        state: Some(state),
        queue: Queue::parse(&filters.queue),
        kind: (!filters.kind.is_empty()).then(|| filters.kind.clone()),
        before: filters.cursor.map(JobId),
    };
    let org = access.org.id.0;
    let (mut rows, stats, kinds) = app
        .db
        .read(move |conn| {
            Ok::<_, AppError>((
                jobs::list(conn, &wanted, PAGE + 1)?,
                jobs::stats(conn, Some(org))?,
                jobs::kinds(conn, Some(org))?,
            ))
        })
        .await?;
    let more = rows.len() > usize::try_from(PAGE).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let can_manage = access.may(Scope::OrgIntegrations);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|job| format!("?state={state}&cursor={}", job.id));
    let content = json!({
        "queues": queues(&stats),
        "tabs": tabs(&stats, state),
        "filters": { "state": state, "queue": filters.queue, "kind": filters.kind },
        "kinds": kinds,
        "jobs": rows.iter().map(|job| JobPart::new(job, can_manage)).collect::<Vec<_>>(),
        "empty_title": format!("No {} jobs", label(state).to_lowercase()),
        "can_redrive_all": can_manage && state == JobState::Dead && !rows.is_empty(),
        "paging": { "prev": null, "next": next },
    });
    shell(&app, &req, "Jobs", &access, &signed_in).page(&app, "ops/jobs.html", content)
}

/// How many jobs of these are in a state.
fn count<'a>(stats: impl IntoIterator<Item = &'a QueueStat>, state: JobState) -> i64 {
    let of_state = stats.into_iter().filter(|stat| stat.state == state);
    of_state.map(|stat| stat.count).sum()
}

/// What waits and runs in each queue.
fn queues(stats: &[QueueStat]) -> Vec<Value> {
    let slots = RunnerConfig::default();
    let part = |queue: &Queue| {
        let own: Vec<_> = stats.iter().filter(|stat| stat.queue == *queue).collect();
        let of = |state| count(own.iter().copied(), state);
        let ready = own.iter().filter(|stat| stat.state == JobState::Ready);
        json!({
            "name": queue, "ready": of(JobState::Ready), "running": of(JobState::Running),
            "dead": of(JobState::Dead), "slots": slots.slots(*queue),
            "oldest_ready_at": ready.filter_map(|stat| stat.oldest).min(),
        })
    };
    Queue::ALL.iter().map(part).collect()
}

/// One tab for each state, those first that somebody should look at.
fn tabs(stats: &[QueueStat], active: JobState) -> Vec<Value> {
    let tab = |state| {
        json!({
            "label": label(state), "count": count(stats, state), "href": format!("?state={state}"),
            "active": state == active,
        })
    };
    let states = [
        JobState::Dead,
        JobState::Ready,
        JobState::Running,
        JobState::Done,
    ];
    states.map(tab).into()
}

fn label(state: JobState) -> &'static str {
    match state {
        JobState::Ready => "Ready",
        JobState::Running => "Running",
        JobState::Done => "Done",
        JobState::Dead => "Dead",
    }
}

fn shell<R>(
    app: &App,
    req: &HttpRequest,
    title: &str,
    access: &OrgAccess<R>,
    signed_in: &SignedIn,
) -> Shell {
    Shell::of_org(app, req, title, "jobs", &access.org, signed_in)
}

/// One job with its runs.
///
/// # Errors
/// 404 when it is not of this organization.
pub async fn detail(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let (org, id) = (access.org.id.0, JobId(path.1));
    let (job, attempts) = app
        .db
        .read(move |conn| {
            let job = jobs::find(conn, Some(org), id)?.ok_or_else(AppError::not_found)?;
            Ok::<_, AppError>((job, jobs::attempts_of(conn, id)?))
        })
        .await?;
    let mut part = serde_json::to_value(JobPart::new(&job, access.may(Scope::OrgIntegrations)))
        .map_err(AppError::internal)?;
    if let Some(part) = part.as_object_mut() {
        part.insert("created_at".into(), json!(job.created_at));
        part.insert("dedupe_key".into(), json!(job.dedupe_key));
        part.insert("leased_until".into(), json!(job.leased_until));
        part.insert("lease_owner".into(), json!(job.lease_owner));
    }
    let attempts: Vec<_> = attempts
        .iter()
        .map(|run| json!({ "at": run.at, "verdict": run.verdict, "error": run.message }))
        .collect();
    let payload = serde_json::from_str::<serde_json::Value>(&job.payload)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or(job.payload);
    let content = json!({ "job": part, "attempts": attempts, "payload": payload });
    shell(&app, &req, &format!("Job {id}"), &access, &signed_in).page(&app, "ops/job.html", content)
}

/// Gives a dead job a fresh start.
///
/// # Errors
/// 404 when it is not a dead job of this organization.
pub async fn redrive(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (org, id, actor, now) = (
        access.org.id,
        JobId(path.1),
        access.caller.name(),
        app.clock.now(),
    );
    app.db
        .write(move |tx| {
            if !jobs::redrive(tx, Some(org.0), id, now)? {
                return Err(AppError::not_found());
            }
            audit::record(
                tx,
                Some(org),
                &actor,
                "jobs.redrive",
                &id.to_string(),
                &json!({}),
                now,
            )?;
            Ok(())
        })
        .await?;
    Ok(redirect_with(
        &app,
        &format!("/o/{}/jobs/?state=ready", access.org.slug),
        &Flash::ok("The job will run again now."),
    ))
}

/// Deletes a dead job.
///
/// # Errors
/// 404 when it is not a dead job of this organization.
pub async fn drop(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (org, id, actor, now) = (
        access.org.id,
        JobId(path.1),
        access.caller.name(),
        app.clock.now(),
    );
    app.db
        .write(move |tx| {
            if !jobs::drop_dead(tx, Some(org.0), id)? {
                return Err(AppError::not_found());
            }
            audit::record(
                tx,
                Some(org),
                &actor,
                "jobs.drop",
                &id.to_string(),
                &json!({}),
                now,
            )?;
            Ok(())
        })
        .await?;
    Ok(redirect_with(
        &app,
        &format!("/o/{}/jobs/", access.org.slug),
        &Flash::ok("The job is deleted."),
    ))
}

/// Gives up to 500 dead jobs of the organization a fresh start.
///
/// # Errors
/// 403 without the scope.
pub async fn redrive_all(
    app: web::Data<App>,
    access: OrgAccess<need::Integrations>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (org, actor, now) = (access.org.id, access.caller.name(), app.clock.now());
    let count = app
        .db
        .write(move |tx| {
            let dead = jobs::Filter {
                org: Some(org.0),
                state: Some(JobState::Dead),
                ..Default::default()
            };
            let mut count = 0;
            for job in jobs::list(tx, &dead, 500)? {
                count += i32::from(jobs::redrive(tx, Some(org.0), job.id, now)?);
            }
            audit::record(
                tx,
                Some(org),
                &actor,
                "jobs.redrive_all",
                "dead",
                &json!({ "count": count }),
                now,
            )?;
            Ok::<_, AppError>(count)
        })
        .await?;
    Ok(redirect_with(
        &app,
        &format!("/o/{}/jobs/?state=ready", access.org.slug),
        &Flash::ok(format!("{count} jobs will run again.")),
    ))
}
