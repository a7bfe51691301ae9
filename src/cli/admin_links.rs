//! `admin link`, `admin repo`, `admin install` and `admin keys rotate`.

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;

use super::admin::{explain, require_org};
use super::output;
use crate::app::App;
use crate::error::AppError;
use crate::features::accounts::Org;
use crate::features::links::{EnsureHook, HookStart, LinkId};
use crate::features::ops::sealing;
use crate::features::{audit, installs, links};
use crate::kit::jobs;

const ACTOR: &str = "admin command";

#[derive(Debug, Subcommand)]
pub(super) enum LinkCommand {
    /// Links an organization to the workspace of an installed app and prints the integration id.
    Create {
        #[arg(long)]
        org: String,
        /// The clientKey of the installation.
        #[arg(long)]
        client_key: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RepoCommand {
    /// Adds a repository and registers its webhook.
    Add {
        #[arg(long)]
        org: String,
        /// Id that `admin link create` printed.
        #[arg(long)]
        integration: i64,
        /// workspace/repository
        #[arg(long)]
        repo: String,
    },
    /// Gives the webhook of a repository a new secret; the old one is good for another hour.
    RotateSecret {
        #[arg(long)]
        org: String,
        /// workspace/repository
        #[arg(long)]
        repo: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum InstallCommand {
    /// Allows one proven install of a tenant whose secret was lost in Bitbucket.
    Reset {
        /// The clientKey of the installation.
        #[arg(long)]
        client_key: String,
    },
}

async fn org_of(app: &App, slug: String) -> anyhow::Result<Org> {
    app.db
        .read(move |conn| require_org(conn, &slug))
        .await
        .map_err(explain)
}

pub(super) async fn link(app: &App, command: LinkCommand) -> anyhow::Result<()> {
    let LinkCommand::Create { org, client_key } = command;
    let org = org_of(app, org).await?;
    let key = client_key.clone();
    let installation = app
        .db
        .read(move |conn| Ok::<_, AppError>(installs::find_by_client_key(conn, &key)?))
        .await
        .map_err(explain)?
        .with_context(|| format!("no installation has the client key {client_key:?}"))?;
    let link = links::connect(app, org.id, &installation, ACTOR)
        .await
        .map_err(explain)?;
    output::line(&json!({ "integrationId": link.id.to_string() }).to_string());
    Ok(())
}

pub(super) async fn repo(app: &App, command: RepoCommand, as_json: bool) -> anyhow::Result<()> {
    match command {
        RepoCommand::Add {
            org,
            integration,
            repo,
        } => add(app, org, LinkId(integration), &repo).await,
        RepoCommand::RotateSecret { org, repo } => rotate(app, org, repo, as_json).await,
    }
}

/// Registers the hook here, so that it is there when the command ends; the job is left only as a safety net.
async fn add(app: &App, org: String, link: LinkId, name: &str) -> anyhow::Result<()> {
    let org = org_of(app, org).await?.id;
    let repo = links::add_repository(app, org, link, name, ACTOR, HookStart::AsSafetyNet)
        .await
        .map_err(|error| explain(error.into()))?;
    links::ensure_hook(app, org, repo.id)
        .await
        .map_err(|error| {
            explain(error.into()).context(format!(
                "{} is added; a worker will try its webhook again",
                repo.name
            ))
        })?;
    let id = repo.id;
    app.db
        .write(move |tx| Ok::<_, AppError>(jobs::cancel::<EnsureHook>(tx, &EnsureHook::key(id))?))
        .await
        .map_err(explain)?;
    let object = links::repository_object(&repo);
    output::line(&serde_json::to_string(&object)?);
    Ok(())
}

async fn rotate(app: &App, org: String, name: String, as_json: bool) -> anyhow::Result<()> {
    let org = org_of(app, org).await?.id;
    let wanted = name.clone();
    let found = app
        .db
        .read(move |conn| Ok::<_, AppError>(links::find_repo_by_name(conn, org, &wanted)?))
        .await
        .map_err(explain)?;
    let Some(repo) = found else {
        bail!("no repository {name:?}")
    };
    links::rotate_secret(app, org, repo.id, ACTOR)
        .await
        .map_err(explain)?;
    links::ensure_hook(app, org, repo.id)
        .await
        .map_err(|error| {
            explain(error.into()).context("the new secret is stored; a worker will tell Bitbucket")
        })?;
    output::value(
        as_json,
        &json!({ "id": repo.id.to_string() }),
        &format!("The webhook of {name} has a new secret"),
    );
    Ok(())
}

pub(super) async fn install(
    app: &App,
    command: InstallCommand,
    as_json: bool,
) -> anyhow::Result<()> {
    let InstallCommand::Reset { client_key } = command;
    let (key, now) = (client_key.clone(), app.clock.now());
    let installation = app
        .db
        .write(move |tx| {
            let installation = installs::allow_reset(tx, &key, now)?;
            audit::record(
                tx,
                None,
                ACTOR,
                "installs.allow_reset",
                &key,
                &json!({}),
                now,
            )?;
            Ok::<_, AppError>(installation)
        })
        .await
        .map_err(|error| match error.code() {
            "not_found" => anyhow::anyhow!("no installation has the client key {client_key:?}"),
            _ => explain(error),
        })?;
    let text = format!(
        "The next install of {} may come without the old secret",
        installation.principal_name
    );
    output::value(
        as_json,
        &json!({ "clientKey": client_key, "resetAllowed": true }),
        &text,
    );
    Ok(())
}

pub(super) async fn rotate_keys(app: &App, lost: bool, as_json: bool) -> anyhow::Result<()> {
    let first = app.sealer.first_key_id();
    if lost {
        sealing::use_first(app).await.map_err(explain)?;
        let text = format!(
            "Secrets are sealed with key {first:?} from now on. Those that a lost key sealed cannot be opened: \
             `tracebucket check` names them"
        );
        output::value(as_json, &json!({ "key": first }), &text);
        return Ok(());
    }
    sealing::settle_on_first(app).await.map_err(explain)?;
    let installations = installs::reseal(app).await.map_err(explain)?;
    let hooks = links::reseal(app).await.map_err(explain)?;
    let credentials = links::reseal_credentials(app).await.map_err(explain)?;
    let text = format!(
        "{installations} installations, {credentials} credentials and {hooks} webhooks are now sealed with key {first:?}"
    );
    output::value(
        as_json,
        &json!({ "key": first, "installations": installations, "credentials": credentials, "hooks": hooks }),
        &text,
    );
    Ok(())
}
