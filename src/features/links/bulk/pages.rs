//! The page that shows how far it is.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::{part, retry};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{
    CsrfForm, Flash, Nothing, OrgAccess, Scope, Shell, SignedIn, need, redirect_with,
};
use crate::features::links::{BulkId, HookState, LinkId, store};

/// Failures on the page; the rest is counted.
const SHOWN: i64 = 100;

/// `GET …/connections/{link}/adding/{bulk}/`: progress, and each failure with its reason.
///
/// # Errors
/// 404 for another tenant's.
pub async fn progress(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, i64, i64)>,
    access: OrgAccess<need::OrgRead>,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    let (org, link, id) = (access.org.id, LinkId(path.1), BulkId(path.2));
    let (link, bulk, failed, hooks) = app
        .db
        .read(move |conn| {
            let found = store::find_link(conn, org, link)?.ok_or_else(AppError::not_found)?;
            let bulk = store::find_bulk(conn, org, id)?
                .filter(|bulk| bulk.link_id == link)
                .ok_or_else(AppError::not_found)?;
            let failed = store::failed_items(conn, id, SHOWN)?;
            let hooks = store::count_hooks(conn, org, link)?;
            Ok::<_, AppError>((found, bulk, failed, hooks))
        })
        .await?;
    let hooks: HashMap<HookState, i64> = hooks.into_iter().collect();
    let failed: Vec<Value> = failed
        .iter()
        .map(|item| json!({ "name": item.name, "reason": item.reason }))
        .collect();
    let content = json!({
        "connection": { "id": link.id.to_string(), "title": link.title() },
        "bulk": part(&bulk, &hooks),
        "failures": failed,
        "can_manage": access.may(Scope::OrgIntegrations) || access.may(Scope::OrgWrite),
    });
    Shell::of_org(
        &app,
        &req,
        "Adding repositories",
        "connections",
        &access.org,
        &signed_in,
    )
    .page(&app, "links/adding.html", content)
}

/// `POST …/connections/{link}/adding/{bulk}/retry/`: tries what failed again, and goes on with what was stopped.
///
/// # Errors
/// 404 for another tenant's.
pub async fn try_again(
    app: web::Data<App>,
    path: web::Path<(String, i64, i64)>,
    access: OrgAccess<need::Integrations>,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (link, id) = (LinkId(path.1), BulkId(path.2));
    retry(&app, access.org.id, link, id).await?;
    let to = format!("/o/{}/connections/{link}/adding/{id}/", access.org.slug);
    Ok(redirect_with(&app, &to, &Flash::ok("Trying again.")))
}
