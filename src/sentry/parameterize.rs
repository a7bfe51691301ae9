//! Messages without their variable parts, so that "user 17 not found" and "user 23 not found" are one
//! error (sentry.md §11.9).
//!
//! The text is cut into chunks at white space and brackets, and each chunk is read once with
//! constant look-ahead: linear time on any input.

/// Only so much of a message takes part, in bytes.
const MAX_INPUT: usize = 8192;
/// How far away the end of a quoted path may be, in bytes.
const MAX_QUOTED: usize = 256;

/// Replaces variable parts by `<int>`, `<float>`, `<hex>`, `<uuid>`, `<ip>`, `<email>`, `<url>`,
/// `<date>`, `<time>` and, within quotes, `<path>`.
pub fn parameterize(message: &str) -> String {
    let end = (0..=MAX_INPUT.min(message.len()))
        .rev()
        .find(|at| message.is_char_boundary(*at))
        .unwrap_or_default();
    let mut rest = message.get(..end).unwrap_or_default();
    let mut out = String::with_capacity(rest.len());
    while let Some(first) = rest.chars().next() {
        if let Some((quote, length)) = quoted_path(rest) {
            out.push(quote);
            out.push_str("<path>");
            out.push(quote);
            rest = rest.get(length..).unwrap_or_default();
        } else if is_border(first) {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let (chunk, behind) = rest.split_at(rest.find(is_border).unwrap_or(rest.len()));
            push_chunk(&mut out, chunk);
            rest = behind;
        }
    }
    out
}

fn is_border(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(
            letter,
            '\'' | '"'
                | '`'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '<'
                | '>'
                | ','
                | ';'
                | '='
                | '|'
        )
}

/// A quoted path at the start of the text: the quote and the length with both quotes.
fn quoted_path(text: &str) -> Option<(char, usize)> {
    let quote = text
        .chars()
        .next()
        .filter(|first| matches!(first, '\'' | '"' | '`'))?;
    let inside = text.get(1..)?;
    let window = inside.as_bytes().get(..MAX_QUOTED.min(inside.len()))?;
    let end = window
        .iter()
        .position(|byte| char::from(*byte) == quote || *byte == b'\n')?;
    let path = inside.get(..end)?;
    let closed = inside.get(end..)?.starts_with(quote);
    let is_path = (path.contains('/') || path.contains('\\'))
        && !path.contains("://")
        && !path.contains(char::is_whitespace);
    (closed && is_path).then_some((quote, end + 2))
}

fn push_chunk(out: &mut String, chunk: &str) {
    let body = chunk.trim_end_matches(['.', ':', '!', '?']);
    let tail = chunk.get(body.len()..).unwrap_or_default();
    if is_url(body) {
        out.push_str("<url>");
    } else if is_email(body) {
        out.push_str("<email>");
    } else if body
        .parse::<std::net::Ipv6Addr>()
        .is_ok_and(|ip| !ip.is_unspecified())
    {
        out.push_str("<ip>");
    } else {
        push_words(out, body);
    }
    out.push_str(tail);
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        !local.is_empty()
            && local
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._%+-".contains(&b))
            && domain.bytes().all(host)
            && domain
                .rsplit_once('.')
                .is_some_and(|(name, top)| !name.is_empty() && top.len() >= 2)
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Replaces what stands between word boundaries inside a chunk.
fn push_words(out: &mut String, chunk: &str) {
    let mut rest = chunk;
    while !rest.is_empty() {
        let length = if let Some((name, length)) = parameter(rest.as_bytes()) {
            out.push_str(name);
            length
        } else {
            let word = rest.bytes().position(|b| !is_word(b)).unwrap_or(rest.len());
            let length = if word == 0 { 1 } else { word };
            out.push_str(rest.get(..length).unwrap_or_default());
            length
        };
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// The variable part at the start of the text, which is at a word boundary.
fn parameter(text: &[u8]) -> Option<(&'static str, usize)> {
    if !text.first()?.is_ascii_hexdigit() {
        return None;
    }
    let ends_at = |length: usize| text.get(length).is_none_or(|next| !is_word(*next));
    let shaped = |shape: &[u8]| matches(text, shape).filter(|length| ends_at(*length));
    if let Some(length) = shaped(b"hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh") {
        return Some(("<uuid>", length));
    }
    if let Some(length) = date(text) {
        return Some(("<date>", length));
    }
    if let Some(length) = matches(text, b"dd:dd:dd") {
        return Some(("<time>", length + zone(text, length)));
    }
    if let Some(length) = ipv4(text) {
        return Some(("<ip>", length));
    }
    let word = text.iter().position(|b| !is_word(*b)).unwrap_or(text.len());
    hex(text.get(..word)?)
        .map(|()| ("<hex>", word))
        .or_else(|| number(text))
}

/// Length of the shape when the text starts with it: `d` digit, `h` hex digit, others themselves.
fn matches(text: &[u8], shape: &[u8]) -> Option<usize> {
    let start = text.get(..shape.len())?;
    let fits = start.iter().zip(shape).all(|(byte, kind)| match kind {
        b'd' => byte.is_ascii_digit(),
        b'h' => byte.is_ascii_hexdigit(),
        other => byte == other,
    });
    fits.then_some(shape.len())
}

/// `2026-11-21`, with or without a time and a zone.
fn date(text: &[u8]) -> Option<usize> {
    let day = matches(text, b"dddd-dd-dd").or_else(|| matches(text, b"dddd/dd/dd"))?;
    let time = text
        .get(day + 1..)
        .filter(|_| text.get(day) == Some(&b'T'))
        .and_then(|time| matches(time, b"dd:dd:dd"));
    match time {
        Some(length) => Some(day + 1 + length + zone(text, day + 1 + length)),
        None => text
            .get(day)
            .is_none_or(|next| !is_word(*next))
            .then_some(day),
    }
}

/// Length of a fraction of seconds and a zone that may follow a time.
fn zone(text: &[u8], at: usize) -> usize {
    let digits = |at: usize| {
        text.get(at..).map_or(0, |rest| {
            rest.iter()
                .take(9)
                .take_while(|b| b.is_ascii_digit())
                .count()
        })
    };
    let mut end = at;
    if matches!(text.get(end), Some(b'.')) && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    match text.get(end) {
        Some(b'Z') => end += 1,
        Some(b'+' | b'-') => {
            let offset = text
                .get(end + 1..)
                .and_then(|rest| matches(rest, b"dd:dd").or_else(|| matches(rest, b"dddd")));
            end += offset.map_or(0, |length| length + 1);
        }
        _ => {}
    }
    end - at
}

/// Four numbers below 256 and perhaps a port.
fn ipv4(text: &[u8]) -> Option<usize> {
    let window = text.get(..text.len().min(21))?;
    let length = window
        .iter()
        .position(|b| !(b.is_ascii_digit() || *b == b'.'))
        .unwrap_or(window.len());
    let address = std::str::from_utf8(window.get(..length)?).ok()?;
    address.parse::<std::net::Ipv4Addr>().ok()?;
    let port = window
        .get(length..)
        .filter(|rest| rest.first() == Some(&b':'));
    let digits = port.map_or(0, |rest| {
        rest.iter()
            .skip(1)
            .take_while(|b| b.is_ascii_digit())
            .count()
    });
    let end = if digits == 0 {
        length
    } else {
        length + 1 + digits
    };
    text.get(end)
        .is_none_or(|next| !is_word(*next))
        .then_some(end)
}

/// `0x…`, or eight and more hex digits with letters and digits among them.
fn hex(word: &[u8]) -> Option<()> {
    let digits = word
        .strip_prefix(b"0x")
        .or_else(|| word.strip_prefix(b"0X"));
    let all = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    let mixed = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
    let found = digits.is_some_and(|digits| !digits.is_empty() && all(digits))
        || (word.len() >= 8 && mixed && all(word));
    found.then_some(())
}

/// A number, perhaps with a fraction; up to three letters of a unit may follow and stay.
fn number(text: &[u8]) -> Option<(&'static str, usize)> {
    let count = |at: usize| {
        text.get(at..).map_or(0, |rest| {
            rest.iter().take_while(|b| b.is_ascii_digit()).count()
        })
    };
    let whole = count(0);
    let fraction = if text.get(whole) == Some(&b'.') {
        count(whole + 1)
    } else {
        0
    };
    let length = if fraction == 0 {
        whole
    } else {
        whole + 1 + fraction
    };
    let unit = text
        .get(length..)?
        .iter()
        .take(4)
        .take_while(|b| is_word(**b))
        .count();
    let is_unit = unit <= 3
        && text
            .get(length..length + unit)?
            .iter()
            .all(u8::is_ascii_alphabetic);
    (whole > 0 && is_unit).then_some((if fraction == 0 { "<int>" } else { "<float>" }, length))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variable_parts_are_replaced() {
        for (message, expected) in [
            ("user 17 not found", "user <int> not found"),
            (
                "took 12.5 s, 30ms or 5MB",
                "took <float> s, <int>ms or <int>MB",
            ),
            ("order-42/line_7 x7 7up7", "order-<int>/line_7 x7 7up7"),
            ("id=550e8400-e29b-41d4-a716-446655440000.", "id=<uuid>."),
            ("user-550E8400-e29b-41d4-a716-446655440000", "user-<uuid>"),
            ("at 0x7ffE01 in 3f2a9c1b", "at <hex> in <hex>"),
            (
                "commit e0e377d186e4f0e937bdb487a23384fe002df649",
                "commit <hex>",
            ),
            ("deadbeef facade added", "deadbeef facade added"),
            ("12345678", "<int>"),
            ("from 10.0.0.1:8080 to 2001:db8::1", "from <ip> to <ip>"),
            ("version 1.2.3", "version <float>.<int>"),
            (
                "mail to ann.dev+x@example.co.uk failed",
                "mail to <email> failed",
            ),
            ("GET https://h.example/a?b=1: 404", "GET <url>=<int>: <int>"),
            ("2026-11-21T23:14:22.651589974Z: late", "<date>: late"),
            ("on 2026-11-21 23:14:22,123", "on <date> <time>,<int>"),
            ("2026-11-21T23:14:22+02:00", "<date>"),
            (
                "No such file: '/var/tmp/x 1'",
                "No such file: '/var/tmp/x <int>'",
            ),
            ("No such file: '/var/tmp/x1'", "No such file: '<path>'"),
            (r#"open "C:\tmp\a7.txt" failed"#, r#"open "<path>" failed"#),
            ("key 'abc' and '17'", "key 'abc' and '<int>'"),
            ("Zeile größe9 17é", "Zeile größe9 17é"),
            ("", ""),
            ("'", "'"),
        ] {
            assert_eq!(parameterize(message), expected, "{message}");
        }
    }

    #[test]
    fn hostile_messages_cost_linear_time() {
        for unit in [
            "'",
            "\"/",
            "1",
            "1.",
            "1:",
            "a@",
            "a.",
            "://",
            "0x",
            "-",
            "é",
            "f",
            "2026-11-21",
        ] {
            let message = unit.repeat((1 << 20) / unit.len());
            let start = Instant::now();
            let out = parameterize(&message);
            assert!(out.len() <= 4 * MAX_INPUT, "{unit}");
            assert!(start.elapsed() < Duration::from_secs(5), "{unit}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_gives_an_answer(text in "\\PC*", noise in "[0-9a-fx:.@/'\\- TZé]{0,60}") {
            let _ = parameterize(&text);
            let _ = parameterize(&noise);
        }

        #[test]
        fn numbers_uuids_and_hashes_do_not_matter(a: u64, b: u64, word in "[g-z]{1,10}") {
            let message = |n: u64| {
                let id = uuid::Uuid::from_u64_pair(n, n);
                format!("{word} {n} failed for {id} at 0x{n:x} ({word}-{n})")
            };
            prop_assert_eq!(parameterize(&message(a)), parameterize(&message(b)));
        }
    }
}
