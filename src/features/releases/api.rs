//! Sentry's API of commits.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::store;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgAccess, need};
use crate::features::links::{self, RepoId};
use crate::kit::web::cursor::PageRequest;

/// Where a page begins and how long it is.
#[derive(Debug, Deserialize)]
pub struct PageQuery {
    cursor: Option<String>,
    per_page: Option<String>,
}

/// `GET /api/0/organizations/{org}/repos/{repo}/commits/`: newest first, cursor pages (sentry.md §4.5).
///
/// # Errors
/// 404 for a repository that is not of this organization, 400 for a broken cursor.
pub async fn repo_commits(
    app: web::Data<App>,
    req: HttpRequest,
    access: OrgAccess<need::OrgRead>,
    path: web::Path<(String, String)>,
    query: web::Query<PageQuery>,
) -> AppResult<HttpResponse> {
    let id: RepoId = path.1.parse().map_err(|_| AppError::not_found())?;
    let page = PageRequest::from_query(query.cursor.as_deref(), query.per_page.as_deref())
        .map_err(|_| AppError::invalid("Invalid cursor parameter."))?;
    let org = access.org.id;
    let (repo, rows) = app
        .db
        .read(move |conn| {
            let repo = links::find_repo(conn, org, id)?.ok_or_else(AppError::not_found)?;
            let rows = store::list(conn, org, id, page.key_range(), page.sql_limit())?;
            Ok::<_, AppError>((repo, rows))
        })
        .await?;
    let repository = links::repository_object(&repo);
    let page = page.keyed_page(rows, |commit| commit.id.0).map(|commit| {
        json!({
            "id": commit.hash,
            "message": commit.message,
            "dateCreated": commit.committed_at.to_rfc3339(),
            "repository": repository,
            "author": author(&commit),
            "pullRequest": null,
            "suspectCommitType": "",
        })
    });
    let link = page.link_header(&app.config.absolute(req.path()), req.query_string());
    Ok(HttpResponse::Ok()
        .insert_header((header::LINK, link))
        .json(page.rows))
}

/// `{name, email}` as far as they are known, or `{}`.
fn author(commit: &store::Commit) -> Map<String, Value> {
    let mut author = Map::new();
    for (key, value) in [
        ("name", &commit.author_name),
        ("email", &commit.author_email),
    ] {
        if let Some(value) = value {
            author.insert(key.to_owned(), json!(value));
        }
    }
    author
}
