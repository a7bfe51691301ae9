//! Secrets at rest: AES-256-GCM under named keys, so that keys can be changed while old values
//! stay readable.
//!
//! Sealed form, version 1: `1`, length of the key id, key id, 12 bytes of nonce, ciphertext, 16 bytes
//! of tag. Everything before the nonce and the caller's context are authenticated too, so a value
//! copied to another row or column does not open there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::signed::{Signer, derive_signing_key};
use super::token::{random_bytes, random_hex};

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const MAX_KEY_ID: usize = 32;

/// Why a line of keys was refused. No message holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing but separators.
    #[error("no key given; expected `id:base64` of 32 random bytes")]
    Empty,
    /// The n-th entry (from 1) lacks the colon between id and key.
    #[error("key {0} has no `:` between its id and its base64 text")]
    NoSeparator(usize),
    /// The n-th entry has an id that is empty, too long or holds other characters.
    #[error("key {0} needs an id of 1 to 32 letters, digits, `-`, `_` or `.`")]
    BadId(usize),
    /// Two entries share an id.
    #[error("key id `{0}` is given twice")]
    DuplicateId(String),
    /// The text after the colon is not base64.
    #[error("key `{0}` is not valid base64")]
    NotBase64(String),
    /// The decoded key has another length.
    #[error("key `{id}` has {bytes} bytes instead of 32")]
    WrongLength {
        /// The key's id.
        id: String,
        /// Decoded length.
        bytes: usize,
    },
}

/// Why a sealed value did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or cut off.
    #[error("the sealed value is incomplete")]
    Truncated,
    /// Written by a newer program, or not a sealed value.
    #[error("the sealed value has the unknown version {0}")]
    UnknownVersion(u8),
    /// The key was removed from the configuration.
    #[error("the sealed value needs key `{0}`, which is not configured")]
    UnknownKey(String),
    /// Changed bytes, a value moved from its place, or another key under the same id.
    #[error("the sealed value was changed, moved, or sealed by another key of the same id")]
    Refused,
}

struct SealingKey {
    id: String,
    key: LessSafeKey,
    signing: aws_lc_rs::hmac::Key,
}

/// Seals and opens values. One key seals, at first the first one; every key opens. Clones share the keys and which of
/// them seals.
#[derive(Clone)]
pub struct Sealer {
    /// Never empty.
    keys: Arc<[SealingKey]>,
    current: Arc<AtomicUsize>,
}

impl Sealer {
    /// Reads `id:base64,id:base64…` (commas or line ends between the keys, 32 bytes each).
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<SealingKey> = Vec::new();
        let entries = line
            .split([',', '\n'])
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            let key = parse_key(index + 1, entry)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyError::DuplicateId(key.id));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self {
            keys: keys.into(),
            current: Arc::default(),
        })
    }

    /// A fresh `id:base64` line for the configuration. It is a secret.
    pub fn generate_key_line() -> String {
        let key = Zeroizing::new(random_bytes::<KEY_BYTES>());
        format!("k{}:{}", random_hex(4), STANDARD.encode(key.as_slice()))
    }

    /// Seals `plaintext` for one place. `context` names that place (say `link.credential:42`) and
    /// must be given again to open.
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> Vec<u8> {
        let key = self.current();
        let nonce = random_bytes::<NONCE_LEN>();
        let mut sealed = header(&key.id);
        let aad = associated(&sealed, context);
        let mut body = plaintext.to_vec();
        let sealing = key.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut body,
        );
        if sealing.is_err() {
            super::broken_machine("AES-256-GCM refused to seal");
        }
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Opens what [`Sealer::seal`] made for the same `context`.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let parts = split(sealed)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == parts.key_id)
            .ok_or_else(|| SealError::UnknownKey(parts.key_id.to_owned()))?;
        let aad = associated(parts.header, context);
        let mut body = Zeroizing::new(parts.body.to_vec());
        let nonce = Nonce::assume_unique_for_key(parts.nonce);
        let plain = key
            .key
            .open_in_place(nonce, Aad::from(aad), &mut body)
            .map_err(|_| SealError::Refused)?;
        Ok(plain.to_vec())
    }

    /// The id of the key that sealed this value, if it is a sealed value at all.
    pub fn key_id_of(sealed: &[u8]) -> Option<&str> {
        split(sealed).ok().map(|parts| parts.key_id)
    }

    /// Whether a readable value uses another key than the one that seals now.
    pub fn needs_reseal(&self, sealed: &[u8]) -> bool {
        Self::key_id_of(sealed).is_some_and(|id| id != self.current().id)
    }

    /// Id of the key that seals now.
    pub fn current_key_id(&self) -> &str {
        &self.current().id
    }

    /// Id of the key that comes first in the configuration.
    pub fn first_key_id(&self) -> &str {
        self.keys.first().map_or("", |key| &key.id)
    }

    /// Seals and signs with the key of this id from now on; false, and nothing changed, when it is not here.
    #[must_use]
    pub fn use_key(&self, id: &str) -> bool {
        let found = self.keys.iter().position(|key| key.id == id);
        if let Some(position) = found {
            self.current.store(position, Ordering::Release);
        }
        found.is_some()
    }

    /// A signer for short claims. Its keys are derived from the sealing keys, so that no second
    /// kind of key must be configured; the one that seals signs, all verify.
    pub fn signer(&self) -> Signer {
        let keys = self.keys.iter().map(|key| key.signing.clone()).collect();
        Signer::new(keys, Arc::clone(&self.current))
    }

    fn current(&self) -> &SealingKey {
        let Some(key) = self.keys.get(self.current.load(Ordering::Acquire)) else {
            super::broken_machine("a sealer without keys")
        };
        key
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sealer")
            .field(
                "keys",
                &self.keys.iter().map(|key| &key.id).collect::<Vec<_>>(),
            )
            .finish()
    }
}

fn parse_key(position: usize, entry: &str) -> Result<SealingKey, KeyError> {
    let (id, encoded) = entry
        .split_once(':')
        .ok_or(KeyError::NoSeparator(position))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > MAX_KEY_ID || !id.bytes().all(allowed) {
        return Err(KeyError::BadId(position));
    }
    let bytes = Zeroizing::new(
        STANDARD
            .decode(encoded.trim())
            .map_err(|_| KeyError::NotBase64(id.to_owned()))?,
    );
    let wrong_length = || KeyError::WrongLength {
        id: id.to_owned(),
        bytes: bytes.len(),
    };
    if bytes.len() != KEY_BYTES {
        return Err(wrong_length());
    }
    let unbound = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| wrong_length())?;
    Ok(SealingKey {
        id: id.to_owned(),
        key: LessSafeKey::new(unbound),
        signing: derive_signing_key(&bytes),
    })
}

fn header(key_id: &str) -> Vec<u8> {
    let length = u8::try_from(key_id.len()).unwrap_or(u8::MAX);
    let mut header = vec![VERSION, length];
    header.extend_from_slice(key_id.as_bytes());
    header
}

fn associated(header: &[u8], context: &str) -> Vec<u8> {
    [header, context.as_bytes()].concat()
}

struct Parts<'a> {
    header: &'a [u8],
    key_id: &'a str,
    nonce: [u8; NONCE_LEN],
    body: &'a [u8],
}

fn split(sealed: &[u8]) -> Result<Parts<'_>, SealError> {
    let (&version, rest) = sealed.split_first().ok_or(SealError::Truncated)?;
    if version != VERSION {
        return Err(SealError::UnknownVersion(version));
    }
    let (&length, rest) = rest.split_first().ok_or(SealError::Truncated)?;
    let length = usize::from(length);
    let (id, rest) = rest.split_at_checked(length).ok_or(SealError::Truncated)?;
    let (nonce, body) = rest
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(SealError::Truncated)?;
    if body.len() < AES_256_GCM.tag_len() {
        return Err(SealError::Truncated);
    }
    let key_id = std::str::from_utf8(id).map_err(|_| SealError::Refused)?;
    let header = sealed.get(..2 + length).ok_or(SealError::Truncated)?;
    Ok(Parts {
        header,
        key_id,
        nonce: *nonce,
        body,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn key(id: &str, fill: u8) -> String {
        format!("{id}:{}", STANDARD.encode([fill; KEY_BYTES]))
    }

    fn sealer(line: &str) -> Sealer {
        Sealer::parse(line).unwrap()
    }

    #[test]
    fn a_value_comes_back_in_its_own_context_only() {
        let sealer = sealer(&key("a", 1));
        let sealed = sealer.seal("install.secret:7", b"shared");
        assert_eq!(sealer.open("install.secret:7", &sealed).unwrap(), b"shared");
        assert_eq!(
            sealer.open("install.secret:8", &sealed),
            Err(SealError::Refused)
        );
        assert_eq!(sealer.open("", &sealed), Err(SealError::Refused));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let sealer = sealer(&key("key-1", 1));
        let sealed = sealer.seal("c", b"value");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(sealer.open("c", &changed).is_err(), "byte {index}");
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        let sealer = sealer(&key("key-1", 1));
        let sealed = sealer.seal("c", b"value");
        for length in 0..sealed.len() {
            assert!(
                sealer.open("c", &sealed[..length]).is_err(),
                "length {length}"
            );
        }
        assert_eq!(sealer.open("c", b""), Err(SealError::Truncated));
        assert_eq!(sealer.open("c", &[9, 0]), Err(SealError::UnknownVersion(9)));
    }

    #[test]
    fn rotation_keeps_old_values_readable_and_names_what_to_reseal() {
        let old = sealer(&key("old", 1));
        let both = sealer(&format!("{},{}", key("new", 2), key("old", 1)));
        let sealed = old.seal("c", b"value");
        assert_eq!(both.open("c", &sealed).unwrap(), b"value");
        assert!(both.needs_reseal(&sealed));
        let resealed = both.seal("c", b"value");
        assert_eq!(Sealer::key_id_of(&resealed), Some("new"));
        assert!(!both.needs_reseal(&resealed));
        assert_eq!(
            old.open("c", &resealed),
            Err(SealError::UnknownKey("new".to_owned()))
        );
        // Others do not know the new one yet: until it is named, both seal with the old one.
        assert!(both.use_key("old") && !both.use_key("other"));
        assert_eq!((both.first_key_id(), both.current_key_id()), ("new", "old"));
        let sealed_again = both.clone().seal("c", b"value");
        assert_eq!(old.open("c", &sealed_again).unwrap(), b"value");
        assert_eq!(
            sealer(&key("old", 3)).open("c", &sealed),
            Err(SealError::Refused)
        );
    }

    #[test]
    fn nonces_do_not_repeat() {
        let sealer = sealer(&key("a", 1));
        let sealed: HashSet<Vec<u8>> = (0..2_000)
            .map(|_| sealer.seal("c", b"same")[3..3 + NONCE_LEN].to_vec())
            .collect();
        assert_eq!(sealed.len(), 2_000);
    }

    #[test]
    fn errors_name_the_entry_and_never_the_key() {
        let good = key("a", 1);
        let cases = [
            ("", KeyError::Empty),
            (" , \n", KeyError::Empty),
            ("nocolon", KeyError::NoSeparator(1)),
            (":AAAA", KeyError::BadId(1)),
            ("sp ace:AAAA", KeyError::BadId(1)),
            ("b:***", KeyError::NotBase64("b".to_owned())),
            (
                "b:c2hvcnQ=",
                KeyError::WrongLength {
                    id: "b".to_owned(),
                    bytes: 5,
                },
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(Sealer::parse(line).unwrap_err(), expected, "{line}");
        }
        let twice = Sealer::parse(&format!("{good},{good}")).unwrap_err();
        assert_eq!(twice, KeyError::DuplicateId("a".to_owned()));
        let second = Sealer::parse(&format!("{good},c2VjcmV0")).unwrap_err();
        assert_eq!(second, KeyError::NoSeparator(2));
        assert!(!second.to_string().contains("c2VjcmV0"));
    }

    #[test]
    fn debug_shows_ids_only() {
        let shown = format!("{:?}", sealer(&format!("{}\n{}", key("a", 1), key("b", 2))));
        assert_eq!(shown, r#"Sealer { keys: ["a", "b"] }"#);
    }

    #[test]
    fn a_generated_line_is_a_usable_and_fresh_key() {
        let line = Sealer::generate_key_line();
        let sealer = sealer(&line);
        assert_eq!(sealer.open("c", &sealer.seal("c", b"x")).unwrap(), b"x");
        assert_ne!(line, Sealer::generate_key_line());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_value_and_context_round_trip(context in ".*", plain in prop::collection::vec(any::<u8>(), 0..300)) {
            let sealer = sealer(&key("a", 1));
            let sealed = sealer.seal(&context, &plain);
            prop_assert_eq!(sealer.open(&context, &sealed).unwrap(), plain);
        }

        #[test]
        fn foreign_bytes_never_open_and_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), sound in any::<bool>()) {
            let sealer = sealer(&key("a", 1));
            if sound && bytes.len() > 3 {
                bytes[..3].copy_from_slice(&[VERSION, 1, b'a']);
            }
            prop_assert!(sealer.open("c", &bytes).is_err());
        }
    }
}
