//! `serve`, `worker` and `migrate`.

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::admin::explain;
use super::{output, start};
use crate::config::Config;
use crate::features::accounts;
use crate::features::ops::sealing;
use crate::kit::db::OpenAs;
use crate::{server, worker};

pub(super) async fn serve(config: Config, with_workers: bool) -> anyhow::Result<ExitCode> {
    let listen = config.listen.clone();
    let public_url = config.public_url.clone();
    // The socket first: a taken port should not cost a migration.
    let listener =
        TcpListener::bind(&listen).with_context(|| format!("cannot listen on {listen}"))?;
    let app = start::start(config, OpenAs::Server)?;
    sealing::follow(&app).await.map_err(explain)?;
    if let Some(code) = accounts::first_owner_code(&app).await? {
        output::note(&format!(
            "No user exists yet. Make the first owner at {public_url}welcome/ with the one-time code {code}"
        ));
    }
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    let server = server::http_server(app.clone(), listener, threads)?;
    let handle = server.handle();
    let (stop, stopped) = watch::channel(false);
    let workers = with_workers.then(|| tokio::spawn(worker::runner(&app).run(stopped)));
    let keys = tokio::spawn(sealing::keep_following(app.clone()));
    tracing::info!(listen = %listen, public_url = %public_url, workers = with_workers, "tracebucket is ready");

    let serving = tokio::spawn(server);
    until_signal().await?;
    tracing::info!("stopping: no new requests, running jobs may end");
    handle.stop(true).await;
    let _ = stop.send(true);
    if let Some(workers) = workers {
        let _ = workers.await;
    }
    keys.abort();
    serving.await.context("the HTTP server")??;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn worker(config: Config) -> anyhow::Result<ExitCode> {
    let app = start::start(config, OpenAs::Beside)?;
    if app.db.url().is_sqlite() {
        anyhow::bail!(
            "a separate worker needs PostgreSQL: a SQLite file belongs to one server, whose own workers run with `serve`"
        );
    }
    sealing::follow(&app).await.map_err(explain)?;
    let keys = tokio::spawn(sealing::keep_following(app.clone()));
    let (stop, stopped) = watch::channel(false);
    let runner = tokio::spawn(worker::runner(&app).run(stopped));
    tracing::info!("worker is ready");
    until_signal().await?;
    let _ = stop.send(true);
    let _ = runner.await;
    keys.abort();
    Ok(ExitCode::SUCCESS)
}

pub(super) fn migrate(config: &Config) -> anyhow::Result<ExitCode> {
    // Opening migrates.
    crate::kit::db::Db::open(config.database_url.expose(), OpenAs::Beside, None)?;
    output::line("The database schema is up to date.");
    Ok(ExitCode::SUCCESS)
}

async fn until_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
