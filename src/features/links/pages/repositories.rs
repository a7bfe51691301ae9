//! The page of all linked repositories.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{by_repo, can_manage, ids, repo_part, shell};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgAccess, SignedIn, need};
use crate::features::links::LinkId;
use crate::features::links::store::{self, Repo, RepoFilter};
use crate::kit::web::cursor::{Edge, PageRequest};

/// Repositories on one page.
const PAGE: &str = "50";

/// Query of the list of repositories.
#[derive(Debug, Default, Deserialize)]
pub struct Filters {
    #[serde(default)]
    query: String,
    #[serde(default)]
    health: String,
    cursor: Option<String>,
}

impl Filters {
    fn rows(&self) -> RepoFilter {
        let query = self.query.trim();
        RepoFilter {
            query: (!query.is_empty()).then(|| query.to_owned()),
            linked: true,
            healthy: match self.health.as_str() {
                "active" => Some(true),
                "problem" => Some(false),
                _ => None,
            },
            ..RepoFilter::default()
        }
    }

    /// The address of the page beside, if there is something on it.
    fn href(&self, edge: Edge) -> Option<String> {
        let kept: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("query", &self.query)
            .append_pair("health", &self.health)
            .append_pair("cursor", &edge.cursor.to_string())
            .finish();
        edge.has_results.then(|| format!("?{kept}"))
    }
}

/// All linked repositories of the organization.
///
/// # Errors
/// 400 for a cursor that is none, 404 for another tenant's organization.
pub async fn repositories(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
    query: web::Query<Filters>,
) -> AppResult<HttpResponse> {
    let (org, filters) = (access.org.id, query.into_inner());
    let request = PageRequest::from_query(filters.cursor.as_deref(), Some(PAGE))
        .map_err(|error| AppError::invalid(error.to_string()))?;
    let (filter, offset, limit) = (filters.rows(), request.sql_offset(), request.sql_limit());
    let (rows, hooks, links) = app
        .db
        .read(move |conn| {
            let rows = store::list_repos(conn, org, &filter, offset, limit)?;
            let hooks = store::hooks_of(conn, org, &ids(&rows))?;
            Ok::<_, AppError>((rows, by_repo(hooks), store::list_links(conn, org)?))
        })
        .await?;
    let names: HashMap<LinkId, &str> = links
        .iter()
        .map(|link| (link.id, link.name.as_str()))
        .collect();
    let page = request.offset_page(rows);
    let row = |repo: &Repo| -> Value {
        let link = repo.link_id.and_then(|link| names.get(&link).copied());
        json!(repo_part(repo, hooks.get(&repo.id), link))
    };
    let content = json!({
        "repos": page.rows.iter().map(row).collect::<Vec<_>>(),
        "filters": { "query": filters.query, "health": filters.health },
        "health_options": [
            { "value": "", "label": "All" },
            { "value": "active", "label": "Active" },
            { "value": "problem", "label": "Needs repair" },
        ],
        "paging": { "prev": filters.href(page.previous), "next": filters.href(page.next) },
        "can_manage": can_manage(&access),
    });
    shell(&app, &req, "Repositories", "repos", &access, &signed_in).page(
        &app,
        "links/repos.html",
        content,
    )
}
