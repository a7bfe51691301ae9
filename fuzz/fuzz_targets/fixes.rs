//! Any text as a commit message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::features::releases::fixes::{
    MAX_REFERENCES, OwnHost, Reference, references, statements,
};
use tracebucket::sentry::shortid::ShortId;
use url::Url;

fuzz_target!(|message: &str| {
    let own_host = Url::parse("https://tracebucket.example:8443")
        .ok()
        .and_then(|url| OwnHost::new(&url));
    let found = references(message, own_host.as_ref());
    assert!(found.len() <= MAX_REFERENCES);
    for reference in &found {
        if let Reference::ShortId(id) = reference {
            assert!(id.contains('-'));
            let _ = id.parse::<ShortId>();
        }
    }
    let _ = statements(message, own_host.as_ref(), |_| true);
});
