//! What others do to us: the database locked, full or cut off, and Bitbucket failing in each way, shown on the
//! program as a process of its own. Each has a defined answer and a log line that names the cause and no secret; what
//! was acknowledged stays, and what was refused is done once it can be.

use std::time::{Duration, Instant};

use bitbucket_sandbox::{Action, Fault};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use serde_json::{Value, json};

use crate::scene::{REPO, Scene, group, scenes};
use crate::support::program::{Program, Running};
use crate::support::sdk::{auth, envelope, error, event_id};
use crate::support::world::{World, git};
use crate::support::{Backend, Options, TestApp, both, fresh_database};

/// A program with a tenant, and requests that are ready to be sent to it.
struct Stage {
    program: Program,
    running: Running,
    http: reqwest::Client,
    event_url: String,
    auth: String,
    token: String,
    /// What must never be in a log.
    secrets: Vec<String>,
}

impl Stage {
    async fn start(t: TestApp, tenant: &crate::support::Tenant, mut secrets: Vec<String>) -> Self {
        let event_url = t.url(&format!("/api/{}/envelope/", tenant.project.id));
        secrets.push(tenant.token.clone());
        secrets.push("jwt=".into());
        let (auth, token) = (auth(tenant), tenant.token.clone());
        let mut program = Program::instead_of(t).await;
        program.set("LOG", "info");
        let running = program.start().await;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self {
            program,
            running,
            http,
            event_url,
            auth,
            token,
            secrets,
        }
    }

    async fn event(&self, id: &str) -> (u16, reqwest::header::HeaderMap) {
        let request = self
            .http
            .post(&self.event_url)
            .header("X-Sentry-Auth", &self.auth);
        let response = request
            .body(envelope(id, &error("StoredError", "f")))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.headers().clone())
    }

    /// Sends until it is accepted, as an SDK that honours `Retry-After` does; answers how often it was refused.
    async fn event_until_stored(&self, id: &str) -> usize {
        for refused in 0..20 {
            let (status, headers) = self.event(id).await;
            if status == 200 {
                return refused;
            }
            assert_refused(status, &headers);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("never stored:\n{}", self.program.log());
    }

    async fn groups(&self) -> Value {
        let url = format!(
            "{}/api/0/organizations/acme/issues/?query=",
            self.program.base
        );
        crate::support::answer(self.http.get(url).bearer_auth(&self.token), 200).await
    }

    async fn stored(&self) -> usize {
        let groups = self.groups().await;
        let count = |group: &Value| group["count"].as_str().unwrap().parse::<usize>().unwrap();
        groups
            .as_array()
            .unwrap()
            .iter()
            .filter(|group| group["title"].as_str().unwrap().starts_with("StoredError"))
            .map(count)
            .sum()
    }

    fn assert_logged(&self, cause: &str) {
        assert!(
            self.program.log().contains(cause),
            "{cause} in\n{}",
            self.program.log()
        );
    }

    /// Ends it; no secret was logged.
    fn end(self) {
        self.running.kill();
        let log = self.program.log();
        for secret in &self.secrets {
            assert!(
                !log.contains(secret.as_str()),
                "a secret is in the log:\n{log}"
            );
        }
    }
}

fn assert_refused(status: u16, headers: &reqwest::header::HeaderMap) {
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "2");
    assert!(
        headers["x-sentry-rate-limits"]
            .to_str()
            .unwrap()
            .starts_with("2::organization:")
    );
}

fn signed_push(s: &Scene) -> reqwest::RequestBuilder {
    let body = s.payload(json!({"push": {"changes": []}}));
    s.hook("repo:push", &body)
}

fn count_deliveries(url: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let mut conn = SqliteConnection::establish(url.trim_start_matches("sqlite://")).unwrap();
    diesel::sql_query("SELECT count(*) AS count FROM deliveries")
        .get_result::<Count>(&mut conn)
        .unwrap()
        .count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_database_is_said_and_loses_nothing() {
    let s = Scene::start(Backend::Sqlite).await;
    let hook = signed_push(&s);
    let secret = s.secret.clone();
    let World {
        t,
        bitbucket: _bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let stage = Stage::start(t, &tenant, vec![secret]).await;
    stage.event_until_stored(&event_id()).await;

    let mut other =
        SqliteConnection::establish(stage.program.database_url.trim_start_matches("sqlite://"))
            .unwrap();
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    let id = event_id();
    let (status, headers) = stage.event(&id).await;
    assert_refused(status, &headers);
    let refused = hook.try_clone().unwrap().send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    stage.assert_logged("database is locked");
    other.batch_execute("ROLLBACK").unwrap();

    assert_eq!(stage.event_until_stored(&id).await, 0);
    assert_eq!(hook.send().await.unwrap().status(), 204);
    assert_eq!(stage.stored().await, 2);
    assert_eq!(count_deliveries(&stage.program.database_url), 1);
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_loses_nothing() {
    let s = Scene::start(Backend::Sqlite).await;
    let hook = signed_push(&s);
    let secret = s.secret.clone();
    let World {
        t,
        bitbucket: _bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let stage = Stage::start(t, &tenant, vec![secret]).await;
    stage.event_until_stored(&event_id()).await;

    // No file may grow beyond what the write-ahead log has now; the program's own log is far smaller.
    let path = format!(
        "{}-wal",
        stage.program.database_url.trim_start_matches("sqlite://")
    );
    let size = std::fs::metadata(path).unwrap().len() + 100_000;
    let limit = |size: &str| {
        let pid = stage.running.id().to_string();
        let done = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={size}:unlimited")])
            .status();
        assert!(done.expect("prlimit of util-linux").success());
    };
    limit(&size.to_string());
    let (mut accepted, mut id) = (1, event_id());
    let refusal = loop {
        let (status, headers) = stage.event(&id).await;
        if status != 200 {
            break (status, headers);
        }
        accepted += 1;
        id = event_id();
        assert!(accepted < 5_000, "it never fills");
    };
    assert_refused(refusal.0, &refusal.1);
    let refused = hook.try_clone().unwrap().send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let log = stage.program.log();
    assert!(
        log.contains("disk I/O error") || log.contains("disk is full"),
        "{log}"
    );

    limit("unlimited");
    stage.event_until_stored(&id).await;
    assert_eq!(hook.send().await.unwrap().status(), 204);
    assert_eq!(
        stage.stored().await,
        accepted + 1,
        "all that was accepted, and what was refused once"
    );
    assert_eq!(count_deliveries(&stage.program.database_url), 1);
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_connections_that_are_cut_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("cut{}", event_id());
    let url = format!(
        "{}&application_name={name}",
        fresh_database(Backend::Postgres, folder.path())
    );
    let options = Options {
        settings: vec![("database_url", url)],
        clock: None,
    };
    let t = TestApp::start_with(Backend::Postgres, options).await;
    let tenant = t.tenant("acme").await;
    let server = std::env::var("TEST_DATABASE_URL").unwrap();
    let stage = Stage::start(t, &tenant, vec![]).await;
    let mut accepted = stage.event_until_stored(&event_id()).await + 1;
    for _ in 0..3 {
        let (server, name) = (server.clone(), name.clone());
        let cut = tokio::task::spawn_blocking(move || {
            let mut conn = PgConnection::establish(&server).unwrap();
            diesel::sql_query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1")
                .bind::<Text, _>(name)
                .execute(&mut conn)
                .unwrap()
        });
        assert!(cut.await.unwrap() > 0);
        stage.event_until_stored(&event_id()).await;
        accepted += 1;
    }
    assert_eq!(stage.stored().await, accepted);
    stage.assert_logged("a commit failed");
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_bitbucket_does_a_ticket_is_made_once() {
    let s = Scene::start(Backend::Sqlite).await;
    let status = |status| Action::Status {
        status,
        retry_after: None,
        body: None,
    };
    let faults = [
        (status(401), 400, "401"),
        (status(403), 400, "403"),
        (status(404), 400, "404"),
        (status(410), 400, "410"),
        (status(429), 503, "429"),
        (status(500), 503, "500"),
        (status(555), 503, "555"),
        (Action::Half, 503, "broke off"),
        (Action::DropBefore, 503, ""),
        (Action::Slow { ms: 30_000 }, 503, "time"),
        (
            Action::Redirect {
                url: "https://elsewhere.example/2.0/".into(),
                status: None,
            },
            400,
            "redirect",
        ),
    ];
    let mut paths = Vec::new();
    for number in 0..faults.len() {
        let (id, _) = group(&s, &format!("Fault{number}Error")).await;
        paths.push(s.t.url(&s.ticket_path(&id.to_string())));
    }
    let secret = s.secret.clone();
    let World {
        t,
        bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let stage = Stage::start(t, &tenant, vec![secret]).await;
    let mut odd = Vec::new();
    for (number, ((action, expected, cause), path)) in faults.into_iter().zip(&paths).enumerate() {
        let form = json!({"repo": REPO, "title": format!("Fault {number}"), "description": "It broke.", "issue_type": "bug", "priority": "major"});
        let create = || {
            stage
                .http
                .post(path)
                .bearer_auth(&stage.token)
                .header("Idempotency-Key", "k")
                .json(&form)
                .send()
        };
        let before = stage.program.log().len();
        bitbucket.clear_faults();
        bitbucket.add_fault(Fault::once("POST", "/issues", action.clone()));
        let refused = create().await.unwrap();
        let (got, text) = (refused.status().as_u16(), refused.text().await.unwrap());
        let log = stage.program.log()[before..].to_owned();
        if got != expected || !log.contains(cause) || !log.contains("bitbucket call failed") {
            odd.push(format!("{action:?}: {got} {text}\n{log}"));
        }
        bitbucket.clear_faults();
        // The breaker may want a moment of peace first.
        let begun = Instant::now();
        loop {
            let made = create().await.unwrap();
            let title = format!("Fault {number}");
            let there = bitbucket
                .issues(REPO)
                .iter()
                .any(|issue| issue.title == title);
            match made.status().as_u16() {
                201 if there => break,
                // 201 is also the answer while the ticket is pending.
                201 | 400 | 503 if begun.elapsed() < Duration::from_secs(90) => {
                    tokio::time::sleep(Duration::from_millis(500)).await
                }
                other => panic!(
                    "{action:?}: {other} {}\n{}",
                    made.text().await.unwrap(),
                    stage.program.log()
                ),
            }
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n\n"));
    let mut titles: Vec<_> = bitbucket
        .issues(REPO)
        .into_iter()
        .map(|issue| issue.title)
        .collect();
    titles.sort();
    titles.dedup();
    assert_eq!(
        (titles.len(), bitbucket.issues(REPO).len()),
        (paths.len(), paths.len()),
        "each once"
    );
    stage.end();
}

scenes! {
    async fn whatever_bitbucket_does_a_push_is_completed_once(s) {
        let status = |status| Action::Status { status, retry_after: None, body: None };
        let faults = [(status(429), "429"), (status(500), "500"), (status(555), "555"), (Action::Half, "broke off"), (Action::DropBefore, "")];
        s.commit("", "Start").await;
        let clone = s.checkout();
        for (number, (action, cause)) in faults.into_iter().enumerate() {
            let (id, short) = group(s, &format!("Push{number}Error")).await;
            // More commits than a webhook holds: the first must be fetched.
            for step in 1..=7 {
                let message = if step == 1 { format!("Fixes {short}") } else { format!("Step {step}") };
                git(&clone, &["commit", "-q", "--allow-empty", "-m", &message]);
            }
            s.bitbucket.add_fault(Fault::always("GET", "/commits", action.clone()));
            git(&clone, &["push", "-q", "origin", "main"]);
            s.settle().await;
            let (_, state, error, _) = s.deliveries().await.pop().unwrap();
            assert_eq!(state, "ready", "{action:?}");
            assert!(error.as_ref().unwrap().contains(cause), "{action:?}: {error:?}");
            assert_eq!(s.group_status(id).await, "unresolved");
            s.bitbucket.clear_faults();
            let begun = Instant::now();
            while s.deliveries().await.pop().unwrap().1 != "done" {
                assert!(begun.elapsed() < Duration::from_secs(40), "{action:?}: {:?}", s.deliveries().await.pop());
                tokio::time::sleep(Duration::from_millis(500)).await;
                s.t.run_jobs().await;
            }
            assert_eq!(s.group_status(id).await, "resolved", "{action:?}");
        }
    }
}

both! {
    async fn a_nul_in_a_url_is_found_nowhere(t) {
        let a = t.tenant("acme").await;
        for path in [
            "/api/0/organizations/a%00b/issues/", "/api/0/organizations/acme/issues/%00/", "/api/0/organizations/acme/issues/1%00/events/latest/",
            "/api/0/projects/acme/sh%00op/events/", "/api/0/organizations/acme/shortids/ACME%00-1/", "/api/0/organizations/acme/repos/%00/commits/",
            "/o/%00/errors", "/extensions/bitbucket/organizations/%00/webhook/",
        ] {
            t.get(path, &a.token, 404).await;
        }
        t.get("/api/0/organizations/acme/issues/?query=a%00b", &a.token, 400).await;
        let response = t.http.post(t.url("/api/%00/envelope/")).header("X-Sentry-Auth", auth(&a)).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 404);
    }
}
