//! The client against a scripted server on this machine.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::atlassian::jwt;
use crate::atlassian::lifecycle::BracedUuid;
use crate::bitbucket::paths::RepoRef;
use crate::bitbucket::{CallReport, Credential};
use crate::kit::clock::{Clock, Micros};
use crate::kit::crypto::Secret;
use crate::kit::http::test_server::{Answer, TestServer};
use crate::kit::http::{Egress, EgressConfig};

mod behind;
mod resources;
mod transport;

const NOW: Micros = Micros::from_unix_seconds(1_770_000_000);
const SECRET: &str = "shared-secret-of-the-test";

type Reports = Arc<Mutex<Vec<(String, String)>>>;

fn client(servers: &[&TestServer]) -> (Client, Reports) {
    let origins = servers.iter().map(|server| server.url()).collect();
    let clock = Clock::fixed(NOW);
    let egress = Egress::new(
        EgressConfig {
            dev: true,
            origins,
            ..EgressConfig::default()
        },
        clock.clone(),
    )
    .unwrap();
    let reports = Reports::default();
    let sink = Arc::clone(&reports);
    let client = Client::new(
        egress,
        servers[0].url(),
        Url::parse("https://web.example.org/").unwrap(),
        clock,
    )
    .with_observer(move |report: &CallReport| {
        let line = format!("{} {}", report.method, report.path);
        sink.lock().unwrap().push((line, report.outcome.to_owned()));
    });
    (client, reports)
}

fn connect() -> Credential {
    Credential::ConnectJwt {
        app_key: "app".into(),
        client_key: "tenant".into(),
        secret: SECRET.into(),
    }
}

fn cloud(server: &TestServer) -> Cloud {
    client(&[server]).0.for_credential(connect())
}

fn repo() -> RepoRef {
    RepoRef::from_full_name("acme/shop").unwrap()
}

fn page(values: &Value) -> Answer {
    Answer::json(200, &json!({"pagelen": 100, "values": values}))
}

fn problem(status: u16, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"type": "error", "error": {"message": message}}),
    )
}

/// Path and query of a recorded request.
fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

fn body_of(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Checks that a recorded request carries a token for exactly itself.
fn assert_signed(request: &str) {
    let (method, rest) = request.split_once(' ').unwrap();
    let (path, query) = match target(request).split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target(request), None),
    };
    let token = rest
        .lines()
        .find_map(|line| line.strip_prefix("authorization: JWT "))
        .unwrap();
    let sent = jwt::Request {
        method,
        path,
        query,
        base_path: "",
    };
    let claims = jwt::verify(token, &Secret::from(SECRET), &sent, NOW).unwrap();
    assert_eq!(
        (claims.issuer.as_str(), claims.subject.as_deref()),
        ("app", Some("tenant"))
    );
}
