//! `check`: the configuration doctor.

use std::process::ExitCode;

use clap::Args;

use super::{output, start};
use crate::config::Config;
use crate::kit::db::OpenAs;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Only asks a running server whether it is ready (for container health checks): its base URL.
    #[arg(long, value_name = "URL")]
    pub(super) ready: Option<String>,
}

/// Exit code 0 when `URL/readyz` answers 200. Plain TCP: a container probes itself over loopback.
pub(super) async fn ready(url: &str) -> anyhow::Result<ExitCode> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let url = url::Url::parse(url)?;
    let host = url.host_str().unwrap_or("127.0.0.1");
    let port = url.port_or_known_default().unwrap_or(8000);
    let probe = async {
        let mut stream = tokio::net::TcpStream::connect((host, port)).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(1024).read_to_end(&mut answer).await?;
        anyhow::Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    let ready = tokio::time::timeout(std::time::Duration::from_secs(5), probe).await??;
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub(super) async fn check(config: Config) -> anyhow::Result<ExitCode> {
    let mut healthy = true;
    let mut report = |name: &str, result: Result<String, String>| match result {
        Ok(text) => output::line(&format!("ok    {name}: {text}")),
        Err(text) => {
            healthy = false;
            output::line(&format!("FAIL  {name}: {text}"));
        }
    };
    let https = config.is_https();
    let public_url = config.public_url.to_string();
    report(
        "public URL",
        if https || config.dev {
            Ok(public_url)
        } else {
            Err(format!(
                "{public_url} is not https; Bitbucket installs only https apps. Put a TLS proxy in front"
            ))
        },
    );
    let app = match start::start(config, OpenAs::Beside) {
        Ok(app) => app,
        Err(error) => {
            report("start", Err(format!("{error:#}")));
            return Ok(ExitCode::FAILURE);
        }
    };
    report(
        "keys",
        Ok(format!(
            "sealing with key {:?}",
            app.sealer.primary_key_id()
        )),
    );
    let users = app
        .db
        .read(|conn| Ok::<_, crate::error::AppError>(crate::features::accounts::users_exist(conn)?))
        .await;
    report(
        "database",
        match users {
            Ok(true) => Ok(format!("{:?}", app.db.url())),
            Ok(false) => Ok(format!(
                "{:?} (no user yet: the first start prints a one-time code)",
                app.db.url()
            )),
            Err(error) => Err(format!("{error:?}")),
        },
    );
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
