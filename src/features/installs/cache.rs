//! Live installations with their secret opened, kept for a moment: a signed request then needs no database.

use std::sync::Arc;

use super::lifecycle::{SignedRequest, TokenRefused};
use super::store::{self, Installation};
use crate::app::App;
use crate::atlassian::jwt;
use crate::error::{AppError, AppResult};
use crate::kit::cache::FreshCache;
use crate::kit::crypto::Secret;

/// A live installation and its opened secret.
#[derive(Debug)]
pub struct Opened {
    /// The row.
    pub installation: Installation,
    pub(super) secret: Secret,
}

#[derive(Default)]
struct OpenedInstalls(FreshCache<String, Arc<Opened>>);

/// To be called after a write that stored or removed an installation has committed.
pub fn forget_cached(app: &App) {
    app.cache::<OpenedInstalls>().0.forget();
}

/// The live installation of a tenant.
pub(super) async fn opened(app: &App, client_key: &str) -> AppResult<Option<Arc<Opened>>> {
    let (cache, now) = (app.cache::<OpenedInstalls>(), app.clock.now());
    if let Some(found) = cache.0.get(client_key, now) {
        return Ok(Some(found));
    }
    let ticket = cache.0.ticket();
    let key = client_key.to_owned();
    let row = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::sealed_by_client_key(conn, &key)?))
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Some(secret) = row.open(&app.sealer).map_err(AppError::internal)? else {
        return Ok(None);
    };
    let found = Arc::new(Opened {
        installation: row.installation,
        secret,
    });
    cache
        .0
        .put(ticket, client_key.to_owned(), Arc::clone(&found), now);
    Ok(Some(found))
}

/// The live installation that signed this very request (bitbucket.md §1.6, sentry.md §1.3).
///
/// # Errors
/// [`TokenRefused`] says why not.
pub async fn authenticate(
    app: &App,
    request: &SignedRequest<'_>,
) -> Result<Arc<Opened>, TokenRefused> {
    let token = jwt::token_of(request.authorization, request.request.query)?;
    let issuer = jwt::peek_issuer(&token)?;
    let opened = opened(app, &issuer)
        .await?
        .ok_or(TokenRefused::UnknownTenant)?;
    jwt::verify(&token, &opened.secret, &request.request, app.clock.now())?;
    Ok(opened)
}
