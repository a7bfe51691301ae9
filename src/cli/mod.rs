//! The command line: `serve`, `worker`, `migrate`, `check`, `admin …`.

mod admin;
mod admin_accounts;
mod admin_links;
mod check;
mod output;
mod serve;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Sources};

/// Self-hosted Bitbucket integration for Sentry-style error trackers.
#[derive(Debug, Parser)]
#[command(name = "tracebucket", version)]
struct Cli {
    /// Configuration file instead of tracebucket.toml.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Relaxed rules for a machine of one's own: makes and keeps a sealing key, allows plain http.
    #[arg(long, global = true)]
    dev: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the HTTP server and the workers.
    Serve {
        /// Leaves background jobs to other processes.
        #[arg(long)]
        no_workers: bool,
    },
    /// Runs background jobs only (PostgreSQL).
    Worker,
    /// Brings the database schema up to date and ends.
    Migrate,
    /// Looks whether everything is in order and says what to do about what is not.
    Check(check::CheckArgs),
    /// Prints generated documentation.
    Docs {
        /// Which page: `configuration`, `connections` or `errors`.
        page: String,
    },
    /// Changes and looks at data, beside a running server or without one.
    Admin {
        /// JSON instead of text.
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: admin::AdminCommand,
    },
}

/// Parses the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::anyhow!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => output::fail(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Docs { page } = &cli.command {
        output::line(&docs(page)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Admin { json, command } = &cli.command
        && command.makes_keys()
    {
        return Ok(admin::make_key(*json));
    }
    if let Command::Check(args) = &cli.command
        && let Some(url) = &args.ready
    {
        return check::ready(url).await;
    }
    let config = match load(&cli) {
        Err(error) if matches!(cli.command, Command::Check(_)) => {
            return Ok(check::misconfigured(&error));
        }
        loaded => loaded?,
    };
    crate::telemetry::init(&config.log);
    match cli.command {
        Command::Serve { no_workers } => serve::serve(config, !no_workers).await,
        Command::Worker => serve::worker(config).await,
        Command::Migrate => serve::migrate(&config),
        Command::Check(_) => check::check(config).await,
        Command::Admin { json, command } => admin::run(config, command, json).await,
        Command::Docs { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn load(cli: &Cli) -> anyhow::Result<Config> {
    let sources = Sources::of_process(cli.config.as_deref())?;
    // A server that was started with `--dev` keeps its key beside the database: commands find it there.
    let serves = matches!(cli.command, Command::Serve { .. } | Command::Worker);
    let dev = cli.dev
        || !serves
            && !sources.has("secret_keys")
            && start::dev_key_file(sources.or_default("database_url"))?.exists();
    Ok(sources.into_config(dev)?)
}

fn docs(page: &str) -> anyhow::Result<String> {
    match page {
        "configuration" => Ok(crate::config::reference_page().trim_end().to_owned()),
        "connections" => Ok(crate::features::links::features::reference_page()
            .trim_end()
            .to_owned()),
        "errors" => Ok(crate::error::reference_page().trim_end().to_owned()),
        other => {
            anyhow::bail!("unknown page {other:?}; there are: configuration, connections, errors")
        }
    }
}
