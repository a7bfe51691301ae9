//! `admin`: data from the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use super::admin_accounts::{self, OrgCommand, ProjectCommand, TokenCommand, UserCommand};
use super::admin_links::{self, InstallCommand, LinkCommand, RepoCommand};
use super::{output, start};
use crate::app::App;
use crate::config::Config;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, Org};
use crate::features::ops::sealing;
use crate::kit::crypto::Sealer;
use crate::kit::db::{Conn, OpenAs};
use crate::kit::jobs::{self, JobId, JobState};

#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Organizations.
    #[command(subcommand)]
    Org(OrgCommand),
    /// Projects.
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Users; the password is read from standard input.
    #[command(subcommand)]
    User(UserCommand),
    /// API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Connections of organizations to workspaces.
    #[command(subcommand)]
    Link(LinkCommand),
    /// Repositories of a connection.
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Installations of the app.
    #[command(subcommand)]
    Install(InstallCommand),
    /// Background jobs.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Sealing keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Copies a SQLite database to a file while the server runs.
    Backup {
        /// The file to make; must not exist.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// Lists jobs, newest first.
    List {
        /// ready, running, done or dead.
        #[arg(long)]
        state: Option<String>,
    },
    /// Gives a dead job a fresh start.
    Redrive {
        /// Its id.
        id: i64,
    },
    /// Deletes a dead job.
    Drop {
        /// Its id.
        id: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Prints a new key line for `secret_keys`.
    Generate,
    /// Seals every stored secret with the first key of `secret_keys`, from now on by every process; the others can
    /// then be removed.
    Rotate {
        /// The key that seals is lost: the first one takes its place, and what it sealed cannot be opened any more.
        #[arg(long)]
        lost: bool,
    },
}

impl AdminCommand {
    /// Whether it needs neither settings nor a database: the first key is made before there are any.
    pub(super) fn makes_keys(&self) -> bool {
        matches!(self, Self::Keys(KeysCommand::Generate))
    }

    /// Whether it says itself which key seals.
    fn names_keys(&self) -> bool {
        matches!(self, Self::Keys(KeysCommand::Rotate { .. }))
    }
}

/// Prints a new key line.
pub(super) fn make_key(as_json: bool) -> ExitCode {
    let line = Sealer::generate_key_line();
    if as_json {
        output::line(&json!({ "key": line }).to_string());
    } else {
        output::line(&line);
    }
    ExitCode::SUCCESS
}

pub(super) async fn run(
    config: Config,
    command: AdminCommand,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let app = start::start(config, OpenAs::Beside)?;
    if !command.names_keys() {
        sealing::follow(&app).await.map_err(explain)?;
    }
    match command {
        AdminCommand::Org(command) => admin_accounts::org(&app, command, as_json).await,
        AdminCommand::Project(command) => admin_accounts::project(&app, command).await,
        AdminCommand::User(command) => admin_accounts::user(&app, command, as_json).await,
        AdminCommand::Token(command) => admin_accounts::token(&app, command, as_json).await,
        AdminCommand::Link(command) => admin_links::link(&app, command).await,
        AdminCommand::Repo(command) => admin_links::repo(&app, command, as_json).await,
        AdminCommand::Install(command) => admin_links::install(&app, command, as_json).await,
        AdminCommand::Jobs(command) => jobs_command(&app, command, as_json).await,
        AdminCommand::Backup { file } => {
            app.db.backup(file.clone()).await?;
            output::value(
                as_json,
                &json!({ "file": file }),
                &format!("Copied to {}", file.display()),
            );
            Ok(())
        }
        AdminCommand::Keys(KeysCommand::Rotate { lost }) => {
            admin_links::rotate_keys(&app, lost, as_json).await
        }
        AdminCommand::Keys(KeysCommand::Generate) => {
            make_key(as_json);
            Ok(())
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

pub(super) fn require_org(conn: &mut Conn, slug: &str) -> AppResult<Org> {
    accounts::find_org(conn, slug)?
        .ok_or_else(|| AppError::not_found().caused_by(anyhow::anyhow!("no organization {slug:?}")))
}

/// What a person at a terminal needs of an error is its detail and its cause.
pub(super) fn explain(error: AppError) -> anyhow::Error {
    match error.cause() {
        Some(cause) => anyhow::anyhow!("{} ({cause:#})", error.detail()),
        None => anyhow::anyhow!("{}", error.detail()),
    }
}

async fn jobs_command(app: &App, command: JobsCommand, as_json: bool) -> anyhow::Result<()> {
    let now = app.clock.now();
    match command {
        JobsCommand::List { state } => {
            let state = match state.as_deref() {
                None => None,
                Some(word) => match JobState::parse(word) {
                    Some(state) => Some(state),
                    None => bail!("unknown state {word:?}; there are: ready, running, done, dead"),
                },
            };
            let filter = jobs::Filter {
                state,
                ..Default::default()
            };
            let rows = app
                .db
                .read(move |conn| Ok::<_, AppError>(jobs::list(conn, &filter, 200)?))
                .await
                .map_err(explain)?;
            for job in rows {
                let value = json!({
                    "id": job.id, "kind": job.kind, "state": job.state, "attempts": job.attempts,
                    "runAt": job.run_at.to_rfc3339(), "error": job.last_error,
                });
                let text = format!(
                    "{:>8}  {:<28} {:<8} {:>3}  {}",
                    job.id,
                    job.kind,
                    job.state,
                    job.attempts,
                    job.last_error.unwrap_or_default()
                );
                output::value(as_json, &value, &text);
            }
            Ok(())
        }
        JobsCommand::Redrive { id } => {
            let done = app
                .db
                .write(move |tx| Ok::<_, AppError>(jobs::redrive(tx, None, JobId(id), now)?))
                .await
                .map_err(explain)?;
            changed(done, id, "is ready again", as_json)
        }
        JobsCommand::Drop { id } => {
            let done = app
                .db
                .write(move |tx| Ok::<_, AppError>(jobs::drop_dead(tx, None, JobId(id))?))
                .await
                .map_err(explain)?;
            changed(done, id, "is deleted", as_json)
        }
    }
}

fn changed(done: bool, id: i64, what: &str, as_json: bool) -> anyhow::Result<()> {
    if !done {
        bail!("there is no dead job {id}");
    }
    output::value(as_json, &json!({ "id": id }), &format!("Job {id} {what}"));
    Ok(())
}
