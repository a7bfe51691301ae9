//! Whose request it is, behind a reverse proxy and without one.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::support::program::Program;
use crate::support::world::hidden;
use crate::support::{Backend, Options, TestApp};

const PROXY: &str = "127.0.0.1";
const STRANGER: &str = "127.0.0.2";

/// Somebody who calls from this address of the machine.
fn caller(address: &str) -> reqwest::Client {
    reqwest::Client::builder()
        .local_address(address.parse::<IpAddr>().unwrap())
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_client() {
    let mut program = Program::instead_of(TestApp::start(Backend::Sqlite).await).await;
    program.set("TRUSTED_PROXIES", "127.0.0.1/32");
    program.set("LOG", "info");
    let running = program.start().await;
    for (from, forwarded, path) in [
        (PROXY, "203.0.113.9", "behind"),
        (
            PROXY,
            "198.51.100.1, 203.0.113.10",
            "behind-with-a-forged-hop",
        ),
        (PROXY, "203.0.113.9, garbage", "garbage"),
        (STRANGER, "203.0.113.9", "forged"),
    ] {
        // Refused, and so worth a line.
        let url = format!("{}/api/0/organizations/{path}/", program.base);
        let request = caller(from).get(url).header("X-Forwarded-For", forwarded);
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    running.kill();
    let log = program.log();
    let client = |path: &str| {
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let path = format!("/api/0/organizations/{path}/");
        let mut spans = lines.map(|line| line["span"].clone());
        let span = spans.find(|span| span["path"] == path.as_str());
        span.unwrap_or_else(|| panic!("no line for {path}: {log}"))["client"].clone()
    };
    assert_eq!(client("behind"), "203.0.113.9");
    assert_eq!(client("behind-with-a-forged-hop"), "203.0.113.10");
    assert_eq!(client("garbage"), PROXY);
    assert_eq!(client("forged"), STRANGER);
}

/// Tries wrong passwords until they are not looked at any more; answers how many were.
async fn tries(t: &TestApp, from: &str, forwarded: impl Fn(usize) -> String) -> usize {
    let caller = caller(from);
    let html = caller.get(t.url("/sign-in/")).send().await.unwrap();
    let csrf = hidden(&html.text().await.unwrap(), "csrf");
    let form = [
        ("email", "owner@acme.example"),
        ("password", "guess"),
        ("csrf", csrf.as_str()),
    ];
    for count in 0..15 {
        let request = caller
            .post(t.url("/sign-in/"))
            .header("origin", &t.base)
            .header("X-Forwarded-For", forwarded(count));
        if request.form(&form).send().await.unwrap().status() == 429 {
            return count;
        }
    }
    15
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_has_its_tries_and_takes_nobody_elses() {
    let settings = vec![("trusted_proxies", "127.0.0.1/32".to_owned())];
    let options = Options {
        settings,
        clock: None,
    };
    let t = TestApp::start_with(Backend::Sqlite, options).await;
    t.tenant("acme").await;
    let one = |_| "203.0.113.9".to_owned();
    let few = 9..=12;
    assert!(few.contains(&tries(&t, PROXY, one).await));
    assert!(tries(&t, PROXY, one).await <= 2, "its tries are used up");
    let other = tries(&t, PROXY, |_| "203.0.113.10".to_owned()).await;
    assert!(few.contains(&other), "somebody else is not kept out");
    let forger = tries(&t, STRANGER, |count| format!("203.0.113.{count}")).await;
    assert!(
        few.contains(&forger),
        "a new address in each request, from no proxy"
    );
}
