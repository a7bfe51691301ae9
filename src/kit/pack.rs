//! How bodies rest in the database: one byte that names the codec, then the bytes; nothing at all once their time is over.

use std::borrow::Cow;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// The stored form of a body.
pub fn pack(body: &[u8]) -> Vec<u8> {
    let mut packed = lz4_flex::compress_prepend_size(body);
    if packed.len() < body.len() {
        packed.insert(0, LZ4);
        return packed;
    }
    let mut plain = Vec::with_capacity(body.len() + 1);
    plain.push(PLAIN);
    plain.extend_from_slice(body);
    plain
}

/// The body of a stored form; `None` when it was removed, cannot be read, or would be longer than `limit` bytes.
pub fn unpack(stored: &[u8], limit: usize) -> Option<Cow<'_, [u8]>> {
    match stored.split_first()? {
        (&PLAIN, plain) if plain.len() <= limit => Some(Cow::Borrowed(plain)),
        (&LZ4, packed) => {
            let (size, _) = lz4_flex::block::uncompressed_size(packed).ok()?;
            if size > limit {
                return None;
            }
            lz4_flex::decompress_size_prepended(packed)
                .ok()
                .map(Cow::Owned)
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_that_repeats_itself_gets_smaller() {
        let body = "{\"hash\": \"abc\"}, ".repeat(100);
        let packed = pack(body.as_bytes());
        assert!(packed.len() < body.len() / 4, "{}", packed.len());
        assert_eq!(unpack(&packed, 10_000).unwrap(), body.as_bytes());
        assert_eq!(unpack(&packed, 100), None, "over the limit");
    }

    #[test]
    fn what_was_removed_or_is_of_an_unknown_codec_has_no_body() {
        assert_eq!(unpack(b"", 10), None);
        assert_eq!(unpack(b"\x07abc", 10), None);
        assert_eq!(unpack(b"\x01\xff\xff\xff\xff", 10), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn bodies_come_back(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let packed = pack(&body);
            prop_assert_eq!(unpack(&packed, 300).unwrap().into_owned(), body);
        }

        #[test]
        fn stored_garbage_does_not_panic(stored in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = unpack(&stored, 1000);
        }
    }
}
