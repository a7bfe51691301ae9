//! Any bytes as an envelope, and what intake makes of its event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::sentry::envelope::{Envelope, MAX_ITEMS};
use tracebucket::sentry::event::{Event, readable};
use tracebucket::sentry::{auth, grouping, text, title};

fuzz_target!(|body: &[u8]| {
    let Ok(envelope) = Envelope::parse(body) else { return };
    assert!(envelope.items.len() <= MAX_ITEMS);
    assert!(envelope.items.iter().map(|item| item.payload.len()).sum::<usize>() <= body.len());
    let _ = auth::with_envelope(None, envelope.header.dsn.as_deref(), "1");
    let Some(payload) = envelope.event() else { return };
    let payload = readable(payload);
    if let Ok(event) = Event::parse(&payload) {
        let _ = (grouping::group(&event), title::describe(&event), text::event_text(&event, 1000));
    }
});
