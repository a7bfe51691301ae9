//! SHA-256, HMAC-SHA256 and comparison in constant time.

use aws_lc_rs::{constant_time, digest, hmac};

/// Bytes of a SHA-256 digest and of an HMAC-SHA256 tag.
pub const TAG_BYTES: usize = 32;

/// SHA-256 of `message`.
pub fn sha256(message: &[u8]) -> [u8; TAG_BYTES] {
    fixed(digest::digest(&digest::SHA256, message).as_ref())
}

/// HMAC-SHA256 of `message` under `key` (any length).
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; TAG_BYTES] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref())
}

/// Whether `tag` is the HMAC-SHA256 of `message` under `key`, found out in constant time.
pub fn verify_hmac_sha256(key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), message, tag).is_ok()
}

/// Equality that takes as long for a near miss as for a far one. Lengths are not hidden.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

fn fixed(bytes: &[u8]) -> [u8; TAG_BYTES] {
    let Ok(tag) = bytes.try_into() else {
        super::broken_machine("SHA-256 gave another length than 32 bytes")
    };
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two webhook vectors of bitbucket.md §5.2 and sentry.md §2.1.
    #[test]
    fn webhook_vectors() {
        let body = br#"{"push":{"changes":[]}}"#;
        let vectors = [
            (
                "topsecret".to_owned(),
                "d544cc8181395671aa7250ca63c8b39ef2ee7d1f3992e1e79dc3b356e8e43f1b",
            ),
            (
                "0".repeat(64),
                "6ae9c52e538e0b32149179f0b1db14bdbedd8b44815d44482756b9bb898d7b6c",
            ),
        ];
        for (secret, tag) in vectors {
            assert_eq!(hex::encode(hmac_sha256(secret.as_bytes(), body)), tag);
        }
    }

    #[test]
    fn verification_refuses_another_key_message_tag_and_length() {
        let tag = hmac_sha256(b"key", b"message");
        assert!(verify_hmac_sha256(b"key", b"message", &tag));
        assert!(!verify_hmac_sha256(b"kez", b"message", &tag));
        assert!(!verify_hmac_sha256(b"key", b"messagf", &tag));
        assert!(!verify_hmac_sha256(
            b"key",
            b"message",
            tag.split_last().map_or(&[], |(_, rest)| rest)
        ));
        assert!(!verify_hmac_sha256(b"key", b"message", b""));
    }

    #[test]
    fn equality_sees_content_and_length() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"abcd"));
        assert!(constant_time_eq(b"", b""));
    }

    #[test]
    fn sha256_of_nothing() {
        assert_eq!(
            hex::encode(sha256(b"")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
