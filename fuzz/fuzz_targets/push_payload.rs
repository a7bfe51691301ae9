//! Any bytes as the body of a webhook: who it is from before it is verified, and what a push says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::bitbucket::events::{Event, peek_repository_uuid};

fuzz_target!(|body: &[u8]| {
    let peeked = peek_repository_uuid(body);
    if let Ok(uuid) = &peeked {
        assert!(!uuid.is_empty() && uuid.len() <= body.len());
    }
    for key in ["repo:push", "repo:updated", "repo:deleted", "repo:fork"] {
        let event = Event::parse(key, body);
        // What is no object is none for all of them.
        assert!(event.is_err() || std::str::from_utf8(body).is_ok());
        let Ok(Event::Push(push)) = event else {
            continue;
        };
        assert!(push.changes().len() <= body.len());
        let commits: usize = push
            .changes()
            .iter()
            .map(|change| change.commits.len())
            .sum();
        assert!(commits <= body.len());
    }
});
