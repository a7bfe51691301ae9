//! What others do to us: the database locked, full or cut off, and Bitbucket failing in each way, shown on the
//! program as a process of its own. Each has a defined answer and a log line that names the cause and no secret; what
//! was acknowledged stays, and what was refused is done once it can be.

mod bitbucket;
mod callers;
mod database;
mod nul;

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::support::TestApp;
use crate::support::program::{Program, Running};
use crate::support::sdk::{auth, envelope, error};

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
        for refused in 0..120 {
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

    async fn readiness(&self) -> u16 {
        let url = format!("{}/readyz", self.program.base);
        self.http.get(url).send().await.unwrap().status().as_u16()
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
