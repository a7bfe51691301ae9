//! Which key seals. The database names it, so that processes whose keys are ordered differently seal alike: a new key
//! is told to one process after the other, and is used by all of them once `admin keys rotate` has named it.

use std::time::Duration;

use super::store;
use crate::app::App;
use crate::error::{AppError, AppResult};

/// How soon a process learns that another key was named.
const LOOK: Duration = Duration::from_secs(2);
/// After so long every process seals with the key that was named, and what was being written before is there.
const SETTLED: Duration = Duration::from_secs(5);

/// Seals with the key that the database names; names the first one where there is none.
///
/// # Errors
/// When the key that is named is not among ours: what we seal could not be opened by others, and what they sealed not
/// by us.
pub async fn follow(app: &App) -> AppResult<()> {
    if !look(app).await? {
        let named = name(app, false).await?;
        take(app, &named)?;
    }
    Ok(())
}

/// Seals with the key that the database names; false when it names none yet.
///
/// # Errors
/// Those of [`follow`].
pub async fn look(app: &App) -> AppResult<bool> {
    let named = app
        .db
        .read(|conn| Ok::<_, AppError>(store::named_key(conn)?))
        .await?;
    if named.is_empty() {
        return Ok(false);
    }
    take(app, &named).map(|()| true)
}

fn take(app: &App, named: &str) -> AppResult<()> {
    if app.sealer.use_key(named) {
        return Ok(());
    }
    Err(AppError::invalid(format!(
        "The secrets in the database are sealed with the key {named:?}, which secret_keys does not hold. Put it back. \
         If it is lost, `tracebucket admin keys rotate --lost` goes on with the first one, and all that was sealed has \
         to be given again."
    )))
}

/// Looks all the time; for as long as the process serves.
pub async fn keep_following(app: App) {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(error) = follow(&app).await {
            tracing::warn!(%error, "cannot see which key seals");
        }
    }
}

/// Names our first key, and waits until every process seals with it.
///
/// # Errors
/// Those of [`follow`].
pub async fn settle_on_first(app: &App) -> AppResult<()> {
    follow(app).await?;
    if app.sealer.current_key_id() != app.sealer.first_key_id() {
        use_first(app).await?;
        tokio::time::sleep(SETTLED).await;
    }
    Ok(())
}

/// Names our first key, whatever sealed before.
///
/// # Errors
/// When the database fails.
pub async fn use_first(app: &App) -> AppResult<()> {
    let named = name(app, true).await?;
    let _ = app.sealer.use_key(&named);
    Ok(())
}

/// Names our first key, in place of another one only if so asked; answers the name that holds.
async fn name(app: &App, replace: bool) -> AppResult<String> {
    let (key, now) = (app.sealer.first_key_id().to_owned(), app.clock.now());
    app.db
        .write(move |tx| {
            store::name_key(tx, &key, replace, now)?;
            Ok::<_, AppError>(store::named_key(tx.conn())?)
        })
        .await
}
