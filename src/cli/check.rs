//! `check`: the configuration doctor.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use reqwest::header::DATE;

use super::{output, start};
use crate::app::App;
use crate::config::Config;
use crate::error::AppError;
use crate::features::ops::sealing;
use crate::features::{accounts, links};
use crate::kit::clock::Micros;
use crate::kit::db::{DatabaseUrl, OpenAs};
use crate::kit::http::EgressError;
use crate::kit::jobs;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most seconds that our clock may be off. Bitbucket allows a signature about a minute (bitbucket.md §1.6); half of it
/// is left to the network.
const MAX_SKEW: i64 = 30;

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

/// How one thing fares.
enum State {
    Ok,
    /// Worth knowing, not wrong.
    Note,
    /// Wrong; the text says what to do.
    Fail,
}

/// The lines of the doctor, printed as they come.
#[derive(Default)]
struct Report {
    failed: usize,
}

impl Report {
    fn say(&mut self, state: State, name: &str, text: &str) {
        let word = match state {
            State::Ok => "ok  ",
            State::Note => "note",
            State::Fail => {
                self.failed += 1;
                "FAIL"
            }
        };
        output::line(&format!("{word}  {name}: {text}"));
    }

    fn end(&self) -> ExitCode {
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// What the doctor says when the settings cannot be read at all.
pub(super) fn misconfigured(error: &anyhow::Error) -> ExitCode {
    let mut report = Report::default();
    let text = format!("{error:#}. docs/CONFIGURATION.md lists every setting");
    report.say(State::Fail, "configuration", &text);
    report.end()
}

/// Looks at everything that has to be right, in the order in which one rests on the other, and says what to do about
/// what is not. Exit code 0 when nothing failed.
pub(super) async fn check(config: Config) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    report.say(State::Ok, "configuration", "read");
    public_url(&mut report, &config);
    let Some(app) = open(&mut report, config) else {
        return Ok(report.end());
    };
    database(&mut report, &app).await;
    let reached = bitbucket(&mut report, &app).await;
    secrets(&mut report, &app).await;
    if reached {
        connections(&mut report, &app).await;
    }
    own_address(&mut report, &app).await;
    Ok(report.end())
}

fn public_url(report: &mut Report, config: &Config) {
    let url = config.public_url.as_str();
    if config.is_https() || config.dev {
        report.say(State::Ok, "public URL", url);
    } else {
        let text = format!(
            "{url} is not https, and Bitbucket installs only https apps. Put a TLS proxy in front and set public_url \
             to its address"
        );
        report.say(State::Fail, "public URL", &text);
    }
}

/// Keys and database. The doctor makes neither.
fn open(report: &mut Report, config: Config) -> Option<App> {
    if let Err(error) = start::sealer(&config) {
        let text = format!(
            "{error:#}. `tracebucket admin keys generate` prints a good line; the keys in use must stay in it"
        );
        report.say(State::Fail, "keys", &text);
        return None;
    }
    if let Ok(DatabaseUrl::Sqlite(file)) = DatabaseUrl::parse(config.database_url.expose())
        && !file.exists()
    {
        let text = format!(
            "{} does not exist yet; `tracebucket serve` makes it",
            file.display()
        );
        report.say(State::Note, "database", &text);
        return None;
    }
    match start::start(config, OpenAs::Beside) {
        Ok(app) => Some(app),
        Err(error) => {
            let text = format!(
                "{error:#}. Check database_url, and that its server or folder can be reached from here"
            );
            report.say(State::Fail, "database", &text);
            None
        }
    }
}

async fn database(report: &mut Report, app: &App) {
    let found = app
        .db
        .read(|conn| Ok::<_, AppError>((accounts::users_exist(conn)?, jobs::counts(conn)?.dead)))
        .await;
    match found {
        Ok((users, dead)) => {
            report.say(State::Ok, "database", &format!("{:?}", app.db.url()));
            keys(report, app).await;
            if !users {
                let text = "nobody yet: the server prints a one-time code for the first owner when it starts";
                report.say(State::Note, "people", text);
            }
            if dead > 0 {
                let text =
                    format!("{dead} gave up; `tracebucket admin jobs list --state dead` says why");
                report.say(State::Note, "jobs", &text);
            }
        }
        Err(error) => report.say(State::Fail, "database", &format!("{error:?}")),
    }
}

async fn keys(report: &mut Report, app: &App) {
    if let Err(error) = sealing::look(app).await {
        return report.say(State::Fail, "keys", error.detail());
    }
    let (seals, first) = (app.sealer.current_key_id(), app.sealer.first_key_id());
    report.say(
        State::Ok,
        "keys",
        &format!("new secrets are sealed with {seals:?}"),
    );
    if seals != first {
        let text = format!(
            "{first:?} comes first and does not seal yet: once every process has it, `tracebucket admin keys rotate`"
        );
        report.say(State::Note, "keys", &text);
    }
}

/// Any answer shows that Bitbucket can be reached, and its `Date` header what time it is there. False without one.
async fn bitbucket(report: &mut Report, app: &App) -> bool {
    let url = app.config.bitbucket_api_url.clone();
    let asked = url.to_string();
    let request = app
        .egress
        .request(Method::GET, url)
        .timeout(PATIENCE)
        .build();
    let answer = match request {
        Ok(request) => app
            .egress
            .send(request)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.without_url().to_string()),
    };
    let answer = match answer {
        Ok(answer) if answer.status().is_server_error() => {
            let text = format!(
                "{asked} answers {}. Bitbucket has trouble (bitbucket.status.atlassian.com), or a proxy between us has",
                answer.status().as_u16()
            );
            report.say(State::Fail, "Bitbucket", &text);
            return false;
        }
        Ok(answer) => answer,
        Err(error) => {
            let text = format!(
                "{asked} cannot be reached: {error}. Check DNS and the firewall; a private address needs egress_allow"
            );
            report.say(State::Fail, "Bitbucket", &text);
            return false;
        }
    };
    report.say(State::Ok, "Bitbucket", &format!("{asked} answers"));
    let date = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok());
    match date.and_then(|date| clock_skew(date, app.clock.now())) {
        None => report.say(
            State::Note,
            "clock",
            "the answer has no date to compare with",
        ),
        Some(seconds) if seconds.abs() <= MAX_SKEW => {
            report.say(
                State::Ok,
                "clock",
                &format!("{} s apart from Bitbucket's", seconds.abs()),
            );
        }
        Some(seconds) => {
            let word = if seconds > 0 { "ahead of" } else { "behind" };
            let text = format!(
                "this machine is {} s {word} Bitbucket, which then refuses our signatures. Switch time synchronisation \
                 on (for example: timedatectl set-ntp true)",
                seconds.abs()
            );
            report.say(State::Fail, "clock", &text);
        }
    }
    true
}

/// Seconds by which `now` is ahead of an HTTP date; `None` for something that is none.
fn clock_skew(date: &str, now: Micros) -> Option<i64> {
    let theirs = chrono::DateTime::parse_from_rfc2822(date).ok()?;
    Some(now.secs().saturating_sub(theirs.timestamp()))
}

async fn secrets(report: &mut Report, app: &App) {
    match links::check_secrets(app).await {
        Ok((0, _)) => {}
        Ok((total, 0)) => {
            report.say(
                State::Ok,
                "webhook secrets",
                &format!("{total}, all can be opened"),
            );
        }
        Ok((total, closed)) => {
            let text = format!(
                "{closed} of {total} cannot be opened. Put the key that sealed them back into secret_keys; if it is \
                 lost, repair each webhook on its connection's page"
            );
            report.say(State::Fail, "webhook secrets", &text);
        }
        Err(error) => report.say(State::Fail, "webhook secrets", &format!("{error:?}")),
    }
}

async fn connections(report: &mut Report, app: &App) {
    let findings = match links::check_connections(app).await {
        Ok(findings) => findings,
        Err(error) => return report.say(State::Fail, "connections", &format!("{error:?}")),
    };
    if findings.is_empty() {
        let text = "none yet; install the app in a workspace, see README";
        report.say(State::Note, "connections", text);
    }
    for finding in findings {
        let name = format!("connection {}", finding.name);
        for concern in &finding.concerns {
            report.say(State::Note, &name, concern);
        }
        match (finding.problem, finding.in_use) {
            (None, true) => report.say(State::Ok, &name, "Bitbucket accepts its credential"),
            (Some(problem), true) => report.say(State::Fail, &name, &problem),
            (problem, false) => {
                let text = problem.unwrap_or_else(|| "switched off".to_owned());
                report.say(State::Note, &name, &text);
            }
        }
    }
}

/// Whether our own address leads to us. Not from everywhere it must: a server that is not started yet, or a network
/// that does not lead back in, is no fault.
async fn own_address(report: &mut Report, app: &App) {
    let url = app.config.absolute("/healthz");
    let request = url::Url::parse(&url).ok().and_then(|url| {
        app.egress
            .request(Method::GET, url)
            .timeout(PATIENCE)
            .build()
            .ok()
    });
    let Some(request) = request else { return };
    match app.egress.send(request).await {
        Ok(answer) if answer.status().is_success() => report.say(State::Ok, "own address", &url),
        Ok(answer) => {
            let text = format!(
                "{url} answers {}: another server stands there, or the proxy in front does not reach this one",
                answer.status().as_u16()
            );
            report.say(State::Fail, "own address", &text);
        }
        Err(EgressError::Refused(_)) => {
            let text = format!(
                "{url} was not asked: outgoing calls may not go there. Bitbucket must be able to reach it"
            );
            report.say(State::Note, "own address", &text);
        }
        Err(error) => {
            let text =
                format!("{url} does not answer here ({error}); Bitbucket must be able to reach it");
            report.say(State::Note, "own address", &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_read_from_an_http_date() {
        let now = Micros::from_unix_seconds(784_111_777);
        let skew = |date| clock_skew(date, now);
        assert_eq!(skew("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(skew("Sun, 06 Nov 1994 08:48:37 GMT"), Some(60));
        assert_eq!(skew("Sun, 06 Nov 1994 08:50:07 GMT"), Some(-30));
        assert_eq!(skew("yesterday"), None);
    }
}
