#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::Write as _;

use flate2::Compression;
use proptest::prelude::*;

use super::*;

const TEXT: &[u8] =
    b"{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"event\"}\n{}\n";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn zstd_encode(data: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
}

/// "hello hello hello hello hello\n" by the reference brotli encoder.
const BROTLI: &[u8] = include_bytes!("../../tests/fixtures/sdk/hello.br");

/// Decodes a body that arrives in pieces of this size.
fn in_pieces(
    encoding: Option<&str>,
    body: &[u8],
    max: usize,
    size: usize,
) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(encoding, max)?;
    let mut out = Vec::new();
    let mut buffer = [0; 700];
    for piece in body.chunks(size) {
        let said = decoder.held_with(piece.len());
        decoder.feed(piece);
        assert!(decoder.held() <= said, "{} > {said}", decoder.held());
        drain(&mut decoder, &mut buffer, &mut out)?;
    }
    decoder.finish()?;
    drain(&mut decoder, &mut buffer, &mut out)?;
    assert_eq!(decoder.decoded(), out.len());
    Ok(out)
}

fn drain(decoder: &mut Decoder, buffer: &mut [u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    loop {
        match decoder.read(buffer)? {
            0 => return Ok(()),
            count => out.extend_from_slice(&buffer[..count]),
        }
    }
}

fn decode(encoding: Option<&str>, body: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    in_pieces(encoding, body, max, body.len().max(1))
}

#[test]
fn each_encoding_round_trips() {
    for (name, body) in [
        (None, TEXT.to_vec()),
        (Some(""), TEXT.to_vec()),
        (Some("identity"), TEXT.to_vec()),
        (Some(" GZip "), gzip(TEXT)),
        (Some("x-gzip"), gzip(TEXT)),
        (Some("deflate"), zlib(TEXT)),
        (Some("deflate"), raw_deflate(TEXT)),
        (Some("zstd"), zstd_encode(TEXT)),
    ] {
        assert_eq!(decode(name, &body, 1000).unwrap(), TEXT, "{name:?}");
    }
    assert_eq!(
        decode(Some("br"), BROTLI, 1000).unwrap(),
        b"hello hello hello hello hello\n"
    );
}

#[test]
fn unknown_and_several_encodings_are_refused() {
    for name in ["gzip, deflate", "gzip,gzip", "compress", "snappy", "*"] {
        assert_eq!(
            decode(Some(name), TEXT, 1000),
            Err(DecodeError::Unsupported),
            "{name}"
        );
    }
}

#[test]
fn the_limit_is_exact() {
    let max = TEXT.len();
    for (name, body) in [
        ("identity", TEXT.to_vec()),
        ("gzip", gzip(TEXT)),
        ("deflate", zlib(TEXT)),
        ("zstd", zstd_encode(TEXT)),
    ] {
        assert!(decode(Some(name), &body, max).is_ok(), "{name}");
        assert_eq!(
            decode(Some(name), &body, max - 1),
            Err(DecodeError::TooLarge { max: max - 1 }),
            "{name}"
        );
    }
    assert_eq!(
        decode(Some("br"), BROTLI, 29),
        Err(DecodeError::TooLarge { max: 29 })
    );
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 20_000_000];
    for (name, body) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("zstd", zstd_encode(&zeros)),
    ] {
        assert!(body.len() < 100_000, "{name}: {}", body.len());
        assert_eq!(
            decode(Some(name), &body, 1_000_000),
            Err(DecodeError::TooLarge { max: 1_000_000 }),
            "{name}"
        );
    }
}

#[test]
fn little_is_held_of_a_body_that_arrives() {
    let packed = gzip(&vec![7; 3_000_000]);
    let mut decoder = Decoder::new(Some("gzip"), MAX_DECODED).unwrap();
    assert_eq!(decoder.held(), 0);
    let mut buffer = [0; 1000];
    for piece in packed.chunks(100) {
        decoder.feed(piece);
        while decoder.read(&mut buffer).unwrap() > 0 {}
        assert!(decoder.held() < 60_000, "{}", decoder.held());
    }
    assert!(!decoder.has_window());
    // A gzip header may hold a name of any length.
    let mut named = flate2::GzBuilder::new()
        .filename("x".repeat(60_000))
        .write(Vec::new(), Compression::default());
    named.write_all(TEXT).unwrap();
    let named = named.finish().unwrap();
    let mut decoder = Decoder::new(Some("gzip"), MAX_DECODED).unwrap();
    for (at, piece) in named.chunks(1000).enumerate() {
        decoder.feed(piece);
        let _ = decoder.read(&mut buffer).unwrap();
        assert!(decoder.held() >= (at * 1000).min(60_000));
    }
    let mut kept = Decoder::new(Some("br"), MAX_DECODED).unwrap();
    kept.feed(&[0; 5000]);
    assert!((5000..10_000).contains(&kept.held()));
    assert_eq!(kept.read(&mut buffer), Ok(0));
}

#[test]
fn a_stream_cut_anywhere_is_an_error() {
    for (name, body) in [
        ("gzip", gzip(TEXT)),
        ("deflate", zlib(TEXT)),
        ("zstd", zstd_encode(TEXT)),
        ("br", BROTLI.to_vec()),
    ] {
        for end in 0..body.len() {
            assert!(
                decode(Some(name), &body[..end], 1000).is_err(),
                "{name} cut at {end}"
            );
        }
        let half = decode(Some(name), &body[..body.len() / 2], 1000);
        assert_eq!(half, Err(DecodeError::Truncated), "{name}");
    }
}

#[test]
fn other_bytes_are_corrupt() {
    for name in ["gzip", "zstd"] {
        assert!(
            matches!(decode(Some(name), TEXT, 1000), Err(DecodeError::Corrupt(_))),
            "{name}"
        );
    }
    assert!(decode(Some("br"), TEXT, 1000).is_err());
    assert!(decode(Some("deflate"), TEXT, 1000).is_err());
}

#[test]
fn zstd_frames_may_follow_each_other_and_be_skipped() {
    let mut body = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    body.extend(zstd_encode(b"one "));
    body.extend(zstd_encode(b"two"));
    assert_eq!(decode(Some("zstd"), &body, 100).unwrap(), b"one two");
}

#[test]
fn a_brotli_header_cannot_ask_for_memory() {
    assert_eq!(
        decode(Some("br"), &[0x11, 0x1e, 0, 0, 0], 1000),
        Err(DecodeError::Corrupt("brotli"))
    );
}

#[test]
fn a_zstd_header_cannot_ask_for_memory() {
    // Window descriptor 0xff asks for nearly four terabytes; 0xa0 for a gigabyte.
    for window in [0xff, 0xa0] {
        let body = [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0, 0, 0, 0, 0];
        assert!(matches!(
            decode(Some("zstd"), &body, 1000),
            Err(DecodeError::TooLarge { .. })
        ));
        assert!(decode(Some("zstd"), &body, MAX_DECODED).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_an_answer(body in proptest::collection::vec(any::<u8>(), 0..600), which in 0..5_usize, max in 0..5000_usize) {
        let name = ["identity", "gzip", "deflate", "br", "zstd"][which];
        let out = decode(Some(name), &body, max);
        if let Ok(out) = &out {
            prop_assert!(out.len() <= max);
        }
        prop_assert_eq!(in_pieces(Some(name), &body, max, 7).ok(), out.ok());
    }

    #[test]
    fn damaged_streams_give_an_answer(data in proptest::collection::vec(any::<u8>(), 0..2000), which in 0..4_usize, at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let (name, mut body) = match which {
            0 => ("gzip", gzip(&data)),
            1 => ("deflate", zlib(&data)),
            2 => ("deflate", raw_deflate(&data)),
            _ => ("zstd", zstd_encode(&data)),
        };
        prop_assert_eq!(&decode(Some(name), &body, 2000).unwrap(), &data);
        prop_assert_eq!(&in_pieces(Some(name), &body, 2000, 1 + usize::from(flip)).unwrap(), &data);
        let at = at.index(body.len());
        body[at] ^= flip;
        if let Ok(out) = decode(Some(name), &body, 2000) {
            prop_assert!(out.len() <= 2000);
        }
    }
}
