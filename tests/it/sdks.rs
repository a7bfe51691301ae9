//! Real Sentry SDKs against the running application: each report becomes one error that reads as its author expects.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::{PATIENCE, Tenant, TestApp, both, client};

/// What `/api/0` must say about the one error that an SDK reported.
struct Expected<'a> {
    title: &'a str,
    level: &'a str,
    platform: &'a str,
    /// Names of functions that the stack trace holds, the crash last.
    functions: &'a [&'a str],
}

impl TestApp {
    fn dsn(&self, tenant: &Tenant) -> String {
        let host = self.base.trim_start_matches("http://");
        format!(
            "http://{}@{host}/{}",
            tenant.key.public_key, tenant.project.id
        )
    }

    /// The only group there is and its latest event, once workers have done what there is to do.
    async fn only_error(&self, tenant: &Tenant) -> (Value, Value) {
        self.run_jobs().await;
        let org = &tenant.org.slug;
        let groups = self
            .get(
                &format!("/api/0/organizations/{org}/issues/?query="),
                &tenant.token,
                200,
            )
            .await;
        assert_eq!(
            groups.as_array().map(Vec::len),
            Some(1),
            "one error, seen once: {groups}"
        );
        let id = groups[0]["id"].as_str().unwrap();
        let event = self
            .get(
                &format!("/api/0/organizations/{org}/issues/{id}/events/latest/"),
                &tenant.token,
                200,
            )
            .await;
        (groups[0].clone(), event)
    }

    async fn shows(&self, tenant: &Tenant, expected: &Expected<'_>) -> Value {
        let (group, event) = self.only_error(tenant).await;
        assert_eq!(group["title"], expected.title, "{group}");
        assert_eq!(group["level"], expected.level, "{group}");
        assert_eq!(group["platform"], expected.platform, "{group}");
        assert_eq!(group["status"], "unresolved", "{group}");
        assert_eq!(event["title"], expected.title, "{event}");
        let functions = functions(&event);
        let mut rest = functions.iter();
        for wanted in expected.functions {
            // In this order, with others between them.
            assert!(
                rest.any(|found| found.contains(wanted)),
                "{wanted} in {functions:?}"
            );
        }
        event
    }
}

/// Functions of the last exception's frames, oldest first.
fn functions(event: &Value) -> Vec<String> {
    let entries = event["entries"].as_array().expect("entries");
    let exception = entries.iter().find(|entry| entry["type"] == "exception");
    let values = exception
        .and_then(|entry| entry["data"]["values"].as_array())
        .cloned()
        .unwrap_or_default();
    let frames = values
        .last()
        .and_then(|value| value["stacktrace"]["frames"].as_array())
        .cloned()
        .unwrap_or_default();
    frames
        .iter()
        .filter_map(|frame| frame["function"].as_str())
        .map(str::to_owned)
        .collect()
}

/// The event id that a client printed, which must be the one that is kept.
fn printed(lines: &[Value]) -> String {
    lines
        .iter()
        .find_map(|line| line["event_id"].as_str())
        .expect("the client prints the event id")
        .to_owned()
}

/// Declares one ignored test for each database; the client is one of `tests/clients`.
macro_rules! with_client {
    ($(async fn $name:ident($t:ident) $body:block)+) => {
        $(mod $name {
            use super::*;
            async fn story($t: TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs the clients of tests/clients"]
            async fn sqlite() {
                story(TestApp::start(crate::support::Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs the clients of tests/clients"]
            async fn postgres() {
                story(TestApp::start(crate::support::Backend::Postgres).await).await;
            }
        })+
    };
}

with_client! {
    async fn python_reports(t) {
        let tenant = t.tenant("acme").await;
        let dsn = t.dsn(&tenant);
        let said = client::run(client::python("python/crash.py", &[dsn.as_str(), "--environment", "tests"]), "", PATIENCE).await;
        let event = t.shows(&tenant, &Expected {
            title: "ZeroDivisionError: division by zero", level: "error", platform: "python",
            functions: &["serve", "close_table", "split_bill"],
        }).await;
        assert_eq!(event["eventID"], printed(&said));
        // The crash as the author reads it: his file, the line, and the text of the line.
        let entry = event["entries"].as_array().unwrap().iter().find(|e| e["type"] == "exception").unwrap();
        let frame = entry["data"]["values"][0]["stacktrace"]["frames"].as_array().unwrap().last().unwrap();
        assert_eq!(frame["filename"], "crash.py");
        let line = frame["lineNo"].as_u64().unwrap();
        let context = frame["context"].as_array().unwrap();
        let crash = context.iter().find(|pair| pair[0].as_u64() == Some(line)).expect("the line itself");
        assert_eq!(crash[1].as_str().unwrap().trim(), "return total / guests");
        let environment = event["tags"].as_array().unwrap().iter().find(|tag| tag["key"] == "environment");
        assert_eq!(environment.expect("a tag")["value"], "tests");
    }

    async fn python_reports_the_same_crash_again(t) {
        let tenant = t.tenant("acme").await;
        let dsn = t.dsn(&tenant);
        client::run(client::python("python/crash.py", &[dsn.as_str(), "--times", "7"]), "", PATIENCE).await;
        let (group, _) = t.only_error(&tenant).await;
        assert_eq!(group["count"], "7", "{group}");
    }

    async fn node_reports(t) {
        let tenant = t.tenant("acme").await;
        let dsn = t.dsn(&tenant);
        let said = client::run(client::node("node/crash.mjs", &[dsn.as_str(), "--release", "shop@1.4.0"]), "", PATIENCE).await;
        let event = t.shows(&tenant, &Expected {
            title: "TypeError: Cannot read properties of undefined (reading 'name')", level: "error", platform: "node",
            functions: &["serve", "closeTable", "firstGuest"],
        }).await;
        assert_eq!(event["eventID"], printed(&said));
        assert_eq!(event["release"]["version"], "shop@1.4.0");
    }

    async fn sentry_cli_reports(t) {
        let tenant = t.tenant("acme").await;
        let mut command = tokio::process::Command::new(client::setting("TRACEBUCKET_TEST_SENTRY_CLI"));
        command.args(["send-event", "--message", "The night job did not start", "--tag", "host:night-1"]);
        command.env("SENTRY_DSN", t.dsn(&tenant));
        client::run(command, "", PATIENCE).await;
        let event = t.shows(&tenant, &Expected {
            title: "The night job did not start", level: "error", platform: "native", functions: &[],
        }).await;
        let host = event["tags"].as_array().unwrap().iter().find(|tag| tag["key"] == "host");
        assert_eq!(host.expect("a tag")["value"], "night-1");
    }

    // Its path says `browser`, so that `make test-fast` leaves it out.
    async fn browser_reports_from_another_origin(t) {
        let tenant = t.tenant("acme").await;
        let dsn = t.dsn(&tenant);
        let said = client::run(client::node("browser/sdk-page.mjs", &[dsn]), "", PATIENCE).await;
        assert_eq!(said[0]["allow_origin"], "*", "the page may read the answer");
        let event = t.shows(&tenant, &Expected {
            title: "TypeError: Cannot read properties of undefined (reading 'length')", level: "error", platform: "javascript",
            functions: &["checkout", "priceOf"],
        }).await;
        assert_eq!(event["eventID"], printed(&said));
    }
}

/// Runs `work` on a thread of its own, whose hub reports to `dsn` as `sentry::init` would set it up; flushes.
async fn with_rust_sdk(dsn: String, work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(move || {
        let thread = std::thread::spawn(move || {
            let mut options = sentry::ClientOptions::default();
            options.dsn = Some(dsn.parse().expect("a DSN"));
            let client = Arc::new(sentry::Client::with_options(sentry::apply_defaults(
                options,
            )));
            let hub = Arc::new(sentry::Hub::new(Some(Arc::clone(&client)), Arc::default()));
            sentry::Hub::run(hub, work);
            assert!(
                client.flush(Some(Duration::from_secs(20))),
                "everything was sent"
            );
        });
        thread.join().expect("the reporting thread ends well");
    })
    .await
    .unwrap();
}

#[inline(never)]
fn unpaid_order(orders: &[u32]) -> u32 {
    *orders.iter().max().expect("there is an order")
}

both! {
    async fn rust_reports_an_error(t) {
        let tenant = t.tenant("acme").await;
        with_rust_sdk(t.dsn(&tenant), || {
            let error = "twelve".parse::<u32>().expect_err("not a number");
            sentry::capture_error(&error);
        })
        .await;
        // The SDK sends no level and no stack with a plain error: the default is "error".
        t.shows(&tenant, &Expected {
            title: "ParseIntError: invalid digit found in string", level: "error", platform: "native", functions: &[],
        })
        .await;
    }

    async fn rust_reports_a_panic(t) {
        let tenant = t.tenant("acme").await;
        with_rust_sdk(t.dsn(&tenant), || {
            let caught = std::panic::catch_unwind(|| unpaid_order(&[]));
            assert!(caught.is_err(), "it panics");
        })
        .await;
        t.shows(&tenant, &Expected {
            title: "panic: there is an order", level: "fatal", platform: "native", functions: &["unpaid_order"],
        })
        .await;
    }
}
