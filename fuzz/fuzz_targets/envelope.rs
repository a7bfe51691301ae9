//! Any bytes as an envelope, and what intake makes of its event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::sentry::envelope::{Envelope, EnvelopeError, MAX_ITEMS, Reader};
use tracebucket::sentry::event::{Event, readable};
use tracebucket::sentry::{auth, grouping, text, title};

/// An envelope that arrives in small pieces, holding what it said it would.
fn in_pieces(body: &[u8]) -> Result<Envelope, EnvelopeError> {
    let mut reader = Reader::default();
    for piece in body.chunks(5) {
        let said = reader.held_with(piece.len());
        reader.push(piece)?;
        assert!(reader.held() <= said);
    }
    reader.finish()
}

fuzz_target!(|body: &[u8]| {
    let whole = Envelope::parse(body);
    assert_eq!(in_pieces(body), whole);
    let Ok(envelope) = whole else { return };
    assert!(envelope.items.len() <= MAX_ITEMS);
    assert!(envelope.items.iter().map(|item| item.size).sum::<usize>() <= body.len());
    let _ = auth::with_envelope(None, envelope.header.dsn.as_deref(), "1");
    let Some(payload) = envelope.event else {
        return;
    };
    let payload = payload.into_bytes();
    let payload = readable(&payload);
    if let Ok(event) = Event::parse(&payload) {
        let _ = (
            grouping::group(&event),
            title::describe(&event),
            text::event_text(&event, 1000),
        );
    }
});
