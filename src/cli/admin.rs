//! `admin`: data from the command line.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;

use super::admin_links::{self, InstallCommand, LinkCommand, RepoCommand};
use super::{output, start};
use crate::app::App;
use crate::config::Config;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, NewProject, Org, Role, ScopeSet};
use crate::features::audit;
use crate::kit::crypto::{Sealer, Secret};
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
pub(super) enum OrgCommand {
    /// Makes an organization.
    Create {
        #[arg(long)]
        slug: String,
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ProjectCommand {
    /// Makes a project and prints its id, slug and DSN.
    Create {
        #[arg(long)]
        org: String,
        #[arg(long)]
        slug: String,
        #[arg(long, default_value = "other")]
        platform: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Makes a user, or gives an existing one a role.
    Create {
        #[arg(long)]
        email: String,
        #[arg(long)]
        org: String,
        #[arg(long, value_parser = parse_role)]
        role: Role,
        #[arg(long, default_value = "")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Makes an organization token and prints it, once.
    Create {
        #[arg(long)]
        org: String,
        #[arg(long)]
        name: String,
        /// Scope names with commas.
        #[arg(long)]
        scopes: String,
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
    /// Seals every stored secret with the first key of `secret_keys`; the others can then be removed.
    Rotate,
}

impl AdminCommand {
    /// Whether it needs neither settings nor a database: the first key is made before there are any.
    pub(super) fn makes_keys(&self) -> bool {
        matches!(self, Self::Keys(KeysCommand::Generate))
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

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "must be owner, manager or member".to_owned())
}

pub(super) async fn run(
    config: Config,
    command: AdminCommand,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let app = start::start(config, OpenAs::Beside)?;
    match command {
        AdminCommand::Org(OrgCommand::Create { slug, name }) => {
            org_create(&app, slug, name, as_json).await
        }
        AdminCommand::Project(ProjectCommand::Create {
            org,
            slug,
            platform,
        }) => project_create(&app, org, slug, platform).await,
        AdminCommand::User(UserCommand::Create {
            email,
            org,
            role,
            name,
        }) => user_create(&app, email, org, role, name, as_json).await,
        AdminCommand::Token(TokenCommand::Create { org, name, scopes }) => {
            token_create(&app, org, name, &scopes).await
        }
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
        AdminCommand::Keys(KeysCommand::Rotate) => admin_links::rotate_keys(&app, as_json).await,
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

async fn org_create(app: &App, slug: String, name: String, as_json: bool) -> anyhow::Result<()> {
    let now = app.clock.now();
    let org = app
        .db
        .write(move |tx| {
            let org = accounts::create_org(tx, &slug, &name, now)?;
            audit::record(
                tx,
                Some(org.id),
                "admin command",
                "accounts.create_org",
                &slug,
                &json!({}),
                now,
            )?;
            Ok(org)
        })
        .await
        .map_err(explain)?;
    let value = json!({ "id": org.id.to_string(), "slug": org.slug });
    output::value(
        as_json,
        &value,
        &format!("Organization {} has id {}", org.slug, org.id),
    );
    Ok(())
}

async fn project_create(
    app: &App,
    org: String,
    slug: String,
    platform: String,
) -> anyhow::Result<()> {
    let now = app.clock.now();
    let new = NewProject {
        name: slug.clone(),
        slug,
        platform,
    };
    let (project, key) = app
        .db
        .write(move |tx| {
            let org = require_org(tx, &org)?;
            accounts::create_project(tx, org.id, &new, now)
        })
        .await
        .map_err(explain)?;
    let dsn = accounts::dsn(&app.config.public_url, &key);
    output::line(
        &json!({ "id": project.id.to_string(), "slug": project.slug, "dsn": dsn }).to_string(),
    );
    Ok(())
}

async fn user_create(
    app: &App,
    email: String,
    org: String,
    role: Role,
    name: String,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut password = String::new();
    std::io::stdin()
        .take(4_096)
        .read_to_string(&mut password)
        .context("cannot read the password")?;
    let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());
    let hash = accounts::hash_password(password).await.map_err(explain)?;
    let now = app.clock.now();
    let user = app
        .db
        .write(move |tx| {
            let org = require_org(tx, &org)?;
            accounts::create_member(tx, org.id, &email, &name, &hash, role, now)
        })
        .await
        .map_err(explain)?;
    let value = json!({ "id": user.id.to_string(), "email": user.email, "role": role });
    output::value(as_json, &value, &format!("{} is {role}", user.email));
    Ok(())
}

async fn token_create(app: &App, org: String, name: String, scopes: &str) -> anyhow::Result<()> {
    let scopes = match ScopeSet::parse(scopes) {
        Ok(scopes) if scopes != ScopeSet::NONE => scopes,
        Ok(_) => bail!("name at least one scope"),
        Err(unknown) => bail!(
            "unknown scope {unknown:?}; there are: {}",
            ScopeSet::all().to_text()
        ),
    };
    let now = app.clock.now();
    let public_url = app.config.public_url.to_string();
    let token = app
        .db
        .write(move |tx| {
            let org = require_org(tx, &org)?;
            accounts::create_org_token(tx, &org, &name, scopes, &public_url, now)
        })
        .await
        .map_err(explain)?;
    output::line(&token);
    Ok(())
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
