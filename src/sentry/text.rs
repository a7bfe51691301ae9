//! Events as text: for tickets, commits and comments (sentry.md §7.4), and the small tools that keep
//! foreign text harmless in them.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::sentry::event::{Event, Exception};
use crate::sentry::frames::{Frame, Variant};

/// Frames shown of each exception.
const SHOWN_FRAMES: usize = 5;
/// Longest source line shown, in characters.
const MAX_LINE: usize = 200;

/// Shortens text to at most `max` bytes, on a character boundary.
pub fn cut_bytes(text: &mut String, max: usize) {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default();
    text.truncate(end);
}

/// At most `max` characters of the text; what was cut shows as `...` and counts.
pub fn cut_chars(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max || text.chars().nth(max).is_none() {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(max.saturating_sub(3)).collect();
    Cow::Owned(format!(
        "{kept}{}",
        "...".get(..max.min(3)).unwrap_or_default()
    ))
}

/// Whether a character can do harm in a page, a log or a terminal: control characters, and those
/// that turn the direction of text.
fn is_harmful(letter: char) -> bool {
    (letter.is_control() && !matches!(letter, '\n' | '\t'))
        || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text without control characters, except line ends and tabs; `\r\n` becomes `\n`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.contains(is_harmful) {
        Cow::Owned(text.chars().filter(|letter| !is_harmful(*letter)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The text on one line: white space of any kind becomes one space, control characters vanish.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in clean(text).split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// The text as a fenced block of markdown, with a fence longer than any run of back-ticks inside.
pub fn fenced(text: &str) -> String {
    let (mut run, mut longest) = (0_usize, 0_usize);
    for letter in text.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// The text form of an event: its message, then each exception as `Type: value` and its last own
/// frames, newest last. At most `max` bytes; what was cut shows as a last line.
pub fn event_text(event: &Event<'_>, max: usize) -> String {
    const CUT: &str = "\n[cut]";
    let mut out = String::new();
    if let Some(message) = event.message.as_ref().filter(|message| !message.is_empty()) {
        paragraph(&mut out, &clean(&message.formatted));
    }
    let variant = event.variant();
    let mut shown = 0;
    for exception in &event.exceptions {
        // Enough is enough: an event of many exceptions is not formatted to be thrown away.
        if out.len() > max {
            break;
        }
        paragraph(&mut out, &exception_text(exception, variant));
        shown += exception.frames().len();
    }
    if shown == 0 {
        let frames = event.loose_frames();
        if !frames.is_empty() {
            let mut text = String::new();
            frames_text(&mut text, frames, 0, variant);
            paragraph(&mut out, &text);
        }
    }
    if out.len() > max {
        cut_bytes(&mut out, max.saturating_sub(CUT.len()));
        out.push_str(CUT);
        cut_bytes(&mut out, max);
    }
    out
}

fn paragraph(out: &mut String, text: &str) {
    if !out.is_empty() {
        out.push_str("\n\n");
    }
    out.push_str(text.trim_start_matches('\n').trim_end());
}

fn exception_text(exception: &Exception<'_>, variant: Variant) -> String {
    let kind = exception.kind.text().map(one_line).unwrap_or_default();
    let value = exception
        .value_text()
        .map(|value| clean(value).trim().to_owned())
        .unwrap_or_default();
    let mut text = match (kind.is_empty(), value.is_empty()) {
        (false, false) => format!("{kind}: {value}"),
        (false, true) => kind,
        (true, false) => value,
        (true, true) => "Error".to_owned(),
    };
    frames_text(
        &mut text,
        exception.frames(),
        exception.omitted_frames(),
        variant,
    );
    text
}

fn frames_text(text: &mut String, frames: &[Frame<'_>], omitted: usize, variant: Variant) {
    let own: Vec<&Frame<'_>> = frames.iter().filter(|frame| variant.takes(frame)).collect();
    let start = own.len().saturating_sub(SHOWN_FRAMES);
    let hidden = frames.len() + omitted - own.len().min(SHOWN_FRAMES);
    if hidden > 0 && !own.is_empty() {
        let plural = if hidden == 1 { "" } else { "s" };
        let _ = write!(text, "\n  ({hidden} more frame{plural} not shown)");
    }
    for frame in own.iter().skip(start) {
        let file = frame
            .file()
            .or_else(|| frame.module.text())
            .map_or_else(|| "?".to_owned(), one_line);
        let _ = write!(text, "\n  File \"{file}\"");
        if let Some(line) = frame.lineno.get() {
            let _ = write!(text, ", line {line}");
        }
        let _ = write!(
            text,
            ", in {}",
            frame
                .function_name()
                .map_or_else(|| "?".to_owned(), one_line)
        );
        if let Some(line) = frame.context_line.text() {
            let _ = write!(text, "\n    {}", cut_chars(&one_line(line), MAX_LINE));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(json: &str) -> String {
        event_text(&Event::parse(json).unwrap(), 10_000)
    }

    #[test]
    fn an_exception_reads_like_a_traceback() {
        let json = r#"{"exception":{"values":[{"type":"ZeroDivisionError","value":"division by zero","stacktrace":{"frames":[
            {"filename":"shop/app.py","lineno":24,"function":"<module>","context_line":"        handler(1)"},
            {"filename":"shop/cart.py","lineno":7,"function":"total"}]}}]}}"#;
        assert_eq!(
            text(json),
            "ZeroDivisionError: division by zero\n  File \"shop/app.py\", line 24, in <module>\n    handler(1)\n  File \"shop/cart.py\", line 7, in total"
        );
    }

    #[test]
    fn only_own_frames_are_shown_and_the_rest_is_counted() {
        let own: Vec<String> = (0..7)
            .map(|n| format!(r#"{{"filename":"f{n}","in_app":true}},{{"filename":"lib"}}"#))
            .collect();
        let json = format!(
            r#"{{"exception":[{{"type":"E","stacktrace":{{"frames":[{}]}}}}]}}"#,
            own.join(",")
        );
        let text = text(&json);
        assert!(
            text.starts_with("E\n  (9 more frames not shown)\n  File \"f2\", in ?\n"),
            "{text}"
        );
        assert!(text.ends_with("File \"f6\", in ?"), "{text}");
        assert!(!text.contains("lib"));
    }

    #[test]
    fn chains_messages_and_threads_have_their_place() {
        let json =
            r#"{"message":"while paying","exception":[{"type":"A","value":"1"},{"value":"2"},{}]}"#;
        assert_eq!(text(json), "while paying\n\nA: 1\n\n2\n\nError");
        let threads = r#"{"threads":[{"crashed":true,"stacktrace":{"frames":[{"function":"main","module":"m"}]}}]}"#;
        assert_eq!(text(threads), "  File \"m\", in main");
        assert_eq!(text("{}"), "");
    }

    #[test]
    fn hostile_text_stays_harmless() {
        let json = r#"{"exception":[{"type":"E\u001b[31m\nX","value":"a\u0007b\u202ec\r\n```\n# x","stacktrace":{"frames":[{"filename":"a\nb","function":"f\u0000"}]}}]}"#;
        let text = text(json);
        assert_eq!(text, "E[31m X: abc\n```\n# x\n  File \"a b\", in f");
        assert_eq!(fenced(&text), format!("````\n{text}\n````"));
        assert_eq!(fenced("a"), "```\na\n```");
    }

    #[test]
    fn text_is_cut_with_a_note() {
        let json = format!(r#"{{"message":"{}"}}"#, "é".repeat(100));
        let event = Event::parse(&json).unwrap();
        let text = event_text(&event, 51);
        assert!(text.len() <= 51 && text.ends_with("é\n[cut]"), "{text}");
        assert!(event_text(&event, 3).len() <= 3);
        assert_eq!(cut_chars("ééééé", 4), "é...");
        assert_eq!(cut_chars("éééé", 4), "éééé");
        assert_eq!(cut_chars("abc", 2), "..");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn text_keeps_its_bound(value in "\\PC*", max in 0..400_usize) {
            let json = serde_json::json!({"exception": [{"type": value, "value": value}]}).to_string();
            prop_assert!(event_text(&Event::parse(&json).unwrap(), max).len() <= max);
        }

        #[test]
        fn no_text_closes_its_fence(value in "[`a\n]{0,30}") {
            let block = fenced(&value);
            let fence = block.lines().next().unwrap();
            prop_assert!(!block[fence.len()..block.len() - fence.len()].contains(fence));
        }
    }
}
