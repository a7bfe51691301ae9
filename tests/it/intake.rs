//! The door for SDKs: every row of sentry.md §11.2–11.6, the real bodies of real SDKs, and what happens to bad ones.
//!
//! Where we differ from the reference on purpose: an envelope without `event_id` is not refused, its event keeps its
//! own id or gets a new one; an encoding that we do not know is 415; a group's hash is ours (§11.9).

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::sdk::{auth, envelope, error, event_id};
use crate::support::{HeldDoor, Tenant, TestApp, both};

const CORS_ERRORS: &str = "x-sentry-error, x-sentry-rate-limits, retry-after";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest)
}

/// One block that is not compressed (RFC 7932 §9.2), for at most 64 KiB, and the empty last one.
fn brotli(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() - 1).unwrap();
    let head = (length << 4) | (1 << 20);
    let mut bytes = head.to_le_bytes()[..3].to_vec();
    bytes.extend_from_slice(body);
    bytes.push(0b11);
    bytes
}

/// How many events the only group has.
async fn count(t: &TestApp, tenant: &Tenant) -> i64 {
    match t.groups(tenant, "").await.as_slice() {
        [] => 0,
        [group] => group["count"].as_str().unwrap().parse().unwrap(),
        groups => panic!("{groups:#?}"),
    }
}

/// The answer must be an error of the intake's shape with this status and cause.
async fn refused(response: reqwest::Response, status: u16, cause: &str) {
    let headers = response.headers().clone();
    let got = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{got}: {text}"));
    assert_eq!((got, &body["causes"]), (status, &json!([cause])), "{body}");
    assert_eq!(
        headers["x-sentry-error"].to_str().unwrap(),
        body["detail"].as_str().unwrap()
    );
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["access-control-expose-headers"], CORS_ERRORS);
    assert_eq!(body.as_object().unwrap().len(), 2);
}

both! {
    async fn a_key_counts_wherever_it_is(t) {
        let a = t.tenant("acme").await;
        let key = &a.key.public_key;
        let body = |id: &str| envelope(id, &error("E", "f"));
        let fields = format!("sentry_key={key}, sentry_version=7, sentry_timestamp=1, sentry_secret=x");
        for header in [format!("Sentry {fields}"), format!("sentry {fields}"), fields.clone()] {
            let response = t.post(&a, "envelope").header("X-Sentry-Auth", header).body(body(&event_id())).send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
        let response = t.post(&a, "envelope").header("Authorization", format!("Sentry {fields}")).body(body(&event_id()));
        assert_eq!(response.send().await.unwrap().status(), 200);
        let response = t.post(&a, "envelope").query(&[("sentry_key", key.as_str()), ("sentry_version", "7")]).body(body(&event_id()));
        assert_eq!(response.send().await.unwrap().status(), 200);
        let dsn = tracebucket::features::accounts::dsn(&t.app.config.public_url, &a.key);
        let payload = error("E", "f").to_string();
        let with_dsn = format!("{{\"dsn\":\"{dsn}\"}}\n{{\"type\":\"event\"}}\n{payload}");
        assert_eq!(t.post(&a, "envelope").body(with_dsn).send().await.unwrap().status(), 200);
        assert_eq!(count(&t, &a).await, 6);
    }

    async fn keys_that_are_wrong_are_refused(t) {
        let a = t.tenant("acme").await;
        let b = t.tenant("bolt").await;
        let body = || envelope(&event_id(), &error("E", "f"));
        refused(t.post(&a, "envelope").body(body()).send().await.unwrap(), 403, "missing_key").await;
        let send = |header: String| t.post(&a, "envelope").header("X-Sentry-Auth", header).body(body()).send();
        refused(send("Sentry sentry_key=00000000000000000000000000000000".into()).await.unwrap(), 403, "unknown_key").await;
        refused(send(auth(&b)).await.unwrap(), 403, "unknown_key").await;
        refused(send("Sentry sentry_key=a b".into()).await.unwrap(), 403, "malformed_key").await;
        let both = t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).query(&[("sentry_key", &b.key.public_key)]);
        refused(both.body(body()).send().await.unwrap(), 403, "contradicting_keys").await;
        let foreign = tracebucket::features::accounts::dsn(&t.app.config.public_url, &b.key);
        let in_body = format!("{{\"dsn\":\"{foreign}\"}}\n");
        refused(t.send_envelope(&a, in_body.clone()).await, 403, "contradicting_keys").await;
        refused(t.post(&a, "envelope").body(in_body).send().await.unwrap(), 403, "contradicting_keys").await;
        refused(t.post(&a, "envelope").body("{\"dsn\":\"nonsense\"}\n").send().await.unwrap(), 403, "malformed_dsn").await;
        for project in ["999999", "0", "abc", "-1", "99999999999999999999"] {
            let url = t.url(&format!("/api/{project}/envelope/"));
            let response = t.http.post(url).header("X-Sentry-Auth", auth(&a)).body(body()).send().await.unwrap();
            refused(response, 403, "unknown_key").await;
        }
        assert_eq!(count(&t, &a).await + count(&t, &b).await, 0);
    }

    async fn every_content_type_is_treated_alike(t) {
        let a = t.tenant("acme").await;
        let types = ["application/x-sentry-envelope", "text/plain;charset=UTF-8", "multipart/form-data", "application/x-www-form-urlencoded", "application/json"];
        for content_type in types {
            let request = t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).header("Content-Type", content_type);
            let response = request.body(envelope(&event_id(), &error("E", "f"))).send().await.unwrap();
            assert_eq!(response.status(), 200, "{content_type}");
        }
        t.report(&a, &error("E", "f")).await;
        assert_eq!(count(&t, &a).await, 6);
    }

    async fn every_encoding_is_read(t) {
        let a = t.tenant("acme").await;
        let body = || envelope(&event_id(), &error("E", "f"));
        let send = |encoding: &'static str, body: Vec<u8>| {
            t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).header("Content-Encoding", encoding).body(body).send()
        };
        for (encoding, bytes) in [("gzip", gzip(&body())), ("deflate", zlib(&body())), ("zstd", zstd(&body())), ("identity", body())] {
            assert_eq!(send(encoding, bytes).await.unwrap().status(), 200, "{encoding}");
        }
        assert_eq!(count(&t, &a).await, 4);
        assert_eq!(send("br", brotli(&body())).await.unwrap().status(), 200, "br");
        // The text of this file is "hello world" in brotli: read, and no envelope.
        let brotli = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sdk/hello.br")).unwrap();
        refused(send("br", brotli.clone()).await.unwrap(), 400, "invalid_envelope_header").await;
        refused(send("br", brotli[..brotli.len() / 2].to_vec()).await.unwrap(), 400, "truncated_body").await;
        refused(send("compress", body()).await.unwrap(), 415, "unsupported_encoding").await;
        refused(send("gzip, gzip", gzip(&gzip(&body()))).await.unwrap(), 415, "unsupported_encoding").await;
        let packed = gzip(&body());
        refused(send("gzip", packed[..packed.len() / 2].to_vec()).await.unwrap(), 400, "truncated_body").await;
        refused(send("gzip", b"not gzip at all, not even close".to_vec()).await.unwrap(), 400, "corrupt_body").await;
        refused(send("zstd", b"neither is it this one".to_vec()).await.unwrap(), 400, "corrupt_body").await;
        assert_eq!(count(&t, &a).await, 5);
    }

    async fn chunks_are_put_together(t) {
        let a = t.tenant("acme").await;
        let whole = envelope(&event_id(), &error("E", "f"));
        let parts: Vec<Result<Vec<u8>, std::io::Error>> = whole.chunks(100).map(|part| Ok(part.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
        assert_eq!(t.send_envelope(&a, body).await.status(), 200);
        assert_eq!(count(&t, &a).await, 1);
    }

    async fn framing_follows_the_letter(t) {
        let a = t.tenant("acme").await;
        let id = "9ec79c33ec9942ab8353589fcb2e04dc";
        // The fixture of the reference: an attachment with BOM and CRLF, then an event with its line end counted.
        let fixture = format!(
            "{{\"event_id\":\"{id}\"}}\n{{\"type\":\"attachment\",\"length\":10,\"content_type\":\"text/plain\"}}\n\u{feff}Hello\r\n\n\
             {{\"type\":\"event\",\"length\":41}}\n{{\"message\":\"hello world\",\"level\":\"error\"}}\n\n"
        );
        let response = t.send_envelope(&a, fixture).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.text().await.unwrap(), format!("{{\"id\":\"{id}\"}}"));
        assert_eq!(t.only_group(&a).await["title"], "hello world");

        let empty = [
            "{}\n", "{}",
            "{}\n{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"attachment\",\"length\":0}\n\n",
            "{}\n{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"attachment\",\"length\":0}\n",
        ];
        for body in empty {
            let response = t.send_envelope(&a, body).await;
            assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, "{}"), "{body}");
        }
        for (body, cause) in [
            ("", "invalid_envelope_header"),
            ("[]\n", "invalid_envelope_header"),
            ("{\"event_id\":\"nonsense\"}\n", "invalid_event_id"),
            ("{\"sent_at\":\"2026-01-01T00:00:00Z\",\"sent_at\":\"2026-01-01T00:00:00Z\"}\n", "duplicate_sent_at"),
            ("{}\nnonsense\n{}", "invalid_item_header"),
            ("{}\n{}\n{}", "invalid_item_header"),
            ("{}\n{\"type\":\"event\",\"length\":-1}\n{}", "invalid_item_length"),
            ("{}\n{\"type\":\"event\",\"length\":500}\n{}", "truncated_item"),
            ("{}\n{\"type\":\"event\",\"length\":1}\n{}", "invalid_item_end"),
            ("{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"event\"}\n{}", "several_events"),
            ("{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"transaction\"}\n{}", "several_events"),
            ("{}\n{\"type\":\"event\"}\n[1]", "invalid_event"),
            ("{}\n{\"type\":\"event\"}\n{\"a\":", "invalid_event"),
        ] {
            refused(t.send_envelope(&a, body).await, 400, cause).await;
        }
        assert_eq!(count(&t, &a).await, 1);
    }

    async fn ids_have_two_spellings_and_one_winner(t) {
        let a = t.tenant("acme").await;
        let dashed = "4be1f2c0-1111-4222-8333-444455556666";
        let mut event = error("E", "f");
        event["event_id"] = json!(event_id());
        let response = t.send_envelope(&a, envelope(dashed, &event)).await;
        assert_eq!(response.text().await.unwrap(), r#"{"id":"4be1f2c0111142228333444455556666"}"#);
        // Without one in the header, the event's own is answered; without any, a new one.
        let own = event["event_id"].as_str().unwrap().to_owned();
        let response = t.send_envelope(&a, format!("{{}}\n{{\"type\":\"event\"}}\n{event}")).await;
        assert_eq!(response.text().await.unwrap(), format!("{{\"id\":\"{own}\"}}"));
        let response = t.send_envelope(&a, format!("{{}}\n{{\"type\":\"event\"}}\n{}", error("E", "f"))).await;
        let new: Value = response.json().await.unwrap();
        let path = format!("/api/0/projects/{}/{}/events/{}/", a.org.slug, a.project.slug, new["id"].as_str().unwrap());
        assert_eq!(t.get(&path, &a.token, 200).await["eventID"], new["id"]);
        assert_eq!(count(&t, &a).await, 3);
    }

    async fn what_we_have_no_use_for_is_accepted_and_dropped(t) {
        let a = t.tenant("acme").await;
        let kinds = ["transaction", "session", "sessions", "check_in", "client_report", "user_report", "feedback",
            "replay_event", "replay_recording", "security", "unreal_report", "form_data", "profile", "profile_chunk", "statsd", "metric_meta", "span", "log", "trace_metric", "from_the_future"];
        for kind in kinds {
            let body = format!("{{\"event_id\":\"{}\"}}\n{{\"type\":\"{kind}\"}}\n{{\"x\":1}}\n", event_id());
            assert_eq!(t.send_envelope(&a, body).await.status(), 200, "{kind}");
        }
        assert_eq!(count(&t, &a).await, 0);
        let mixed = format!(
            "{{\"event_id\":\"{}\"}}\n{{\"type\":\"from_the_future\",\"length\":3}}\na\nb\n{{\"type\":\"event\"}}\n{}\n{{\"type\":\"session\"}}\n{{}}",
            event_id(), error("E", "f"),
        );
        assert_eq!(t.send_envelope(&a, mixed).await.status(), 200);
        assert_eq!(count(&t, &a).await, 1);
    }

    async fn a_store_request_is_one_event(t) {
        let a = t.tenant("acme").await;
        let mut event = error("E", "f");
        event["event_id"] = json!("9ec79c33ec9942ab8353589fcb2e04dc");
        let send = |body: Vec<u8>| t.post(&a, "store").header("X-Sentry-Auth", auth(&a)).body(body).send();
        let response = send(event.to_string().into_bytes()).await.unwrap();
        assert_eq!(response.text().await.unwrap(), r#"{"id":"9ec79c33ec9942ab8353589fcb2e04dc"}"#);
        let response = t.post(&a, "store").header("X-Sentry-Auth", auth(&a)).header("Content-Encoding", "gzip");
        let response = response.body(gzip(error("E", "f").to_string().as_bytes())).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(count(&t, &a).await, 2);
        refused(send(b"[]".to_vec()).await.unwrap(), 400, "invalid_event").await;
        refused(send(vec![b' '; 1_000_001]).await.unwrap(), 413, "event_too_large").await;
        refused(t.post(&a, "store").body("{}").send().await.unwrap(), 403, "missing_key").await;
    }

    async fn limits_hold(t) {
        let a = t.tenant("acme").await;
        let item = |kind: &str, size: usize| {
            let mut body = format!("{{}}\n{{\"type\":\"{kind}\",\"length\":{size}}}\n").into_bytes();
            body.extend(std::iter::repeat_n(b'x', size));
            body
        };
        refused(t.send_envelope(&a, item("event", 1_000_001)).await, 413, "event_too_large").await;
        // Others that are too large are dropped alone.
        assert_eq!(t.send_envelope(&a, item("check_in", 100_001)).await.status(), 200);
        assert_eq!(t.send_envelope(&a, item("transaction", 1_000_001)).await.status(), 200);
        assert_eq!(t.send_envelope(&a, item("attachment", 2_000_000)).await.status(), 200);
        // A large event is stored and read back.
        let mut large = error("E", "f");
        large["extra"] = json!({ "noise": "é".repeat(450_000) });
        let id = t.report(&a, &large).await;
        let path = format!("/api/0/projects/{}/{}/events/{id}/", a.org.slug, a.project.slug);
        assert_eq!(t.get(&path, &a.token, 200).await["context"]["noise"].as_str().unwrap().len(), 900_000);
        // Announced as too large: refused before it is sent. Sent without announcing: refused on the way.
        let announced = t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).body(vec![b'x'; 20_000_001]);
        refused(announced.send().await.unwrap(), 413, "too_large").await;
        let pieces = |total: usize| {
            let head = b"{}\n{\"type\":\"attachment\"}\n".to_vec();
            let rest = total - head.len();
            let piece = 64 * 1024;
            let sizes = std::iter::repeat_n(piece, rest / piece).chain([rest % piece]);
            let parts = std::iter::once(head).chain(sizes.map(|size| vec![b'x'; size]));
            let parts: Vec<_> = parts.map(Ok::<_, std::io::Error>).collect();
            t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).body(reqwest::Body::wrap_stream(futures_util::stream::iter(parts)))
        };
        assert_eq!(pieces(20_000_000).send().await.unwrap().status(), 200, "the largest");
        refused(pieces(20_000_001).send().await.unwrap(), 413, "too_large").await;
        let many = "{}\n".to_owned() + &"{\"type\":\"x\",\"length\":0}\n\n".repeat(1_001);
        refused(t.send_envelope(&a, many).await, 413, "too_many_items").await;
        refused(t.send_envelope(&a, " ".repeat(70_000)).await, 413, "header_too_large").await;
        // A bomb: 200 MB of spaces in 200 KB.
        let bomb = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(b"{}\n{\"type\":\"attachment\"}\n").unwrap();
            for _ in 0..200 {
                encoder.write_all(&vec![b' '; 1_000_000]).unwrap();
            }
            encoder.finish().unwrap()
        };
        let response = t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).header("Content-Encoding", "gzip").body(bomb);
        refused(response.send().await.unwrap(), 413, "too_large").await;
        assert_eq!(count(&t, &a).await, 1);
    }

    async fn what_real_clients_sent_is_shown_as_they_mean_it(t) {
        let fixtures = [
            ("python", "ZeroDivisionError: division by zero", "__main__ in share"),
            ("node", "TypeError: Cannot read properties of undefined (reading 'price')", "total(cart)"),
            ("browser", "ReferenceError: cart is not defined", "pay(http://127.0.0.1:8080/assets/index-BX7yq2Lk.js)"),
            ("rust-error", "OrderError: order 4711 has no quantity", "shop::order::read::h0123456789abcdef"),
            ("rust-panic", "panic: called `Option::unwrap()` on a `None` value", "shop::stock::take"),
            ("cli-send-event", "boom arg1", ""),
            ("cli-raw-event", "hello", ""),
            ("cli-raw-envelope", "hi", ""),
        ];
        let a = t.tenant("acme").await;
        let dsn = tracebucket::features::accounts::dsn(&t.app.config.public_url, &a.key);
        for (client, title, culprit) in fixtures {
            let path = format!("{}/tests/fixtures/sdk/{client}.envelope", env!("CARGO_MANIFEST_DIR"));
            let body = std::fs::read_to_string(path).unwrap().replace("http://pub@127.0.0.1:18101/1", &dsn);
            // As each of them sends: packed with a header, plain with the key in the query, or in pieces.
            let request = match client {
                "python" => t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).header("Content-Encoding", "gzip").body(gzip(body.as_bytes())),
                "browser" => t.post(&a, "envelope").query(&[("sentry_key", &a.key.public_key)]).header("Content-Type", "text/plain;charset=UTF-8").body(body.clone()),
                _ => {
                    let parts: Vec<Result<Vec<u8>, std::io::Error>> = body.as_bytes().chunks(400).map(|part| Ok(part.to_vec())).collect();
                    t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).body(reqwest::Body::wrap_stream(futures_util::stream::iter(parts)))
                }
            };
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{client}");
            let id = response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
            let event = t.get(&format!("/api/0/projects/acme/acme-shop/events/{id}/"), &a.token, 200).await;
            assert_eq!((&event["eventID"], &event["title"], &event["culprit"]), (&json!(id), &json!(title), &json!(culprit)), "{client}");
            let group = t.groups(&a, "").await.into_iter().find(|group| group["id"] == event["groupID"]).unwrap();
            assert_eq!((&group["title"], &group["culprit"], &group["count"]), (&json!(title), &json!(culprit), &json!("1")), "{client}");
            let sent: Value = serde_json::from_str(body.lines().next().unwrap()).unwrap();
            assert_eq!(sent["event_id"].as_str().unwrap().replace('-', ""), id, "{client}");
        }
        assert_eq!(t.groups(&a, "").await.len(), fixtures.len());
    }

    async fn strange_bytes_are_kept_or_refused_and_harm_nothing(t) {
        let a = t.tenant("acme").await;
        let broken = b"{}\n{\"type\":\"event\"}\n{\"message\":\"caf\xe9 \xff\",\"level\":\"error\"}".to_vec();
        assert_eq!(t.send_envelope(&a, broken).await.status(), 200);
        let escapes = r#"{}
{"type":"event"}
{"message":"nul \u0000 lone \ud800 here","environment":"a\u0000b","release":"r\ud800","tags":{"k\u0000":"v\u0000"},"user":{"id":"\u0000"},"logger":"\u0000","platform":"\u0000"}"#;
        assert_eq!(t.send_envelope(&a, escapes).await.status(), 200);
        refused(t.send_envelope(&a, b"\xff\xfe{}\n".to_vec()).await, 400, "invalid_envelope_header").await;
        for evil in ["<script>alert(1)</script>", "'; DROP TABLE groups; --", "${{7*7}}", "\u{202e}gnp.exe", "%s%n", "a\tb\nc"] {
            t.report(&a, &json!({ "message": evil, "transaction": evil, "release": evil })).await;
        }
        let deep = format!("{{}}\n{{\"type\":\"event\"}}\n{{\"message\":\"deep\",\"extra\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(t.send_envelope(&a, deep).await.status(), 200);
        let groups = t.groups(&a, "").await;
        assert!(groups.len() >= 8, "{groups:#?}");
        let events = t.get("/api/0/projects/acme/acme-shop/events/", &a.token, 200).await;
        assert_eq!(events.as_array().unwrap().len(), groups.len());
        for group in &groups {
            t.get(&t.group_path(&a, group), &a.token, 200).await;
            t.get(&format!("{}events/latest/", t.group_path(&a, group)), &a.token, 200).await;
        }
    }

    async fn pages_of_other_origins_may_send(t) {
        let a = t.tenant("acme").await;
        for endpoint in ["envelope", "store"] {
            let url = t.url(&format!("/api/{}/{endpoint}/", a.project.id));
            let response = t.http.request(Method::OPTIONS, url)
                .header("Origin", "https://shop.example")
                .header("Access-Control-Request-Method", "POST")
                .header("Access-Control-Request-Headers", "x-sentry-auth")
                .send().await.unwrap();
            assert_eq!(response.status(), 200);
            let headers = response.headers();
            assert_eq!(headers["access-control-allow-origin"], "*");
            assert_eq!(headers["access-control-allow-methods"], "POST, OPTIONS");
            let allowed = headers["access-control-allow-headers"].to_str().unwrap();
            for name in ["x-sentry-auth", "x-requested-with", "x-forwarded-for", "origin", "referer", "accept",
                "authentication", "authorization", "content-encoding", "transfer-encoding"] {
                assert!(allowed.split(", ").any(|allowed| allowed == name), "{name}");
            }
        }
        let request = t.post(&a, "envelope").query(&[("sentry_key", &a.key.public_key)]).header("Origin", "https://shop.example");
        let response = request.body(envelope(&event_id(), &error("E", "f"))).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["access-control-allow-origin"]), (200, &"*".parse().unwrap()));
        assert_eq!(response.headers()["access-control-expose-headers"], CORS_ERRORS);
        let get = t.http.get(t.url(&format!("/api/{}/envelope/", a.project.id))).send().await.unwrap();
        assert_eq!(get.status(), 405);
    }

    async fn the_same_event_twice_is_one(t) {
        let a = t.tenant("acme").await;
        let id = event_id();
        for _ in 0..3 {
            let response = t.send_envelope(&a, envelope(&id, &error("E", "f"))).await;
            assert_eq!(response.text().await.unwrap(), format!("{{\"id\":\"{id}\"}}"));
        }
        let mut together = tokio::task::JoinSet::new();
        let other = event_id();
        for _ in 0..20 {
            let request = t.post(&a, "envelope").header("X-Sentry-Auth", auth(&a)).body(envelope(&other, &error("E", "f")));
            together.spawn(async move { request.send().await.unwrap().status().as_u16() });
        }
        assert_eq!(together.join_all().await, vec![200; 20]);
        // The same id again, but looking like another error: no second group comes of it.
        assert_eq!(t.send_envelope(&a, envelope(&id, &error("Other", "g"))).await.status(), 200);
        let group = t.only_group(&a).await;
        assert_eq!(group["count"], "2");
        let hours: i64 = group["stats"]["24h"].as_array().unwrap().iter().map(|hour| hour[1].as_i64().unwrap()).sum();
        assert_eq!(hours, 2);
    }

    async fn an_overloaded_door_says_when_to_come_back(t) {
        let a = t.tenant("acme").await;
        t.report(&a, &error("E", "f")).await;
        // The door is held open, and its queue filled.
        let door = HeldDoor::of(&t.app.db).await;
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..1_100 {
            let db = t.app.db.clone();
            waiting.spawn(async move { db.write_batched(|_| Ok::<_, tracebucket::error::AppError>(())).await.is_ok() });
        }
        // Full is the queue when the first is refused.
        assert!(!waiting.join_next().await.unwrap().unwrap());
        let response = t.send_envelope(&a, envelope(&event_id(), &error("E", "f"))).await;
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["x-sentry-rate-limits"], "2::organization:overloaded");
        refused(response, 429, "overloaded").await;
        door.release().await;
        waiting.join_all().await;
        t.report(&a, &error("E", "f")).await;
        assert_eq!(count(&t, &a).await, 2);
    }

    async fn twenty_clients_make_one_group_and_lose_nothing(t) {
        let a = t.tenant("acme").await;
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..20 {
            let (http, url, auth) = (t.http.clone(), t.url(&format!("/api/{}/envelope/", a.project.id)), auth(&a));
            clients.spawn(async move {
                for event in 0..50 {
                    let mut body = error("Storm", "f");
                    body["user"] = json!({ "id": (client * 50 + event) % 100 });
                    body["release"] = json!(format!("shop@{}", event % 2));
                    let request = http.post(&url).header("X-Sentry-Auth", &auth).body(envelope(&event_id(), &body));
                    assert_eq!(request.send().await.unwrap().status(), 200);
                }
            });
        }
        clients.join_all().await;
        let group = t.only_group(&a).await;
        assert_eq!((&group["count"], &group["userCount"], &group["shortId"]), (&json!("1000"), &json!(100), &json!("ACME-SHOP-1")));
        let hours: i64 = group["stats"]["24h"].as_array().unwrap().iter().map(|hour| hour[1].as_i64().unwrap()).sum();
        assert_eq!(hours, 1_000);
        for release in ["shop@0", "shop@1"] {
            assert_eq!(t.groups(&a, &format!("release:{release}")).await.len(), 1);
        }
        assert!(t.groups(&a, "release:shop@2").await.is_empty());
    }
}
