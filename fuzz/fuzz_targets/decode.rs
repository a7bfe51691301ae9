//! Any bytes as a compressed body that arrives in pieces; the first byte chooses the encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::sentry::decode::{DecodeError, Decoder};

const MAX: usize = 1 << 20;

fn decode(encoding: &str, body: &[u8], piece: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(Some(encoding), MAX)?;
    let mut out = Vec::new();
    for piece in body.chunks(piece.max(1)) {
        let said = decoder.held_with(piece.len());
        decoder.feed(piece);
        assert!(decoder.held() <= said);
        drain(&mut decoder, &mut out)?;
    }
    decoder.finish()?;
    drain(&mut decoder, &mut out)?;
    Ok(out)
}

fn drain(decoder: &mut Decoder, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut buffer = [0; 4096];
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok(()),
            count => out.extend_from_slice(&buffer[..count]),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((which, body)) = input.split_first() else {
        return;
    };
    let encodings = ["gzip", "deflate", "br", "zstd", "identity"];
    let encoding = encodings[usize::from(*which) % encodings.len()];
    let whole = decode(encoding, body, body.len());
    if let Ok(out) = &whole {
        assert!(out.len() <= MAX);
    }
    assert_eq!(
        decode(encoding, body, 1 + usize::from(*which) / 5).ok(),
        whole.ok()
    );
});
