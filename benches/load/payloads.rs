//! What is sent: requests as the clients of the product make them.

use std::io::Write as _;

use serde_json::json;
use tracebucket::kit::crypto::{hmac_sha256, random_hex};
use uuid::Uuid;

/// A push as Bitbucket sends it, of which every copy has a commit, a delivery id and a signature of its own.
pub struct Push {
    /// The body in pieces: between two of them goes the hash of the commit.
    pieces: Vec<String>,
    path: String,
    secret: String,
}

impl Push {
    /// `body` is a recorded delivery that brought the commit `hash`.
    pub fn new(body: &str, hash: &str, path: &str, secret: &str) -> Self {
        let pieces = body.split(hash).map(str::to_owned).collect();
        Self {
            pieces,
            path: path.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// The body of a new copy.
    pub fn body(&self) -> Vec<u8> {
        self.pieces.join(&random_hex(20)).into_bytes()
    }

    /// One whole request.
    pub fn write(&self, request: &mut Vec<u8>) {
        let body = self.body();
        let tag = hex::encode(hmac_sha256(self.secret.as_bytes(), &body));
        let uuid = Uuid::new_v4();
        let _ = write!(
            request,
            "POST {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Bitbucket-Webhooks/2.0\r\nContent-Type: application/json\r\n\
             X-Event-Key: repo:push\r\nX-Hook-UUID: 00000000-0000-4000-8000-000000000000\r\nX-Request-UUID: {uuid}\r\n\
             X-Attempt-Number: 1\r\nX-Hub-Signature: sha256={tag}\r\nContent-Length: {}\r\n\r\n",
            self.path,
            body.len()
        );
        request.extend_from_slice(&body);
    }
}

/// An error event of 3 KB in an envelope.
pub struct Crash {
    /// The event in pieces: id, name of the exception, the rest.
    pieces: [String; 3],
    path: String,
    key: String,
    /// Groups among which the events are spread.
    groups: u64,
}

/// Bytes of the event item.
const EVENT_BYTES: usize = 3_000;

impl Crash {
    /// Events for the project `id` with the DSN key `key`.
    pub fn new(project: &str, key: &str, groups: u64) -> Self {
        let event = |padding: usize| {
            let frames: Vec<_> = (0..8)
                .map(|n| {
                    json!({ "filename": format!("shop/part{n}.py"), "abs_path": format!("/srv/shop/part{n}.py"),
                            "module": format!("shop.part{n}"), "function": format!("step_{n}"), "lineno": 40 + n,
                            "in_app": n > 2, "context_line": "    share = voucher / len(items)" })
                })
                .collect();
            json!({
                "event_id": "EVENT-ID", "platform": "python", "level": "error", "timestamp": 1_795_305_604.5,
                "server_name": "web-1", "environment": "production", "release": "shop@1.4.2",
                "sdk": { "name": "sentry.python", "version": "2.30.0" },
                "contexts": { "runtime": { "name": "CPython", "version": "3.13.2" } },
                "tags": { "region": "eu" }, "extra": { "padding": "x".repeat(padding) },
                "exception": { "values": [{ "type": "EXCEPTION-NAME", "value": "division by zero",
                                            "stacktrace": { "frames": frames } }] },
            })
            .to_string()
        };
        // Both names are replaced by longer ones: 32 digits, and a word with six.
        let grows = (32 - "EVENT-ID".len()) + ("Fault000000Error".len() - "EXCEPTION-NAME".len());
        let text = event(EVENT_BYTES.saturating_sub(event(0).len() + grows));
        let (before, rest) = text.split_once("EVENT-ID").expect("the event has an id");
        let (middle, after) = rest
            .split_once("EXCEPTION-NAME")
            .expect("the event has an exception");
        Self {
            pieces: [before.to_owned(), middle.to_owned(), after.to_owned()],
            path: format!("/api/{project}/envelope/"),
            key: key.to_owned(),
            groups,
        }
    }

    /// One whole request.
    pub fn write(&self, number: u64, request: &mut Vec<u8>) {
        let [before, middle, after] = &self.pieces;
        let id = Uuid::new_v4().simple();
        let name = format!("Fault{:06}Error", number % self.groups);
        let length = before.len() + 32 + middle.len() + name.len() + after.len();
        let head =
            format!("{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\",\"length\":{length}}}\n");
        let _ = write!(
            request,
            "POST {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: sentry.python/2.30.0\r\n\
             Content-Type: application/x-sentry-envelope\r\n\
             X-Sentry-Auth: Sentry sentry_key={}, sentry_version=7, sentry_client=sentry.python/2.30.0\r\n\
             Content-Length: {}\r\n\r\n{head}{before}{id}{middle}{name}{after}\n",
            self.path,
            self.key,
            head.len() + length + 1
        );
    }
}

/// A browser that Bitbucket sends to the setup page.
pub fn setup(url: &str, request: &mut Vec<u8>) {
    let path = url
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or("/");
    let _ = write!(
        request,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
    );
}
