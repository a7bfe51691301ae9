#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

fn parse(body: &str) -> Result<Envelope, EnvelopeError> {
    let whole = Envelope::parse(body.as_bytes());
    for size in [1, 2, 7] {
        assert_eq!(in_pieces(body.as_bytes(), size), whole, "{body:?}");
    }
    whole
}

/// An envelope that arrives in pieces of this size.
fn in_pieces(body: &[u8], size: usize) -> Result<Envelope, EnvelopeError> {
    let mut reader = Reader::default();
    for piece in body.chunks(size) {
        let said = reader.held_with(piece.len());
        reader.push(piece)?;
        assert!(reader.held() <= said, "{} > {said}", reader.held());
    }
    reader.finish()
}

fn store(body: &[u8]) -> Result<Option<Vec<u8>>, EnvelopeError> {
    let mut reader = Reader::for_store();
    assert_eq!(reader.header(), Some(&Header::default()));
    reader.push(body)?;
    Ok(reader.finish()?.event.map(Pieces::into_bytes))
}

/// For bodies too large to be pushed byte by byte.
fn parse_whole(body: &str) -> Result<Envelope, EnvelopeError> {
    let whole = Envelope::parse(body.as_bytes());
    assert_eq!(in_pieces(body.as_bytes(), 9_999), whole);
    whole
}

fn error(body: &str) -> EnvelopeError {
    parse(body).unwrap_err()
}

#[test]
fn the_fixture_of_the_reference() {
    let body = format!(
        "{{\"event_id\":\"{ID}\",\"dsn\":\"https://e12d836b15bb49d7bbf99e64295d995b@sentry.io/42\"}}\n\
         {{\"type\":\"attachment\",\"length\":10,\"content_type\":\"text/plain\",\"filename\":\"hello.txt\"}}\n\
         \u{feff}Hello\r\n\n\
         {{\"type\":\"event\",\"length\":41,\"content_type\":\"application/json\",\"filename\":\"application.log\"}}\n\
         {{\"message\":\"hello world\",\"level\":\"error\"}}\n"
    );
    for body in [body.as_str(), body.trim_end_matches('\n')] {
        let envelope = parse(body).unwrap();
        assert_eq!(envelope.header.event_id, Some(ID.parse().unwrap()));
        assert_eq!(
            envelope.header.dsn.as_deref(),
            Some("https://e12d836b15bb49d7bbf99e64295d995b@sentry.io/42")
        );
        assert_eq!(envelope.items.len(), 2);
        assert_eq!(envelope.items[0].kind, ItemKind::Attachment);
        assert_eq!(envelope.items[0].size, "\u{feff}Hello\r\n".len());
        assert_eq!(
            envelope.event.unwrap().into_bytes(),
            b"{\"message\":\"hello world\",\"level\":\"error\"}"
        );
    }
}

#[test]
fn empty_attachments_are_legal() {
    let two = "{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"attachment\",\"length\":0}\n";
    for body in [
        format!("{{}}\n{two}\n"),
        format!("{{}}\n{two}"),
        format!("{{}}\n{two}").trim_end().to_owned(),
    ] {
        let envelope = parse(&body).unwrap();
        assert_eq!(envelope.items.len(), 2, "{body:?}");
        assert!(envelope.items.iter().all(|item| item.size == 0));
    }
    let implicit = parse("{}\n{\"type\":\"attachment\"}\n\n{\"type\":\"attachment\"}\n").unwrap();
    assert_eq!(implicit.items.len(), 2);
}

#[test]
fn envelopes_may_be_empty() {
    for body in [
        "{}",
        "{}\n",
        "{}\n\n\r\n ",
        &format!("{{\"event_id\":\"{ID}\"}}\n"),
    ] {
        assert!(parse(body).unwrap().items.is_empty(), "{body:?}");
    }
    for body in ["", "\n", "[]", "x", "{\"a\":1", "null", "\u{feff}{}"] {
        assert_eq!(error(body), EnvelopeError::BadHeader, "{body:?}");
    }
    assert_eq!(
        Envelope::parse(b"{\"a\":\"\xff\"}\n").unwrap_err(),
        EnvelopeError::BadHeader
    );
}

#[test]
fn items_without_a_length_end_at_the_line() {
    let body = format!(
        "{{\"event_id\":\"{ID}\"}}\n{{\"type\":\"event\"}}\n{{\"message\":\"a\"}}\r\n{{\"type\":\"session\"}}\n{{}}"
    );
    let envelope = parse(&body).unwrap();
    assert_eq!(envelope.items[1].size, 2);
    assert_eq!(
        envelope.event.unwrap().into_bytes(),
        b"{\"message\":\"a\"}\r"
    );
    assert_eq!(
        parse("{}\n{\"type\":\"event\",\"length\":null}\nab\n")
            .unwrap()
            .event
            .unwrap()
            .into_bytes(),
        b"ab"
    );
}

#[test]
fn lengths_are_exact() {
    assert_eq!(
        parse("{}\n{\"type\":\"event\",\"length\":3}\na\nb")
            .unwrap()
            .event
            .unwrap()
            .into_bytes(),
        b"a\nb"
    );
    assert_eq!(
        error("{}\n{\"type\":\"event\",\"length\":4}\na\nb"),
        EnvelopeError::Truncated { item: 0 }
    );
    assert_eq!(
        error("{}\n{\"type\":\"event\",\"length\":2}\na\nb"),
        EnvelopeError::BadEnd { item: 0 }
    );
    assert_eq!(
        error("{}\n{\"type\":\"a\"}\n\n{\"type\":\"event\",\"length\":1}"),
        EnvelopeError::Truncated { item: 1 }
    );
    for length in ["-1", "1.5", "\"3\"", "true", "[]"] {
        let body = format!("{{}}\n{{\"type\":\"event\",\"length\":{length}}}\nabc");
        assert_eq!(
            error(&body),
            EnvelopeError::BadLength { item: 0 },
            "{length}"
        );
    }
    let huge = "{}\n{\"type\":\"session\",\"length\":18446744073709551615}\nabc";
    assert_eq!(error(huge), EnvelopeError::Truncated { item: 0 });
    let huge = "{}\n{\"type\":\"event\",\"length\":18446744073709551615}\nabc";
    assert_eq!(error(huge), EnvelopeError::EventTooLarge);
}

#[test]
fn items_need_a_header_with_a_type() {
    for header in [
        "",
        "[]",
        "{}",
        "{\"type\":null}",
        "{\"type\":{}}",
        "{\"type\":\"\"}",
        "{\"type\":\"event\"",
    ] {
        let body = format!("{{}}\n{header}\nabc");
        assert_eq!(
            error(&body),
            EnvelopeError::BadItemHeader { item: 0 },
            "{header}"
        );
    }
}

#[test]
fn unknown_items_are_skipped() {
    let body = "{\"x\":{\"y\":[1]}}\n{\"type\":\"quux\",\"new\":true}\n\x01\x02\n{\"type\":\"event\"}\n{}\n";
    let envelope = parse(body).unwrap();
    assert_eq!(envelope.items[0].kind, ItemKind::Unknown);
    assert_eq!(envelope.items[0].size, 2);
    assert_eq!(envelope.event.unwrap().into_bytes(), b"{}");
}

#[test]
fn headers_are_judged() {
    let twice = "{\"sent_at\":\"2026-11-21T23:15:08Z\",\"sent_at\":\"2026-11-21T23:15:08Z\"}";
    assert_eq!(error(twice), EnvelopeError::DuplicateSentAt);
    assert_eq!(error("{\"event_id\":\"ok\"}"), EnvelopeError::BadEventId);
    assert_eq!(error("{\"event_id\":7}"), EnvelopeError::BadEventId);
    assert_eq!(parse("{\"event_id\":null}").unwrap().header.event_id, None);
    let dashed = parse("{\"event_id\":\"9ec79c33-ec99-42ab-8353-589fcb2e04dc\"}").unwrap();
    assert_eq!(dashed.header.event_id, Some(ID.parse().unwrap()));
    let sent = parse("{\"sent_at\":\"2026-11-21T23:15:08.584797Z\"}").unwrap();
    assert_eq!(
        sent.header.sent_at.unwrap().timestamp_micros(),
        1_795_302_908_584_797
    );
    assert_eq!(
        parse("{\"sent_at\":\"soon\"}").unwrap().header.sent_at,
        None
    );
}

#[test]
fn one_event_at_most() {
    let event = "{\"type\":\"event\"}\n{}\n";
    let transaction = "{\"type\":\"transaction\"}\n{}\n";
    assert_eq!(
        error(&format!("{{}}\n{event}{event}")),
        EnvelopeError::SeveralEvents
    );
    assert_eq!(
        error(&format!("{{}}\n{transaction}{event}")),
        EnvelopeError::SeveralEvents
    );
    assert!(parse(&format!("{{}}\n{transaction}{transaction}")).is_ok());
}

/// sentry.md §11.5.
#[test]
fn the_limit_of_each_kind() {
    let rows = [
        (
            1_000_000,
            &["event", "transaction", "span", "statsd", "trace_metric"][..],
        ),
        (100_000, &["check_in"]),
        (100_000_000, &["attachment"]),
        (50_000_000, &["profile", "profile_chunk"]),
        (10_000_000, &["replay_event", "replay_recording"]),
    ];
    for (limit, kinds) in rows {
        for kind in kinds {
            let read = |size: usize| {
                let mut reader = Reader::default();
                let head = format!("{{}}\n{{\"type\":\"{kind}\",\"length\":{size}}}\n");
                reader.push(head.as_bytes())?;
                let piece = vec![b'x'; 1_000_000];
                let mut left = size;
                while left > 0 {
                    let now = left.min(piece.len());
                    reader.push(&piece[..now])?;
                    left -= now;
                }
                reader.finish()
            };
            let whole = read(limit).map(|envelope| envelope.items[0].oversized);
            assert_eq!(whole, Ok(false), "{kind}");
            let more = read(limit + 1);
            assert!(
                more == Err(EnvelopeError::EventTooLarge)
                    || more
                        .as_ref()
                        .is_ok_and(|envelope| envelope.items[0].oversized),
                "{kind}"
            );
        }
    }
}

#[test]
fn sizes_are_limited_per_kind() {
    let item = |kind: &str, size: usize| {
        format!(
            "{{}}\n{{\"type\":\"{kind}\",\"length\":{size}}}\n{}",
            "x".repeat(size)
        )
    };
    assert!(parse_whole(&item("event", MAX_EVENT)).is_ok());
    assert_eq!(
        parse_whole(&item("event", MAX_EVENT + 1)),
        Err(EnvelopeError::EventTooLarge)
    );
    assert!(!parse_whole(&item("check_in", MAX_CHECK_IN)).unwrap().items[0].oversized);
    assert!(
        parse_whole(&item("check_in", MAX_CHECK_IN + 1))
            .unwrap()
            .items[0]
            .oversized
    );
    let many = format!("{{}}\n{}", "{\"type\":\"a\"}\n\n".repeat(MAX_ITEMS));
    assert_eq!(parse(&many).unwrap().items.len(), MAX_ITEMS);
    let error = error(&format!("{many}{{\"type\":\"a\"}}\n\n"));
    assert!(error.is_too_large());
    assert_eq!(error.code(), "too_many_items");
    assert_eq!(
        store(&vec![b'x'; MAX_EVENT + 1]),
        Err(EnvelopeError::EventTooLarge)
    );
    assert_eq!(store(b"{}\n{}"), Ok(Some(b"{}\n{}".to_vec())));
    assert_eq!(store(b""), Ok(Some(Vec::new())));
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_LINE));
    assert_eq!(parse_whole(&long), Err(EnvelopeError::LineTooLong));
    let long = format!("{{}}\n{long}");
    assert_eq!(parse_whole(&long), Err(EnvelopeError::LineTooLong));
    assert_eq!(
        parse_whole(&" ".repeat(MAX_LINE + 1)),
        Err(EnvelopeError::LineTooLong)
    );
}

#[test]
fn what_is_not_stored_is_not_held() {
    let mut reader = Reader::default();
    reader
        .push(b"{}\n{\"type\":\"attachment\",\"length\":5000000}\n")
        .unwrap();
    for _ in 0..5000 {
        reader.push(&[b'x'; 1000]).unwrap();
    }
    reader.push(b"\n{\"type\":\"log\"}\n").unwrap();
    for _ in 0..5000 {
        reader.push(&[b'x'; 1000]).unwrap();
    }
    assert!(reader.held() < 1000, "{}", reader.held());
    reader.push(b"\n{\"type\":\"event\"}\n").unwrap();
    reader.push(&[b'x'; 100_000]).unwrap();
    assert!((100_000..170_000).contains(&reader.held()));
    let envelope = reader.finish().unwrap();
    assert_eq!(envelope.event.unwrap().len(), 100_000);
    assert_eq!(envelope.items[1].size, 5_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300), noise in "(\\{\\}|\\{\"type\":\"(event|a)\"(,\"length\":[0-9]{1,2})?\\}|[\\n x])(\\n|\\{\"type\":\"(a|b)\"(,\"length\":[0-9]{1,2})?\\}|[\\n xy]){0,12}") {
        for bytes in [&bytes[..], noise.as_bytes()] {
            prop_assert_eq!(in_pieces(bytes, 1), Envelope::parse(bytes));
            prop_assert_eq!(in_pieces(bytes, 5), Envelope::parse(bytes));
        }
    }

    #[test]
    fn payloads_round_trip(payloads in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..60), any::<bool>()), 0..6), ends_in_newline: bool) {
        let mut body = b"{}".to_vec();
        for (payload, counted) in &payloads {
            let counted = *counted || payload.contains(&b'\n');
            let length = if counted { format!(",\"length\":{}", payload.len()) } else { String::new() };
            body.extend_from_slice(format!("\n{{\"type\":\"attachment\"{length}}}\n").as_bytes());
            body.extend_from_slice(payload);
        }
        if ends_in_newline {
            body.push(b'\n');
        }
        let envelope = Envelope::parse(&body).unwrap();
        let found: Vec<usize> = envelope.items.iter().map(|item| item.size).collect();
        prop_assert_eq!(found, payloads.iter().map(|(payload, _)| payload.len()).collect::<Vec<_>>());
        // The one payload that is kept comes back as it went.
        let (payload, _) = payloads.first().cloned().unwrap_or_default();
        let mut with_event = body;
        if !ends_in_newline {
            with_event.push(b'\n');
        }
        with_event.extend_from_slice(format!("{{\"type\":\"event\",\"length\":{}}}\n", payload.len()).as_bytes());
        with_event.extend_from_slice(&payload);
        let envelope = Envelope::parse(&with_event).unwrap();
        prop_assert_eq!(&in_pieces(&with_event, 3).unwrap(), &envelope);
        prop_assert_eq!(envelope.event.unwrap().into_bytes(), payload);
    }
}
