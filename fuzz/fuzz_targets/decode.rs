//! Any bytes as a compressed body; the first byte chooses the encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::sentry::decode::decode;

const MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((which, body)) = input.split_first() else { return };
    let encodings = ["gzip", "deflate", "br", "zstd", "identity"];
    let encoding = encodings[usize::from(*which) % encodings.len()];
    if let Ok(out) = decode(Some(encoding), body, MAX) {
        assert!(out.len() <= MAX);
    }
});
