//! What templates may ask of a value: times, numbers, words, small charts.
//!
//! Times are unix microseconds, as everywhere in the product.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tera::{Kwargs, State, Tera, Value};

const MICROS: i64 = 1_000_000;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MONTH: i64 = 30 * DAY;
const YEAR: i64 = 365 * DAY;

/// Shown where a time cannot be a time.
const NO_TIME: &str = "unknown time";

pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("ago", |at: i64, args: Kwargs, _: &State| {
        args.must_get::<i64>("now").map(|now| ago(at, now))
    });
    tera.register_filter("iso", |at: i64, _: Kwargs, _: &State| iso(at));
    tera.register_filter("absolute", |at: i64, _: Kwargs, _: &State| absolute(at));
    tera.register_filter("clock", |at: i64, _: Kwargs, _: &State| clock(at));
    tera.register_filter("day", |at: i64, _: Kwargs, _: &State| day(at));
    tera.register_filter("compact", |n: i64, _: Kwargs, _: &State| compact(n));
    tera.register_filter("grouped", |n: i64, _: Kwargs, _: &State| grouped(n));
    tera.register_filter("bytes", |n: i64, _: Kwargs, _: &State| bytes(n));
    tera.register_filter("duration", |ms: i64, _: Kwargs, _: &State| duration(ms));
    tera.register_filter("plural", |n: i64, args: Kwargs, _: &State| {
        let word = if n == 1 { "one" } else { "many" };
        args.must_get::<String>(word)
    });
    tera.register_filter("href", |url: &str, _: Kwargs, _: &State| href(url));
    tera.register_filter("runs", |items: &[Value], args: Kwargs, _: &State| {
        args.must_get::<&str>("by").map(|by| runs(items, by))
    });
    tera.register_filter("bars", |counts: Vec<i64>, args: Kwargs, _: &State| {
        args.must_get::<i64>("height")
            .map(|height| bars(&counts, height))
    });
}

fn utc(at: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(at)
}

/// Distance from `now` in the largest fitting unit. `static/ago.js` follows the same steps.
pub(super) fn ago(at: i64, now: i64) -> String {
    let seconds = now.saturating_sub(at) / MICROS;
    let size = seconds.saturating_abs();
    if size < 45 {
        return "just now".to_owned();
    }
    let text = match size {
        s if s < HOUR => format!("{} min", (s / MINUTE).max(1)),
        s if s < DAY => format!("{} h", s / HOUR),
        s if s < MONTH => format!("{} d", s / DAY),
        s if s < YEAR => format!("{} mo", s / MONTH),
        s => format!("{} y", s / YEAR),
    };
    if seconds < 0 {
        format!("in {text}")
    } else {
        format!("{text} ago")
    }
}

/// For `<time datetime>`.
pub(super) fn iso(at: i64) -> String {
    utc(at).map_or_else(String::new, |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Full date and time for people.
pub(super) fn absolute(at: i64) -> String {
    utc(at).map_or_else(
        || NO_TIME.to_owned(),
        |t| t.format("%-d %b %Y, %H:%M:%S UTC").to_string(),
    )
}

/// Time of day with milliseconds, for breadcrumbs.
fn clock(at: i64) -> String {
    utc(at).map_or_else(
        || NO_TIME.to_owned(),
        |t| t.format("%H:%M:%S%.3f").to_string(),
    )
}

/// Date only.
fn day(at: i64) -> String {
    utc(at).map_or_else(|| NO_TIME.to_owned(), |t| t.format("%-d %b %Y").to_string())
}

/// `1234` as `1.2k`; three digits at most, cut and never rounded up to the next unit.
pub(super) fn compact(n: i64) -> String {
    let size = n.unsigned_abs();
    let (unit, suffix) = match size {
        0..1_000 => return n.to_string(),
        1_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "B"),
    };
    let sign = if n < 0 { "-" } else { "" };
    let (whole, tenth) = (size / unit, size % unit * 10 / unit);
    if whole >= 100 || tenth == 0 {
        format!("{sign}{whole}{suffix}")
    } else {
        format!("{sign}{whole}.{tenth}{suffix}")
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if n < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Size of a body: bytes, then KiB and MiB with one decimal.
pub(super) fn bytes(n: i64) -> String {
    match n {
        ..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{}.{} KiB", n / 1_024, n % 1_024 * 10 / 1_024),
        _ => format!("{}.{} MiB", n / 1_048_576, n % 1_048_576 * 10 / 1_048_576),
    }
}

/// Time taken, given in milliseconds.
pub(super) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// Lets only web addresses and local paths become a link: a foreign `javascript:` address does not.
pub(super) fn href(url: &str) -> String {
    let local = (url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\"))
        || url.starts_with('?')
        || url.starts_with('#');
    let scheme = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    if local || scheme.starts_with("http://") || scheme.starts_with("https://") {
        url.to_owned()
    } else {
        "#".to_owned()
    }
}

/// Groups neighbours with the same value of the field `by`: `[{key, items, first}]`.
pub(super) fn runs(items: &[Value], by: &str) -> Vec<Value> {
    items
        .chunk_by(|a, b| field(a, by) == field(b, by))
        .map(|run| {
            map([
                (
                    "key",
                    run.first().map_or_else(Value::none, |v| field(v, by)),
                ),
                ("items", Value::from(run.to_vec())),
            ])
        })
        .collect()
}

/// Bars of a small chart in a box of `height` units: `[{x, y, h, n}]`, four units from bar to bar.
/// A count above zero is at least two units high, so that a single event can be seen.
pub(super) fn bars(counts: &[i64], height: i64) -> Vec<Value> {
    let top = counts.iter().copied().max().unwrap_or(0).max(1);
    counts
        .iter()
        .zip(0_i64..)
        .map(|(&n, index)| {
            let h = match n {
                ..1 => 1,
                n => n
                    .saturating_mul(height)
                    .checked_div(top)
                    .unwrap_or(0)
                    .max(2),
            };
            map([
                ("x", Value::from(index * 4)),
                ("y", Value::from(height - h)),
                ("h", Value::from(h)),
                ("n", Value::from(n)),
            ])
        })
        .collect()
}

fn field(value: &Value, name: &str) -> Value {
    value
        .get_from_path(name)
        .cloned()
        .unwrap_or_else(Value::none)
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::from(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<BTreeMap<String, Value>>(),
    )
}
