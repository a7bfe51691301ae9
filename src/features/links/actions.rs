//! What the buttons and forms of the console's pages do.

use actix_web::{HttpResponse, web};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::bulk::{self, Wish};
use super::connecting::day;
use super::repos::{self, HookStart};
use super::store::{self, Repo};
use super::{
    CredentialKind, LinkError, LinkId, RepoId, disconnect, named, probe, repair_hook,
    rotate_secret, sign_by,
};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{CsrfForm, Flash, Nothing, OrgAccess, OrgId, need, redirect_with};

/// So many are added while the person waits; more become a job with a page of its own.
const ADD_AT_ONCE: usize = 20;
/// Of these so many at the same time.
const ADD_PARALLEL: usize = 4;

/// Form of the found repositories.
#[derive(Debug, Deserialize)]
pub struct AddForm {
    #[serde(default)]
    repos: Vec<String>,
    /// The search that showed them.
    #[serde(default)]
    search: String,
    /// Not empty: everything that the search finds.
    #[serde(default)]
    all: String,
}

/// Adds the chosen repositories: a few at once, many by a job.
///
/// # Errors
/// 404 for another tenant's connection.
pub async fn add(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<AddForm>,
) -> AppResult<HttpResponse> {
    let (org, link, actor) = (access.org.id, LinkId(path.1), access.caller.name());
    let (chosen, all) = (form.0.repos, !form.0.all.is_empty());
    if all || chosen.len() > ADD_AT_ONCE {
        let wish = Wish {
            picks: chosen,
            search: form.0.search,
            all,
        };
        let bulk = bulk::add_many(&app, org, link, wish, &actor).await?;
        let to = format!("/o/{}/connections/{link}/adding/{bulk}/", access.org.slug);
        let flash = Flash::ok("The repositories are being added.");
        return Ok(redirect_with(&app, &to, &flash));
    }
    app.db
        .read(move |conn| store::find_link(conn, org, link)?.ok_or_else(AppError::not_found))
        .await?;
    let results: Vec<(String, Result<Repo, LinkError>)> = stream::iter(chosen)
        .map(|name| {
            let (app, actor) = (App::clone(&app), actor.clone());
            async move {
                let added =
                    repos::add_repository(&app, org, link, &name, &actor, HookStart::Now).await;
                (name, added)
            }
        })
        .buffered(ADD_PARALLEL)
        .collect()
        .await;
    let back = format!("/o/{}/connections/{link}/", access.org.slug);
    Ok(redirect_with(&app, &back, &summary(&results)))
}

fn summary(results: &[(String, Result<Repo, LinkError>)]) -> Flash {
    let added = results
        .iter()
        .filter(|(_, result)| matches!(result, Ok(_) | Err(LinkError::Exists)))
        .count();
    let failed = results.iter().find_map(|(name, result)| match result {
        Err(error) if !matches!(error, LinkError::Exists) => Some((name, error)),
        _ => None,
    });
    let word = if added == 1 {
        "repository"
    } else {
        "repositories"
    };
    match failed {
        None if added == 0 => Flash::warn("Choose at least one repository."),
        None => Flash::ok(format!(
            "{added} {word} added. The webhooks are being set up."
        )),
        Some((name, error)) => {
            let text = format!(
                "{added} {word} added, {} not. {name}: {error}",
                results.len() - added
            );
            if added == 0 {
                Flash::error(text)
            } else {
                Flash::warn(text)
            }
        }
    }
}

/// Form of a button in a repository's row.
#[derive(Debug, Deserialize)]
pub struct RowForm {
    #[serde(default)]
    back: String,
}

/// Only a page of this organization: the form's field must not send a person elsewhere.
fn back_to(slug: &str, link: LinkId, back: &str) -> String {
    let own = format!("/o/{slug}/");
    let safe = back.starts_with(&own) && !back.contains(['\\', '\r', '\n']);
    if safe {
        back.to_owned()
    } else {
        format!("{own}connections/{link}/")
    }
}

/// Where the row's form came from, with what became of it.
fn row_done(app: &App, slug: &str, link: LinkId, form: &RowForm, flash: &Flash) -> HttpResponse {
    redirect_with(app, &back_to(slug, link, &form.back), flash)
}

/// Registers the hook of a repository again.
///
/// # Errors
/// 404 for another tenant's repository, 409 for one that is not in use.
pub async fn repair(
    app: web::Data<App>,
    path: web::Path<(String, i64, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<RowForm>,
) -> AppResult<HttpResponse> {
    let (link, id) = require_row(&app, access.org.id, &path).await?;
    let repo = repair_hook(&app, access.org.id, id, &access.caller.name()).await?;
    let flash = Flash::ok(format!(
        "The webhook of {} is being set up again.",
        repo.name
    ));
    Ok(row_done(&app, &access.org.slug, link, &form.0, &flash))
}

/// Makes a new secret for the hook of a repository.
///
/// # Errors
/// 404 for another tenant's repository, 409 when its hook is not registered.
pub async fn rotate(
    app: web::Data<App>,
    path: web::Path<(String, i64, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<RowForm>,
) -> AppResult<HttpResponse> {
    let (link, id) = require_row(&app, access.org.id, &path).await?;
    let repo = rotate_secret(&app, access.org.id, id, &access.caller.name()).await?;
    let flash = Flash::ok(format!(
        "The webhook of {} gets a new secret; the old one is good for another hour.",
        repo.name
    ));
    Ok(row_done(&app, &access.org.slug, link, &form.0, &flash))
}

/// Removes a repository from use.
///
/// # Errors
/// 404 for another tenant's repository.
pub async fn remove(
    app: web::Data<App>,
    path: web::Path<(String, i64, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<RowForm>,
) -> AppResult<HttpResponse> {
    let (link, id) = require_row(&app, access.org.id, &path).await?;
    let repo = repos::remove_repository(&app, access.org.id, id, &access.caller.name()).await?;
    let flash = Flash::ok(format!(
        "{} is removed. Its commits and tickets stay.",
        repo.name
    ));
    Ok(row_done(&app, &access.org.slug, link, &form.0, &flash))
}

/// The repository of the path, if it belongs to the connection of the path.
async fn require_row(
    app: &App,
    org: OrgId,
    path: &(String, i64, i64),
) -> AppResult<(LinkId, RepoId)> {
    let (link, id) = (LinkId(path.1), RepoId(path.2));
    let repo = app
        .db
        .read(move |conn| store::find_repo(conn, org, id)?.ok_or_else(AppError::not_found))
        .await?;
    if repo.link_id == Some(link) {
        Ok((link, id))
    } else {
        Err(AppError::not_found())
    }
}

/// Disconnects a workspace from the organization.
///
/// # Errors
/// 404 for another tenant's connection.
pub async fn disconnect_submit(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    disconnect(&app, access.org.id, LinkId(path.1), &access.caller.name()).await?;
    let flash = Flash::ok("The workspace is disconnected. Its webhooks are being removed.");
    Ok(redirect_with(
        &app,
        &format!("/o/{}/connections/", access.org.slug),
        &flash,
    ))
}

/// Form of the test button.
#[derive(Debug, Deserialize)]
pub struct TestForm {
    /// Repository for the write probe; empty reads only.
    #[serde(default)]
    repo: String,
}

/// `POST …/connections/{link}/test/`.
///
/// # Errors
/// 404 for another tenant's connection or repository, 409 for one without a credential.
pub async fn test(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<TestForm>,
) -> AppResult<HttpResponse> {
    let (org, id, person) = (access.org.id, LinkId(path.1), access.caller.user_id());
    let repo = match form.0.repo.trim() {
        "" => None,
        text => Some(text.parse::<RepoId>().map_err(|_| AppError::not_found())?),
    };
    let report = probe::test_connection(&app, org, id, person, repo).await?;
    let flash = if report.ok {
        Flash::ok("The connection works.")
    } else {
        Flash::error(report.why())
    };
    let to = format!("/o/{}/connections/{id}/", access.org.slug);
    Ok(redirect_with(&app, &to, &flash))
}

/// Form of how an installation proves itself.
#[derive(Debug, Deserialize)]
pub struct SignForm {
    #[serde(default)]
    kind: String,
}

/// `POST …/connections/{link}/signing/`: each call is signed, or access tokens are used.
///
/// # Errors
/// 404 for another tenant's connection, 409 for one that is no installation.
pub async fn signing(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<SignForm>,
) -> AppResult<HttpResponse> {
    let id = LinkId(path.1);
    let kind = CredentialKind::parse(&form.0.kind).ok_or_else(AppError::not_found)?;
    let flash = match sign_by(&app, access.org.id, id, kind, &access.caller.name()).await {
        Ok(()) => Flash::ok("Saved. Calls are made in the other way from now on."),
        Err(LinkError::Upstream(error)) => Flash::error(LinkError::Upstream(error).to_string()),
        Err(LinkError::Invalid(text)) => Flash::error(text),
        Err(error) => return Err(error.into()),
    };
    let to = format!("/o/{}/connections/{id}/", access.org.slug);
    Ok(redirect_with(&app, &to, &flash))
}

/// Form of what a connection is called.
#[derive(Debug, Deserialize)]
pub struct DescribeForm {
    #[serde(default)]
    label: String,
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    expires_on: String,
}

/// `POST …/connections/{link}/edit/`.
///
/// # Errors
/// 404 for another tenant's connection.
pub async fn describe(
    app: web::Data<App>,
    path: web::Path<(String, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<DescribeForm>,
) -> AppResult<HttpResponse> {
    let (org, id, person) = (access.org.id, LinkId(path.1), access.caller.user_id());
    let texts = (
        form.0.label.trim().to_owned(),
        form.0.purpose.trim().to_owned(),
    );
    let changed = match day(&form.0.expires_on) {
        Ok(expires_at) => {
            named::describe(
                &app,
                org,
                id,
                person,
                texts,
                expires_at,
                &access.caller.name(),
            )
            .await
        }
        Err(_) => Err(AppError::invalid(
            "The expiry must be a date, as 2027-01-31.",
        )),
    };
    let flash = match changed {
        Ok(()) => Flash::ok("Saved."),
        Err(error) if error.code() == "invalid" => Flash::error(error.detail().to_owned()),
        Err(error) => return Err(error),
    };
    let to = format!("/o/{}/connections/{id}/", access.org.slug);
    Ok(redirect_with(&app, &to, &flash))
}

/// Form of the move of a repository.
#[derive(Debug, Deserialize)]
pub struct MoveForm {
    #[serde(default)]
    to: String,
}

/// `POST …/connections/{link}/repos/{repo}/move/`: puts a repository under another connection.
///
/// # Errors
/// 404 for another tenant's repository or connection, 400 when that connection does not reach the repository.
pub async fn move_repo(
    app: web::Data<App>,
    path: web::Path<(String, i64, i64)>,
    access: OrgAccess<need::Integrations>,
    form: CsrfForm<MoveForm>,
) -> AppResult<HttpResponse> {
    let (org, from, id) = (access.org.id, LinkId(path.1), RepoId(path.2));
    let to: LinkId = form.0.to.parse().map_err(|_| AppError::not_found())?;
    let repo = app
        .db
        .read(move |conn| {
            store::find_link(conn, org, to)?.ok_or_else(AppError::not_found)?;
            store::find_repo(conn, org, id)?
                .filter(|repo| repo.link_id == Some(from))
                .ok_or_else(AppError::not_found)
        })
        .await?;
    let flash = match repos::relink(&app, org, &repo, to, &access.caller.name()).await {
        Ok(()) => Flash::ok(format!(
            "{} is served by the other connection now.",
            repo.name
        )),
        Err(LinkError::App(error)) => return Err(error),
        Err(LinkError::NotFound) => return Err(AppError::not_found()),
        Err(error) => Flash::error(format!("{} was not moved: {error}", repo.name)),
    };
    let back = format!("/o/{}/connections/{to}/", access.org.slug);
    Ok(redirect_with(&app, &back, &flash))
}
