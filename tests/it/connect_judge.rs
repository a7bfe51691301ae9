//! Connect signatures, judged by an implementation that is not ours: `atlassian-jwt` from npm.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tracebucket::atlassian::jwt;
use tracebucket::kit::clock::Clock;
use tracebucket::kit::crypto::Secret;
use url::Url;

use crate::support::client;

const REQUESTS: usize = 400;
const ORIGIN: &str = "https://api.example";

/// A request that one side signs for the other.
#[derive(Debug, Clone)]
struct Signed {
    method: &'static str,
    base: &'static str,
    url: Url,
    secret: String,
}

/// A path segment or a parameter: words, what has to be escaped, and what looks like a separator.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9-]{1,12}",
        3 => "[ -~]{0,12}",
        1 => "\\PC{0,6}",
        1 => Just("{0f3a-uuid}".to_owned()),
        1 => Just("a&b=c d+e%2F~*'()".to_owned()),
    ]
}

/// Methods, paths with one trailing slash or none, repeated, empty and valueless parameters, with and without a base
/// path. `jwt` is left out of every hash, so it may be there too.
fn request() -> impl Strategy<Value = Signed> {
    let parameter = (
        prop_oneof![4 => text(), 1 => Just("jwt".to_owned()), 2 => Just("q".to_owned())],
        text(),
    );
    (
        prop::sample::select(vec!["GET", "POST", "PUT", "DELETE"]),
        prop::sample::select(vec!["", "/base", "/deep/base"]),
        prop::collection::vec(text(), 0..5),
        any::<bool>(),
        prop::collection::vec(parameter, 0..6),
        "[!-~]{1,64}",
    )
        .prop_map(|(method, base, segments, slash, parameters, secret)| {
            let mut url = Url::parse(&format!("{ORIGIN}{base}/")).unwrap();
            {
                let mut path = url.path_segments_mut().unwrap();
                path.pop_if_empty();
                // Empty and dotted segments change the path itself when the URL is read again.
                path.extend(
                    segments
                        .iter()
                        .filter(|s| !s.is_empty() && !matches!(s.as_str(), "." | "..")),
                );
                if slash {
                    path.push("");
                }
            }
            // Raw, these are escaped by Node's URL reader before the judge sees them; no path of ours holds them raw.
            let escaped = url
                .path()
                .replace('\'', "%27")
                .replace('^', "%5E")
                .replace('|', "%7C");
            url.set_path(&escaped);
            if !parameters.is_empty() {
                url.query_pairs_mut().extend_pairs(&parameters);
            }
            Signed {
                method,
                base,
                url,
                secret,
            }
        })
}

fn requests() -> Vec<Signed> {
    let mut runner = TestRunner::default();
    let strategy = request();
    (0..REQUESTS)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

async fn judge(lines: Vec<serde_json::Value>) -> Vec<serde_json::Value> {
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let none: [&str; 0] = [];
    let answers = client::run(
        client::node("node/jwt.mjs", &none),
        &input,
        Duration::from_secs(60),
    )
    .await;
    assert_eq!(answers.len(), lines.len(), "one answer for each line");
    answers
}

/// What we sign, `atlassian-jwt` accepts, for that request and no other.
#[tokio::test]
#[ignore = "needs the clients of tests/clients"]
async fn what_we_sign_is_accepted() {
    let requests = requests();
    let now = Clock::system().now();
    let mut lines = Vec::new();
    for signed in &requests {
        // Our own calls have no base path: the whole path is hashed.
        let secret = Secret::new(signed.secret.clone());
        let token = jwt::sign(
            "app-key",
            "client-key",
            &secret,
            signed.method,
            &signed.url,
            now,
        )
        .unwrap();
        lines.push(json!({ "token": token, "secret": signed.secret, "method": signed.method, "url": signed.url, "base": ORIGIN }));
        lines.push(json!({ "token": token, "secret": signed.secret, "method": "PATCH", "url": signed.url, "base": ORIGIN }));
        lines.push(json!({ "token": token, "secret": format!("{}x", signed.secret), "method": signed.method, "url": signed.url, "base": ORIGIN }));
    }
    let answers = judge(lines).await;
    for (signed, answer) in requests.iter().zip(answers.chunks(3)) {
        assert_eq!(answer[0]["ok"], true, "{signed:?}: {}", answer[0]);
        assert_eq!(answer[0]["qsh_ok"], true, "{signed:?}: {}", answer[0]);
        assert_eq!(answer[0]["claims"]["iss"], "app-key");
        assert_eq!(answer[1]["qsh_ok"], false, "another method: {signed:?}");
        assert_eq!(answer[2]["ok"], false, "another secret: {signed:?}");
    }
}

/// What `atlassian-jwt` signs for a request below our base path, we accept, for that request and no other.
#[tokio::test]
#[ignore = "needs the clients of tests/clients"]
async fn what_it_signs_we_accept() {
    let requests = requests();
    let now = Clock::system().now();
    let lines = requests
        .iter()
        .map(|s| {
            json!({ "method": s.method, "url": s.url, "base": format!("{ORIGIN}{}", s.base), "secret": s.secret,
                    "claims": { "iss": "client-key" } })
        })
        .collect();
    for (signed, answer) in requests.iter().zip(judge(lines).await) {
        let token = answer["token"]
            .as_str()
            .unwrap_or_else(|| panic!("{signed:?}: {answer}"));
        let request = jwt::Request {
            method: signed.method,
            path: signed.url.path(),
            query: signed.url.query(),
            base_path: signed.base,
        };
        let secret = Secret::new(signed.secret.clone());
        let claims = jwt::verify(token, &secret, &request, now).unwrap_or_else(|error| {
            panic!(
                "{error}: {signed:?}\ntheirs {}\nours   {}",
                answer["canonical"],
                tracebucket::atlassian::qsh::canonical_request(
                    request.method,
                    request.path,
                    request.query,
                    request.base_path
                )
            )
        });
        assert_eq!(claims.issuer, "client-key");
        let other = jwt::Request {
            method: "PATCH",
            ..request
        };
        assert_eq!(
            jwt::verify(token, &secret, &other, now),
            Err(jwt::JwtError::QueryHash),
            "{signed:?}"
        );
    }
}
