#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::io::Write as _;
use std::time::Duration;

use super::envelope::{Envelope, ItemKind};
use super::event::{Event, Level, readable};
use super::{decode, grouping, text, title};

/// What the product makes of one recorded envelope.
struct Seen {
    title: String,
    culprit: String,
    level: Level,
    rule: &'static str,
    text: String,
}

fn see(body: &[u8]) -> Seen {
    let envelope = Envelope::parse(body).unwrap();
    let payload = envelope.event.unwrap().into_bytes();
    let payload = readable(&payload);
    let event = Event::parse(&payload).unwrap();
    assert_eq!(event.errors, [""; 0]);
    assert_eq!(
        event.event_id.or(envelope.header.event_id),
        envelope.header.event_id
    );
    let description = title::describe(&event);
    Seen {
        title: description.title,
        culprit: description.culprit,
        level: event.level,
        rule: grouping::group(&event).rule.as_str(),
        text: text::event_text(&event, 10_000),
    }
}

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/fixtures/sdk/", $name, ".envelope"))
    };
}

#[test]
fn every_recorded_client_is_understood() {
    let table: [(&[u8], &str, &str, Level, &str); 9] = [
        (
            fixture!("python"),
            "ZeroDivisionError: division by zero",
            "__main__ in share",
            Level::Error,
            "all frames",
        ),
        (
            fixture!("node"),
            "TypeError: Cannot read properties of undefined (reading 'price')",
            "total(cart)",
            Level::Error,
            "own frames",
        ),
        (
            fixture!("browser"),
            "ReferenceError: cart is not defined",
            "pay(http://127.0.0.1:8080/assets/index-BX7yq2Lk.js)",
            Level::Error,
            "own frames",
        ),
        (
            fixture!("rust-error"),
            "OrderError: order 4711 has no quantity",
            "shop::order::read::h0123456789abcdef",
            Level::Error,
            "own frames",
        ),
        (
            fixture!("rust-panic"),
            "panic: called `Option::unwrap()` on a `None` value",
            "shop::stock::take",
            Level::Fatal,
            "own frames",
        ),
        (
            fixture!("cli-send-event"),
            "boom arg1",
            "",
            Level::Error,
            "message",
        ),
        (
            fixture!("cli-raw-event"),
            "hello",
            "",
            Level::Warning,
            "message",
        ),
        (
            fixture!("cli-raw-envelope"),
            "hi",
            "",
            Level::Error,
            "message",
        ),
        (
            b"{}\n{\"type\":\"event\"}\n{}",
            "<unlabeled event>",
            "",
            Level::Error,
            "level",
        ),
    ];
    for (body, title, culprit, level, rule) in table {
        let seen = see(body);
        assert_eq!(
            (seen.title.as_str(), seen.culprit.as_str()),
            (title, culprit)
        );
        assert_eq!((seen.level, seen.rule), (level, rule), "{title}");
    }
    assert!(see(fixture!("python")).text.ends_with(
        "  File \"stock.py\", line 15, in handler\n    return share(total, parts)\n  \
         File \"stock.py\", line 10, in share\n    return total / parts"
    ));
}

#[test]
fn items_beside_events_are_named() {
    let envelope = Envelope::parse(fixture!("python-traces")).unwrap();
    let kinds: Vec<ItemKind> = envelope.items.iter().map(|item| item.kind).collect();
    assert_eq!(kinds, [ItemKind::Transaction, ItemKind::CheckIn]);
    assert!(envelope.event.is_none());
}

/// Time this thread has run, so that a busy machine does not spoil the figures (Linux).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

/// Run with `cargo test --release --lib speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn speed_of_one_envelope_on_one_core() {
    let plain: &[u8] = fixture!("python");
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(plain).unwrap();
    let zipped = writer.finish().unwrap();
    let measure = |name: &str, work: &dyn Fn() -> usize| {
        let (rounds, start) = (20_000_u32, cpu_time());
        let sum: usize = (0..rounds).map(|_| work()).sum();
        let each = (cpu_time() - start) / rounds;
        eprintln!(
            "{name:30} {each:?} each, {:.0} per second ({sum})",
            1.0 / each.as_secs_f64()
        );
    };
    let all = |body: &[u8]| {
        let envelope = Envelope::parse(body).unwrap();
        let payload = envelope.event.unwrap().into_bytes();
        let payload = readable(&payload);
        let event = Event::parse(&payload).unwrap();
        title::describe(&event).title.len() + usize::from(grouping::group(&event).key.0[0])
    };
    let envelope = Envelope::parse(plain).unwrap();
    let payload = readable(&envelope.event.unwrap().into_bytes()).into_owned();
    let event = Event::parse(&payload).unwrap();
    eprintln!("{} bytes, {} zipped", plain.len(), zipped.len());
    let gunzip = || {
        let mut decoder = decode::Decoder::new(Some("gzip"), 1_000_000).unwrap();
        decoder.feed(&zipped);
        let mut body = vec![0; 1_000_000];
        let count = decoder.read(&mut body).unwrap();
        body.truncate(count);
        body
    };
    measure("gunzip", &|| gunzip().len());
    measure("envelope", &|| Envelope::parse(plain).unwrap().items.len());
    measure("readable", &|| readable(payload.as_bytes()).len());
    measure("event", &|| {
        Event::parse(&payload).unwrap().exceptions.len()
    });
    measure("title", &|| title::describe(&event).title.len());
    measure("grouping", &|| {
        usize::from(grouping::group(&event).key.0[0])
    });
    measure("all, plain", &|| all(plain));
    measure("all, gzip", &|| all(&gunzip()));
}
