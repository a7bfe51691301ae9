//! Bodies that want memory: many at once, slow, packed, of every kind. The program as a process of its own stays
//! within what it may take, and honest senders are served meanwhile.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::program::{Program, memory};
use crate::support::sdk::{auth, envelope, error, event_id};
use crate::support::{Backend, TestApp, answer};

/// What the process may grow by while it is attacked, in KB. With the 11 MB of its own that it takes at idle and the
/// pages of its program file this is less than the 96 MB that it may take under load.
const GROWTH: u64 = 68 * 1024;
/// Pieces that a slow sender makes of a body.
const PIECES: usize = 20;

fn item(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "{{}}\n{{\"type\":\"{kind}\",\"length\":{}}}\n",
        payload.len()
    )
    .into_bytes();
    body.extend_from_slice(payload);
    body
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// An event of nearly the largest size, so that a reader must hold nearly all that it may.
fn large_event() -> Vec<u8> {
    let mut event = error("Large", "f");
    let mut noise = String::new();
    while noise.len() < 900_000 {
        noise.push_str(&event_id());
    }
    event["extra"] = serde_json::json!({ "noise": noise });
    event.to_string().into_bytes()
}

struct Hostile {
    name: &'static str,
    encoding: &'static str,
    body: Arc<Vec<u8>>,
    /// Answers that are right; the connection may also end without one while it still sends.
    answers: &'static [u16],
}

fn hostile() -> Vec<Hostile> {
    // 0x78 0x9c: a zlib header, so that deflate starts.
    let noise: Vec<u8> = [0x78, 0x9c]
        .into_iter()
        .chain((0..19_900_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8))
        .collect();
    let zeros = vec![b' '; 99_000_000];
    let new = |name, encoding, body, answers| Hostile {
        name,
        encoding,
        body: Arc::new(body),
        answers,
    };
    vec![
        new(
            "a gzip bomb of an attachment",
            "gzip",
            gzip(&item("attachment", &zeros)),
            &[200, 429],
        ),
        new("a gzip bomb of a line", "gzip", gzip(&zeros), &[413, 429]),
        new(
            "a gzip bomb of an event",
            "gzip",
            gzip(&item("event", &zeros)),
            &[413, 429],
        ),
        new(
            "a zstd bomb",
            "zstd",
            ruzstd::encoding::compress_to_vec(
                &item("attachment", &zeros)[..],
                ruzstd::encoding::CompressionLevel::Fastest,
            ),
            &[200, 429],
        ),
        new(
            "a large attachment",
            "identity",
            item("attachment", &noise),
            &[200, 429],
        ),
        new(
            "a large attachment, packed",
            "gzip",
            gzip(&item("attachment", &noise[..19_000_000])),
            &[200, 429],
        ),
        new("noise as brotli", "br", noise.clone(), &[400, 429]),
        new("noise as deflate", "deflate", noise, &[400, 429]),
        new(
            "a large event",
            "identity",
            item("event", &large_event()),
            &[200, 429],
        ),
        new(
            "a large event, packed",
            "gzip",
            gzip(&item("event", &large_event())),
            &[200, 429],
        ),
    ]
}

/// Sends a body in pieces over so much time; the status, if there was an answer.
async fn send(request: reqwest::RequestBuilder, body: &Hostile, time: Duration) -> Option<u16> {
    let (size, pause) = (body.body.len().div_ceil(PIECES), time / PIECES as u32);
    let whole = Arc::clone(&body.body);
    let pieces = futures_util::stream::unfold(0, move |at| {
        let whole = Arc::clone(&whole);
        async move {
            let piece = whole.chunks(size).nth(at)?.to_vec();
            tokio::time::sleep(pause).await;
            Some((Ok::<_, Infallible>(piece), at + 1))
        }
    });
    let request = request
        .header("Content-Encoding", body.encoding)
        .body(reqwest::Body::wrap_stream(pieces));
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    if status == 429 {
        assert!(response.headers().contains_key("retry-after"));
        assert!(response.headers().contains_key("x-sentry-rate-limits"));
    }
    Some(status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bodies_take_no_more_than_their_budget() {
    let app = TestApp::start(Backend::Sqlite).await;
    let tenant = app.tenant("acme").await;
    let (url, auth) = (
        app.url(&format!("/api/{}/envelope/", tenant.project.id)),
        auth(&tenant),
    );
    let groups = app.url("/api/0/organizations/acme/issues/?query=");
    let program = Program::instead_of(app).await;
    let running = program.start().await;
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let post = || http.post(&url).header("X-Sentry-Auth", &auth);
    for _ in 0..20 {
        let warm = post()
            .body(envelope(&event_id(), &error("Honest", "f")))
            .send()
            .await
            .unwrap();
        assert_eq!(warm.status(), 200);
    }
    let before = memory(running.id(), "RssAnon");
    let over = Arc::new(AtomicBool::new(false));
    let watch = {
        let (over, pid) = (Arc::clone(&over), running.id());
        std::thread::spawn(move || {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(memory(pid, "RssAnon"));
                std::thread::sleep(Duration::from_millis(5));
            }
            peak
        })
    };

    let bodies: Vec<Arc<Hostile>> = hostile().into_iter().map(Arc::new).collect();
    let mut attacks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (body, request) = (Arc::clone(&bodies[number % bodies.len()]), post());
        attacks.spawn(async move {
            let status = send(request, &body, Duration::from_secs(4)).await;
            (body, status)
        });
    }
    // 500 that have sent nearly all of a small event and wait.
    let held = Arc::new(Hostile {
        name: "stalled",
        encoding: "identity",
        body: Arc::new(item("event", error("Stalled", "f").to_string().as_bytes())),
        answers: &[200, 429],
    });
    for _ in 0..500 {
        let (body, request) = (Arc::clone(&held), post());
        attacks.spawn(async move {
            let status = send(request, &body, Duration::from_secs(8)).await;
            (body, status)
        });
    }

    let (mut stored, mut refused) = (0, 0);
    let begun = Instant::now();
    let mut statuses: std::collections::BTreeMap<&str, Vec<Option<u16>>> = Default::default();
    while !attacks.is_empty() {
        let id = event_id();
        loop {
            let answer = post()
                .body(envelope(&id, &error("Honest", "f")))
                .send()
                .await
                .unwrap();
            match answer.status().as_u16() {
                200 => break,
                429 => {
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                other => panic!("{other}"),
            }
        }
        stored += 1;
        while let Some(done) = attacks.try_join_next() {
            let (body, status) = done.unwrap();
            statuses.entry(body.name).or_default().push(status);
            if let Some(status) = status {
                assert!(body.answers.contains(&status), "{}: {status}", body.name);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{statuses:?}");
    }
    over.store(true, Ordering::Relaxed);
    let peak = watch.join().unwrap();
    let after = memory(running.id(), "RssAnon");
    eprintln!(
        "before {before} KB, peak {peak} KB, after {after} KB; {stored} honest events stored, {refused} times refused; {:?}",
        begun.elapsed()
    );
    for (name, statuses) in &statuses {
        let mut counts = std::collections::BTreeMap::<_, usize>::new();
        statuses
            .iter()
            .for_each(|status| *counts.entry(status).or_default() += 1);
        eprintln!("{name}: {counts:?}");
    }
    assert!(peak - before < GROWTH, "grew by {} KB", peak - before);
    assert!(stored > 2, "{stored}");
    let listed = answer(http.get(&groups).bearer_auth(&tenant.token), 200).await;
    let count = |title: &str| {
        let group = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|group| group["title"].as_str().unwrap().starts_with(title));
        group.map_or(0, |group: &Value| {
            group["count"].as_str().unwrap().parse::<usize>().unwrap()
        })
    };
    assert_eq!(count("Honest"), stored + 20, "each was stored once");
    let accepted = |name: &str| {
        statuses[name]
            .iter()
            .filter(|status| **status == Some(200))
            .count()
    };
    assert_eq!(count("Stalled"), accepted("stalled"));
    assert_eq!(
        count("Large"),
        accepted("a large event") + accepted("a large event, packed")
    );
}
