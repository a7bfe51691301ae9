//! Command line of the sandbox.

use std::path::PathBuf;

use bitbucket_sandbox::{Sandbox, SandboxConfig};
use clap::{Parser, Subcommand};

/// A Bitbucket Cloud stand-in for development and tests.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until interrupted.
    Serve {
        /// Address to listen on.
        #[arg(long, default_value = "127.0.0.1:8100")]
        listen: String,
        /// Folder of the state and the git repositories.
        #[arg(long)]
        data: PathBuf,
        /// How callers reach it; `http://` and the address when absent.
        #[arg(long)]
        public_url: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("SANDBOX_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,actix_server=warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    let Command::Serve {
        listen,
        data,
        public_url,
    } = Arguments::parse().command;
    let sandbox = Sandbox::start(SandboxConfig {
        listen,
        data_dir: data,
        public_url,
        strict: false,
    })?;
    tracing::info!("serving on {}", sandbox.url());
    sandbox.serve_until_signal()
}
