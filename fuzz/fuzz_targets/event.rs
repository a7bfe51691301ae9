//! Any bytes as the JSON of an event, through everything that reads one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::sentry::event::{Event, readable};
use tracebucket::sentry::frames::{MAX_FRAMES, source_path};
use tracebucket::sentry::{grouping, text, title, wire};

fuzz_target!(|payload: &[u8]| {
    let payload = readable(payload);
    let Ok(event) = Event::parse(&payload) else {
        return;
    };
    for frames in event.stacks() {
        assert!(frames.len() <= MAX_FRAMES);
    }
    for frame in event.suspect_frames(25) {
        let _ = source_path(frame, &event.platform, event.sdk_name());
    }
    assert_eq!(grouping::group(&event).key, grouping::group(&event).key);
    let description = title::describe(&event);
    assert!(!description.title.is_empty() && !description.title.contains('\0'));
    assert!(text::event_text(&event, 500).len() <= 500);
    let _ = wire::entries(&event);
});
