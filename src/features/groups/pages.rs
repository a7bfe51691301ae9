//! Pages of errors: the list, and the forms of the list and of one error. The page of one error is composed by the
//! tickets feature from [`super::detail_view`] and its own panel.

use std::collections::HashMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::{Params, change_all, search};
use super::query::{DEFAULT_QUERY, Search, Sort};
use super::view::{GroupRow, ProjectPart, TicketBadge};
use super::wire::{Around, NewStatus};
use super::{Actor, EventRow, GroupAccess, GroupId, GroupStatus, Pick, api, store};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    self, CsrfForm, Flash, Org, OrgAccess, OrgId, Project, Shell, SignedIn, UserId, need,
    redirect_with,
};
use crate::kit::db::Conn;
use crate::kit::web::cursor::{Edge, PageRequest};

/// Errors on one page.
const PER_PAGE: &str = "25";

/// Finds the tickets of groups for the list; the tickets feature has one.
pub type Badges = fn(&mut Conn, OrgId, &[GroupId]) -> AppResult<HashMap<GroupId, Vec<TicketBadge>>>;

#[derive(Serialize)]
struct ListPage {
    start: Option<Start>,
    filters: Filters,
    query_error: Option<String>,
    projects: Vec<ProjectPart>,
    tabs: Vec<Tab>,
    sorts: [SortOption; 4],
    groups: Vec<GroupRow>,
    paging: Paging,
}

/// What a list without any error says instead.
#[derive(Serialize)]
struct Start {
    title: String,
    project: Option<StartProject>,
}

#[derive(Serialize)]
struct StartProject {
    slug: String,
    name: String,
    platform: String,
    dsn: String,
}

#[derive(Clone, Serialize)]
struct Filters {
    query: String,
    project: String,
    sort: &'static str,
    back: String,
}

#[derive(Serialize)]
struct Tab {
    label: &'static str,
    count: Option<i64>,
    href: String,
    active: bool,
}

#[derive(Serialize)]
struct SortOption {
    value: &'static str,
    label: &'static str,
}

#[derive(Default, Serialize)]
struct Paging {
    prev: Option<String>,
    next: Option<String>,
}

const SORTS: [SortOption; 4] = [
    SortOption {
        value: "date",
        label: "Last seen",
    },
    SortOption {
        value: "new",
        label: "First seen",
    },
    SortOption {
        value: "freq",
        label: "Events",
    },
    SortOption {
        value: "user",
        label: "Users",
    },
];

impl Filters {
    fn of(req: &HttpRequest, org: &Org, params: &Params) -> Self {
        let path = format!("/o/{}/errors/", org.slug);
        let back = match req.query_string() {
            "" => path,
            query => format!("{path}?{query}"),
        };
        Self {
            query: params.get("query").unwrap_or(DEFAULT_QUERY).to_owned(),
            project: params.get("project").unwrap_or_default().to_owned(),
            sort: Sort::parse(params.get("sort").unwrap_or_default())
                .unwrap_or_default()
                .as_str(),
            back,
        }
    }

    /// The address of a list like this one.
    fn href(&self, query: &str, cursor: Option<&Edge>) -> String {
        let mut href = url::form_urlencoded::Serializer::new("?".to_owned());
        href.append_pair("query", query);
        if !self.project.is_empty() {
            href.append_pair("project", &self.project);
        }
        if self.sort != Sort::default().as_str() {
            href.append_pair("sort", self.sort);
        }
        let mut href = href.finish();
        if let Some(edge) = cursor {
            href.push_str(&format!("&cursor={}", edge.cursor));
        }
        // The serializer puts a separator after what was there before.
        href.replacen("?&", "?", 1)
    }

    fn tabs(&self, counts: &HashMap<GroupStatus, i64>, shown: Option<GroupStatus>) -> Vec<Tab> {
        let tab = |label, status: Option<GroupStatus>| Tab {
            label,
            count: status.map(|status| counts.get(&status).copied().unwrap_or_default()),
            href: self.href(
                &status
                    .map(|status| format!("is:{status}"))
                    .unwrap_or_default(),
                None,
            ),
            active: shown == status,
        };
        vec![
            tab("Unresolved", Some(GroupStatus::Unresolved)),
            tab("Resolved", Some(GroupStatus::Resolved)),
            tab("Ignored", Some(GroupStatus::Ignored)),
            tab("All", None),
        ]
    }
}

/// `GET /o/{org}/errors/`: the list without tickets.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn list(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::EventRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    list_with(&app, &req, access, &signed_in, |_, _, _| Ok(HashMap::new())).await
}

/// The list, with the tickets that `badges` finds.
///
/// # Errors
/// 404 for another tenant's organization.
pub async fn list_with(
    app: &App,
    req: &HttpRequest,
    access: OrgAccess<need::EventRead>,
    signed_in: &SignedIn,
    badges: Badges,
) -> AppResult<HttpResponse> {
    let params = Params::of(req);
    let filters = Filters::of(req, &access.org, &params);
    let page = PageRequest::from_query(params.get("cursor"), Some(PER_PAGE))
        .map_err(|_| AppError::invalid("This address has a cursor that leads nowhere."))?;
    let (state, org, me) = (app.clone(), access.org.clone(), access.caller.user_id());
    let page = app
        .db
        .read(move |conn| read_list(conn, &state, &org, me, &params, filters, page, badges))
        .await?;
    let shell = Shell::of_org(app, req, "Errors", "errors", &access.org, signed_in);
    let status = if page.query_error.is_some() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    shell.page_with_status(app, status, "groups/list.html", page)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one request")]
fn read_list(
    conn: &mut Conn,
    app: &App,
    org: &Org,
    me: Option<UserId>,
    params: &Params,
    filters: Filters,
    page: PageRequest,
    badges: Badges,
) -> AppResult<ListPage> {
    let projects = accounts::list_projects(conn, org.id)?;
    let chosen = projects
        .iter()
        .find(|project| project.slug == filters.project);
    let counts = store::count_by_status(conn, org.id, chosen.map(|project| project.id))?;
    let start = start(conn, app, org, chosen.or(projects.first()), &counts)?;
    let (search, query_error) = match search(conn, org.id, me, params, &filters.query, None) {
        Ok(search) => (search, None),
        Err(error) if error.code() == "internal" || error.code() == "unavailable" => {
            return Err(error);
        }
        Err(error) => (Search::default(), Some(error.detail().to_owned())),
    };
    let (groups, paging) = if start.is_none() && query_error.is_none() {
        read_groups(conn, app, org, &search, &filters, page, badges)?
    } else {
        (Vec::new(), Paging::default())
    };
    // A query that was refused belongs to no tab; the first one is where people come from.
    let shown = if query_error.is_some() {
        Some(GroupStatus::Unresolved)
    } else {
        search.status
    };
    let tabs = if start.is_some() {
        Vec::new()
    } else {
        filters.tabs(&counts, shown)
    };
    Ok(ListPage {
        start,
        query_error,
        projects: projects.iter().map(ProjectPart::new).collect(),
        tabs,
        sorts: SORTS,
        groups,
        paging,
        filters,
    })
}

/// What stands in the place of the list where nothing has come yet.
fn start(
    conn: &mut Conn,
    app: &App,
    org: &Org,
    project: Option<&Project>,
    counts: &HashMap<GroupStatus, i64>,
) -> AppResult<Option<Start>> {
    let empty = counts.keys().all(|status| *status == GroupStatus::Deleting);
    Ok(match project {
        None => Some(Start {
            title: format!("Welcome to {}", org.name),
            project: None,
        }),
        Some(project) if empty => Some(Start {
            title: "Waiting for the first error".to_owned(),
            project: Some(start_project(conn, app, org.id, project)?),
        }),
        Some(_) => None,
    })
}

/// One page of the list, and where the pages beside it are.
fn read_groups(
    conn: &mut Conn,
    app: &App,
    org: &Org,
    search: &Search,
    filters: &Filters,
    page: PageRequest,
    badges: Badges,
) -> AppResult<(Vec<GroupRow>, Paging)> {
    let sort = Sort::parse(filters.sort).unwrap_or_default();
    let (offset, limit) = (page.sql_offset(), page.sql_limit());
    let rows = store::list(conn, org.id, search, sort, offset, limit)?;
    let page = page.offset_page(rows);
    let around = Around::load(conn, app, org, &page.rows, &[])?;
    let ids: Vec<_> = page.rows.iter().map(|group| group.id).collect();
    let mut tickets = badges(conn, org.id, &ids)?;
    let mut groups = Vec::new();
    for group in &page.rows {
        let tickets = tickets.remove(&group.id).unwrap_or_default();
        let (project, day) = (around.project(group)?, around.day(group.id));
        groups.push(GroupRow::new(group, project, day, tickets));
    }
    let href = |edge: &Edge| {
        edge.has_results
            .then(|| filters.href(&filters.query, Some(edge)))
    };
    let paging = Paging {
        prev: href(&page.previous),
        next: href(&page.next),
    };
    Ok((groups, paging))
}

fn start_project(
    conn: &mut Conn,
    app: &App,
    org: OrgId,
    project: &Project,
) -> AppResult<StartProject> {
    let keys = accounts::list_keys(conn, org)?;
    let key = keys
        .iter()
        .find(|key| key.project_id == project.id && key.active);
    Ok(StartProject {
        slug: project.slug.clone(),
        name: project.name.clone(),
        platform: project.platform.clone(),
        dsn: key
            .map(|key| accounts::dsn(&app.config.public_url, key))
            .unwrap_or_default(),
    })
}

/// The form around the list.
#[derive(Debug, Deserialize)]
pub struct Bulk {
    #[serde(default)]
    ids: Vec<GroupId>,
    action: String,
    #[serde(default)]
    back: String,
}

/// `POST /o/{org}/errors/bulk/`: resolves, ignores or opens the chosen errors.
///
/// # Errors
/// 400 for an action that is not there.
pub async fn bulk(
    app: web::Data<App>,
    access: OrgAccess<need::EventWrite>,
    form: CsrfForm<Bulk>,
) -> AppResult<HttpResponse> {
    let Bulk { ids, action, back } = form.0;
    let (status, word) = match action.as_str() {
        "resolve" => (NewStatus::Resolved, "resolved"),
        "ignore" => (NewStatus::Ignored, "ignored"),
        "unresolve" => (NewStatus::Unresolved, "reopened"),
        _ => return Err(AppError::invalid("This action is not known.")),
    };
    let home = format!("/o/{}/errors/", access.org.slug);
    // Only our own list: the field could be anything.
    let to = if back == home || back.starts_with(&format!("{home}?")) {
        back
    } else {
        home
    };
    if ids.is_empty() {
        return Ok(redirect_with(
            &app,
            &to,
            &Flash::warn("No error was chosen."),
        ));
    }
    let search = Search {
        ids,
        ..Search::default()
    };
    let update = api::Update::status(Actor::of(&access.caller), status);
    let found = change_all(&app, access.org.id, search, &update).await?;
    let noun = if found == 1 { "error" } else { "errors" };
    Ok(redirect_with(
        &app,
        &to,
        &Flash::ok(format!("{found} {noun} {word}.")),
    ))
}

/// The buttons of an error's page.
#[derive(Debug, Deserialize)]
pub struct StatusForm {
    status: String,
}

fn page_of<R>(access: &GroupAccess<R>) -> String {
    format!("/o/{}/errors/{}/", access.org.slug, access.group.id)
}

/// `POST /o/{org}/errors/{issue}/status/`: resolves, ignores or opens one error.
///
/// # Errors
/// 400 for a status that is not there, 404.
pub async fn set_status(
    app: web::Data<App>,
    access: GroupAccess<need::EventWrite>,
    form: CsrfForm<StatusForm>,
) -> AppResult<HttpResponse> {
    let status = NewStatus::parse(&form.0.status)
        .ok_or_else(|| AppError::invalid("This status is not known."))?;
    let update = api::Update::status(Actor::of(&access.caller), status);
    let search = Search {
        ids: vec![access.group.id],
        ..Search::default()
    };
    change_all(&app, access.org.id, search, &update).await?;
    let text = match status.status() {
        GroupStatus::Resolved => "Resolved. It opens again if it comes back.",
        GroupStatus::Ignored => "Ignored. New events are counted and open nothing.",
        GroupStatus::Unresolved | GroupStatus::Deleting => "Reopened.",
    };
    Ok(redirect_with(&app, &page_of(&access), &Flash::ok(text)))
}

/// The form for a note.
#[derive(Debug, Deserialize)]
pub struct NoteText {
    #[serde(default)]
    text: String,
}

/// `POST /o/{org}/errors/{issue}/notes/`: writes a note.
///
/// # Errors
/// 404.
pub async fn add_note(
    app: web::Data<App>,
    access: GroupAccess<need::EventWrite>,
    form: CsrfForm<NoteText>,
) -> AppResult<HttpResponse> {
    let (org, group, now) = (access.org.id, access.group.id, app.clock.now());
    let (actor, text) = (Actor::of(&access.caller), form.0.text);
    let outcome = app
        .db
        .write(move |tx| super::add_note(tx, org, group, &actor, &text, now))
        .await;
    let flash = match outcome {
        Ok(_) => Flash::ok("Note added."),
        Err(error) if error.code() == "invalid" => Flash::error(error.detail()),
        Err(error) => return Err(error),
    };
    Ok(redirect_with(&app, &page_of(&access), &flash))
}

/// `GET /o/{org}/errors/{issue}/events/{event}/json/`: an event as it came.
///
/// # Errors
/// 404.
pub async fn event_json(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    let row: EventRow = req
        .match_info()
        .get("event")
        .and_then(|row| row.parse().ok())
        .ok_or_else(AppError::not_found)?;
    let group = access.group;
    let stored = app
        .db
        .read(move |conn| store::event_of(conn, &group, Pick::Row(row)))
        .await?;
    let stored = stored.ok_or_else(AppError::not_found)?;
    // Nested too deep for a tree of ours: shown as it is.
    let pretty = serde_json::from_str::<Value>(&stored.text)
        .and_then(|json| serde_json::to_string_pretty(&json));
    let text = pretty.unwrap_or(stored.text);
    Ok(HttpResponse::Ok()
        .content_type("application/json; charset=utf-8")
        .body(text))
}

/// `GET /organizations/{org}/issues/{issue}/`: the address that tickets and API answers carry.
///
/// # Errors
/// 404.
pub async fn permalink(access: GroupAccess<need::EventRead>) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, page_of(&access)))
        .finish()
}
