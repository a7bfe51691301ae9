//! The log of deliveries: what came in, what it came to, and working on it again.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::BODY_LIMIT;
use super::outcome::Outcome;
use super::store::{self, Filter, From, Line};
use super::{DeliveryId, DeliveryState, Source, body};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    CsrfForm, Flash, Nothing, OrgAccess, OrgId, Scope, Shell, SignedIn, need, redirect_with,
};
use crate::features::audit;
use crate::features::links::{self, Repo, RepoFilter};
use crate::kit::db::Conn;

/// Lines of one page.
const PAGE: usize = 50;
/// Bytes of a body that are shown.
const SHOWN: usize = 64 * 1024;
/// Repositories offered as a filter.
const OFFERED: i64 = 500;

/// What the list shows.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Filters {
    #[serde(default)]
    state: String,
    #[serde(default)]
    repo: String,
    #[serde(default)]
    event: String,
    before: Option<DeliveryId>,
    after: Option<DeliveryId>,
}

impl Filters {
    fn state(&self) -> Option<DeliveryState> {
        DeliveryState::ALL
            .iter()
            .copied()
            .find(|state| label(*state) == self.state)
    }

    fn from(&self) -> From {
        match (self.before, self.after) {
            (Some(id), _) => From::Below(id),
            (None, Some(id)) => From::Above(id),
            (None, None) => From::Newest,
        }
    }

    /// A link to the same list, at another place.
    fn href(&self, place: &str, id: DeliveryId) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::from("?"));
        for (name, value) in [
            ("state", &self.state),
            ("repo", &self.repo),
            ("event", &self.event),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair(place, &id.to_string()).finish()
    }
}

/// What a state is called on pages.
const fn label(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Ready => "pending",
        DeliveryState::Done => "done",
        DeliveryState::Ignored => "ignored",
        DeliveryState::Dead => "failed",
    }
}

fn outcome(line: &Line) -> Option<Outcome> {
    serde_json::from_str(line.outcome.as_deref()?).ok()
}

/// The part of the context that a line and the detail page share.
fn part(line: &Line, repo: Option<&str>, can_manage: bool, has_body: bool) -> Value {
    let summary = match line.state {
        DeliveryState::Ignored => Some("this event is not used".to_owned()),
        _ => outcome(line)
            .map(|outcome| outcome.summary)
            .filter(|summary| !summary.is_empty()),
    };
    json!({
        "id": line.id.to_string(),
        "event": line.event_key,
        "repo": repo,
        "state": label(line.state),
        "received_at": line.received_at,
        "attempts": line.attempts,
        "took_ms": line.took_ms,
        "error": line.error,
        "summary": summary,
        "can_replay": can_manage && has_body && matches!(line.state, DeliveryState::Done | DeliveryState::Dead),
    })
}

/// The organization's deliveries, newest first.
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
    let asked = filters.clone();
    let org = access.org.id;
    let found = app
        .db
        .read(move |conn| read_page(conn, org, &asked))
        .await?;
    let can_manage = access.may(Scope::OrgIntegrations);
    let rows: Vec<Value> = found
        .lines
        .iter()
        .map(|line| part(line, name_of(&found.repos, line), can_manage, true))
        .collect();
    let options = |names: Vec<&str>| {
        names
            .iter()
            .map(|name| json!({"value": name, "label": name}))
            .collect::<Vec<_>>()
    };
    let mut events: Vec<&str> = Source::ALL
        .iter()
        .flat_map(|source| source.used_events().iter().copied())
        .collect();
    events.push("pullrequest:fulfilled");
    let content = json!({
        "tabs": tabs(&found.counts, filters.state()),
        "filters": {"state": filters.state, "repo": filters.repo, "event": filters.event},
        "repos": options(found.repos.iter().map(|repo| repo.name.as_str()).collect()),
        "events": options(events),
        "deliveries": rows,
        "paging": {
            "prev": found.lines.first().filter(|_| found.has_newer).map(|line| filters.href("after", line.id)),
            "next": found.lines.last().filter(|_| found.has_older).map(|line| filters.href("before", line.id)),
        },
    });
    shell(&app, &req, "Deliveries", &access, &signed_in).page(&app, "deliveries/list.html", content)
}

/// What one page of the list shows, newest first.
struct Found {
    repos: Vec<Repo>,
    lines: Vec<Line>,
    counts: Vec<(DeliveryState, i64)>,
    has_newer: bool,
    has_older: bool,
}

fn read_page(conn: &mut Conn, org: OrgId, filters: &Filters) -> AppResult<Found> {
    let from = filters.from();
    let repos = links::list_repos(conn, org, &RepoFilter::default(), 0, OFFERED)?;
    let repo = match filters.repo.as_str() {
        "" => None,
        name => Some(
            repos
                .iter()
                .find(|repo| repo.name == name)
                .map_or(links::RepoId(0), |repo| repo.id),
        ),
    };
    let filter = Filter {
        state: filters.state(),
        repo,
        event: (!filters.event.is_empty()).then(|| filters.event.clone()),
    };
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut lines = store::list(conn, org, &filter, from, limit)?;
    let mut counts = Vec::new();
    for state in [
        DeliveryState::Ready,
        DeliveryState::Done,
        DeliveryState::Dead,
    ] {
        counts.push((state, store::count(conn, org, state)?));
    }
    let more = lines.len() > PAGE;
    lines.truncate(PAGE);
    let (has_newer, has_older) = match from {
        From::Newest => (false, more),
        From::Below(_) => (true, more),
        From::Above(_) => {
            lines.reverse();
            (more, true)
        }
    };
    Ok(Found {
        repos,
        lines,
        counts,
        has_newer,
        has_older,
    })
}

fn tabs(counts: &[(DeliveryState, i64)], shown: Option<DeliveryState>) -> Vec<Value> {
    let mut tabs =
        vec![json!({"label": "All", "count": null, "href": "?", "active": shown.is_none()})];
    tabs.extend(counts.iter().map(|(tab, count)| {
        let word = label(*tab);
        let title: String = word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
        json!({"label": title, "count": count, "href": format!("?state={word}"), "active": shown == Some(*tab)})
    }));
    tabs
}

fn name_of<'a>(repos: &'a [Repo], line: &Line) -> Option<&'a str> {
    repos
        .iter()
        .find(|repo| repo.id == line.repo_id)
        .map(|repo| repo.name.as_str())
}

fn shell<R>(
    app: &App,
    req: &HttpRequest,
    title: &str,
    access: &OrgAccess<R>,
    signed_in: &SignedIn,
) -> Shell {
    Shell::of_org(app, req, title, "deliveries", &access.org, signed_in)
}

/// One delivery with its attempts and its body.
///
/// # Errors
/// 404 when it is not of this organization.
pub async fn detail(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, DeliveryId)>,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let (org, id) = (access.org.id, path.1);
    let (found, failed, repo) = app
        .db
        .read(move |conn| {
            let found = store::find(conn, org, id)?.ok_or_else(AppError::not_found)?;
            let failed = store::failed_attempts(conn, id)?;
            let repo = links::find_repo(conn, org, found.line.repo_id)?;
            Ok::<_, AppError>((found, failed, repo))
        })
        .await?;
    let line = &found.line;
    let bytes = body::unpack(&found.body, BODY_LIMIT);
    let mut delivery = part(
        line,
        repo.as_ref().map(|repo| repo.name.as_str()),
        access.may(Scope::OrgIntegrations),
        bytes.is_some(),
    );
    if let Some(fields) = delivery.as_object_mut() {
        fields.insert(
            "size".into(),
            json!(bytes.as_ref().map_or(0, |bytes| bytes.len())),
        );
    }
    let mut attempts: Vec<Value> = failed
        .iter()
        .map(|run| json!({"at": run.at, "result": "failed", "took_ms": run.took_ms, "error": run.error}))
        .collect();
    if let (DeliveryState::Done, Some(at)) = (line.state, line.finished_at) {
        attempts.push(json!({"at": at, "result": "done", "took_ms": line.took_ms.unwrap_or(0), "error": null}));
    }
    let lines = outcome(line)
        .map(|outcome| outcome.lines)
        .unwrap_or_default();
    let request_uuid = uuid::Uuid::from_slice(&found.request_uuid)
        .map(|uuid| uuid.to_string())
        .unwrap_or_default();
    let (text, cut) = bytes.map_or((None, false), |bytes| {
        let (text, cut) = pretty(&bytes);
        (Some(text), cut)
    });
    let content = json!({
        "delivery": delivery,
        "outcome": lines,
        "attempts": attempts,
        "headers": [
            {"name": "X-Event-Key", "value": line.event_key},
            {"name": "X-Request-UUID", "value": request_uuid},
            {"name": "X-Attempt-Number", "value": found.attempt_no.to_string()},
            {"name": "X-Hub-Signature", "value": "valid (the value is not kept)"},
        ],
        "body": text,
        "body_cut": cut,
        "retention_days": app.config.deliveries.as_secs() / 86_400,
    });
    shell(&app, &req, &format!("Delivery {id}"), &access, &signed_in).page(
        &app,
        "deliveries/detail.html",
        content,
    )
}

/// The body indented for reading, and whether only its beginning is shown.
fn pretty(bytes: &[u8]) -> (String, bool) {
    let mut text = serde_json::from_slice::<Value>(bytes)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned());
    let cut = text.len() > SHOWN;
    crate::sentry::text::cut_bytes(&mut text, SHOWN);
    (text, cut)
}

/// Works on a delivery again. Safe for one that succeeded: everything it writes is written once.
///
/// # Errors
/// 404 when it is not of this organization, or its body is gone, or it has not ended yet.
pub async fn replay(
    app: web::Data<App>,
    path: web::Path<(String, DeliveryId)>,
    access: OrgAccess<need::Integrations>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (org, id, actor, now) = (access.org.id, path.1, access.caller.name(), app.clock.now());
    app.db
        .write(move |tx| {
            if !store::replay(tx, org, id, now)? {
                return Err(AppError::not_found());
            }
            audit::record(
                tx,
                Some(org),
                &actor,
                "deliveries.replay",
                &id.to_string(),
                &json!({}),
                now,
            )?;
            Ok(())
        })
        .await?;
    let to = format!("/o/{}/deliveries/{id}/", access.org.slug);
    Ok(redirect_with(
        &app,
        &to,
        &Flash::ok(format!("Delivery {id} is waiting to be processed again.")),
    ))
}
