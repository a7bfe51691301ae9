//! Short claims that travel through a browser and come back: who verified what, until when.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::kit::clock::Micros;

const SALT: &[u8] = b"tracebucket signed claims v1";
const EXPIRY_BYTES: usize = 8;
/// Of the 32 bytes of a tag, as many as a person can be asked to type.
const CODE_BYTES: usize = 8;

/// Why a signed claim was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Not made by us, changed, or made for another purpose.
    #[error("the claim is not valid")]
    Invalid,
    /// Ours, but its time is over.
    #[error("the claim has expired")]
    Expired,
}

/// Signs and verifies short claims. The payload is readable by whoever holds the token: it proves,
/// it does not hide. Made by [`super::Sealer::signer`].
#[derive(Clone)]
pub struct Signer {
    keys: Arc<[hmac::Key]>,
    /// Which of them signs.
    current: Arc<AtomicUsize>,
}

impl Signer {
    pub(super) fn new(keys: Arc<[hmac::Key]>, current: Arc<AtomicUsize>) -> Self {
        Self { keys, current }
    }

    fn current(&self) -> &hmac::Key {
        let Some(key) = self.keys.get(self.current.load(Ordering::Acquire)) else {
            super::broken_machine("a signer without keys")
        };
        key
    }

    /// A URL-safe token for `payload_json`, good for `purpose` until `expires` (that moment not
    /// included).
    pub fn sign(&self, purpose: &str, payload_json: &str, expires: Micros) -> String {
        let mut body = expires.0.to_be_bytes().to_vec();
        body.extend_from_slice(payload_json.as_bytes());
        let message = message(purpose, &body);
        let tag = hmac::sign(self.current(), &message);
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&body),
            URL_SAFE_NO_PAD.encode(tag)
        )
    }

    /// 16 hex digits for `purpose` and `subject`: the same in every process that signs with the same key, and not
    /// to be guessed without it. A purpose of [`Signer::sign`] must not be used here.
    pub fn code(&self, purpose: &str, subject: &str) -> String {
        let tag = hmac::sign(self.current(), &message(purpose, subject.as_bytes()));
        let (code, _) = tag.as_ref().split_at(CODE_BYTES);
        hex::encode(code)
    }

    /// The payload of a token that one of our keys signed for the same `purpose` and that has not
    /// expired at `now`.
    pub fn verify(&self, purpose: &str, token: &str, now: Micros) -> Result<String, ClaimError> {
        let (body, tag) = token.split_once('.').ok_or(ClaimError::Invalid)?;
        let body = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| ClaimError::Invalid)?;
        let tag = URL_SAFE_NO_PAD
            .decode(tag)
            .map_err(|_| ClaimError::Invalid)?;
        let message = message(purpose, &body);
        if !self
            .keys
            .iter()
            .any(|key| hmac::verify(key, &message, &tag).is_ok())
        {
            return Err(ClaimError::Invalid);
        }
        let (expires, payload) = body
            .split_first_chunk::<EXPIRY_BYTES>()
            .ok_or(ClaimError::Invalid)?;
        if Micros(i64::from_be_bytes(*expires)) <= now {
            return Err(ClaimError::Expired);
        }
        String::from_utf8(payload.to_vec()).map_err(|_| ClaimError::Invalid)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({} keys)", self.keys.len())
    }
}

/// The length in front keeps `("ab", "c")` and `("a", "bc")` apart.
fn message(purpose: &str, body: &[u8]) -> Vec<u8> {
    let length = u64::try_from(purpose.len()).unwrap_or(u64::MAX);
    [&length.to_be_bytes(), purpose.as_bytes(), body].concat()
}

pub(super) fn derive_signing_key(sealing_key: &[u8]) -> hmac::Key {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(sealing_key);
    let Ok(expanded) = extracted.expand(&[b"hmac-sha256"], hmac::HMAC_SHA256) else {
        super::broken_machine("HKDF refused 32 bytes")
    };
    hmac::Key::from(expanded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kit::crypto::Sealer;

    const NOW: Micros = Micros(1_000_000);
    const LATER: Micros = Micros(2_000_000);

    fn key(id: &str, fill: u8) -> String {
        format!(
            "{id}:{}",
            base64::engine::general_purpose::STANDARD.encode([fill; 32])
        )
    }

    fn signer(line: &str) -> Signer {
        Sealer::parse(line).unwrap().signer()
    }

    #[test]
    fn a_claim_holds_for_its_purpose_and_time() {
        let signer = signer(&key("a", 1));
        let token = signer.sign("setup", r#"{"install":7}"#, LATER);
        assert_eq!(
            signer.verify("setup", &token, NOW).unwrap(),
            r#"{"install":7}"#
        );
        assert_eq!(
            signer.verify("panel", &token, NOW),
            Err(ClaimError::Invalid)
        );
        assert_eq!(
            signer.verify("setup", &token, LATER),
            Err(ClaimError::Expired)
        );
    }

    #[test]
    fn a_changed_token_is_invalid() {
        let signer = signer(&key("a", 1));
        let token = signer.sign("setup", "{}", LATER);
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(
                signer.verify("setup", &changed, NOW),
                Err(ClaimError::Invalid),
                "byte {index}"
            );
        }
    }

    #[test]
    fn purpose_and_body_cannot_be_shifted_against_each_other() {
        assert_ne!(message("ab", b"c"), message("a", b"bc"));
    }

    #[test]
    fn claims_outlive_a_change_of_the_first_key() {
        let token = signer(&key("old", 1)).sign("setup", "{}", LATER);
        let both = signer(&format!("{},{}", key("new", 2), key("old", 1)));
        assert_eq!(both.verify("setup", &token, NOW).unwrap(), "{}");
        assert_eq!(
            signer(&key("new", 2)).verify("setup", &token, NOW),
            Err(ClaimError::Invalid)
        );
        assert_eq!(format!("{both:?}"), "Signer(2 keys)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_round_trips(purpose in ".*", payload in ".*") {
            let signer = signer(&key("a", 1));
            let token = signer.sign(&purpose, &payload, LATER);
            prop_assert_eq!(signer.verify(&purpose, &token, NOW).unwrap(), payload);
        }

        #[test]
        fn foreign_text_is_invalid_and_never_panics(token in ".*") {
            prop_assert_eq!(signer(&key("a", 1)).verify("setup", &token, NOW), Err(ClaimError::Invalid));
        }
    }
}
