//! What callers do wrong: a defined answer, and a line that names the cause and repeats no secret.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tracebucket::kit::crypto::hmac_sha256;

use super::Stage;
use crate::scene::Scene;
use crate::support::Backend;
use crate::support::world::World;

const INSTALLED: &str = "/extensions/bitbucket/installed/";

/// A request whose body ends before its announced length; the status of the answer, or 0 when there is none.
async fn cut_short(base: &str, path: &str, headers: &str) -> u16 {
    let address = base.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: 500\r\n\r\n{{}}\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_do_wrong_is_said() {
    let s = Scene::start(Backend::Sqlite).await;
    let secrets = s.secrets().await;
    let hook_url = s.hook_url();
    let payload = s.payload(json!({"push": {"changes": []}})).to_string();
    let (client_key, hook_secret) = (s.client_key.clone(), s.secret.clone());
    let World {
        t,
        bitbucket: _bitbucket,
        tenant,
        folder: _folder,
        ..
    } = s.world;
    let planted = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJwbGFudGVkIn0.planted";
    let mut all = secrets;
    all.push("planted".into());
    let stage = Stage::start(t, &tenant, all).await;
    let (http, base) = (&stage.http, stage.program.base.clone());
    let url = |path: &str| format!("{base}{path}");
    let install = json!({"clientKey": client_key, "sharedSecret": "planted"}).to_string();
    let hook = |signature: &str, body: Vec<u8>| {
        let request = http.post(url(&hook_url)).header("X-Event-Key", "repo:push");
        request.header("X-Hub-Signature", signature).body(body)
    };
    let event = |encoding: &str, body: Vec<u8>| {
        let request = http
            .post(&stage.event_url)
            .header("X-Sentry-Auth", &stage.auth);
        request.header("Content-Encoding", encoding).body(body)
    };
    let bomb = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![b' '; 1_000_000]).unwrap();
        encoder.finish().unwrap()
    };
    let wrong = format!("sha256={}", "0".repeat(64));
    let rows = [
        (
            http.post(url(INSTALLED))
                .header("Authorization", format!("JWT {planted}"))
                .body(install.clone()),
            401,
            "not signed with HS256",
        ),
        (
            http.post(url(INSTALLED)).body(install),
            401,
            "no Connect token",
        ),
        (http.post(url(INSTALLED)).body("{"), 400, "invalid"),
        (
            http.get(url("/extensions/bitbucket/setup/?jwt=planted")),
            401,
            "malformed",
        ),
        (hook(&wrong, payload.clone().into_bytes()), 400, "signature"),
        (hook(&wrong, vec![0xff, 0xfe]), 400, "not a JSON object"),
        (hook(&wrong, vec![b' '; 1_100_000]), 413, "too_large"),
        (
            http.post(url("/extensions/bitbucket/organizations/999999/webhook/"))
                .body(payload.clone()),
            400,
            "no such organization",
        ),
        (event("gzip", bomb), 413, "header"),
        (
            event("gzip", b"no gzip at all, not even close".to_vec()),
            400,
            "not valid gzip",
        ),
        (event("identity", b"[]\n".to_vec()), 400, "header"),
        (
            http.get(url("/api/0/organizations/acme/issues/"))
                .bearer_auth("sntrys_planted"),
            401,
            "Invalid token",
        ),
    ];
    let mut odd = Vec::new();
    for (number, (request, status, cause)) in rows.into_iter().enumerate() {
        // A second has room for so many lines.
        if number == 8 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let before = stage.program.log().len();
        let answer = request.send().await.unwrap();
        let log = stage.program.log()[before..].to_owned();
        if answer.status() != status || !log.contains("request refused") || !log.contains(cause) {
            odd.push(format!("{number} {cause}: {} {log}", answer.status()));
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    let auth = format!("X-Sentry-Auth: {}\r\n", stage.auth);
    let event_path = stage.event_url.trim_start_matches(&base).to_owned();
    for (path, headers) in [
        (hook_url.as_str(), ""),
        (INSTALLED, ""),
        (event_path.as_str(), auth.as_str()),
    ] {
        let status = cut_short(&base, path, headers).await;
        assert!(matches!(status, 0 | 400 | 401 | 408), "{path}: {status}");
    }
    assert_eq!(stage.stored().await, 0, "nothing of that was stored");
    assert_eq!(super::count_deliveries(&stage.program.database_url), 0);

    // An event that nobody asked for is no fault of the caller's: it is kept, and its line says that nothing uses it.
    let tag = hex::encode(hmac_sha256(hook_secret.as_bytes(), payload.as_bytes()));
    let strange = http
        .post(url(&hook_url))
        .header("X-Event-Key", "repo:fork")
        .header("X-Hub-Signature", format!("sha256={tag}"));
    assert_eq!(strange.body(payload).send().await.unwrap().status(), 204);
    assert_eq!(super::count_deliveries(&stage.program.database_url), 1);
    stage.assert_logged("nothing here uses its event");
    stage.end();
}
