//! Random bytes and the hash by which a token is recognised.

use std::fmt;

use aws_lc_rs::rand;

use super::mac::{constant_time_eq, sha256};

/// `N` unpredictable bytes. A machine without randomness stops the process.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// `n_bytes` unpredictable bytes as lower-case hex (twice as many characters).
pub fn random_hex(n_bytes: usize) -> String {
    let mut bytes = vec![0; n_bytes];
    fill(&mut bytes);
    hex::encode(bytes)
}

fn fill(bytes: &mut [u8]) {
    if rand::fill(bytes).is_err() {
        super::broken_machine("no randomness");
    }
}

/// SHA-256 of a token of high entropy: what a database keeps instead of the token. A plain hash is
/// enough because nobody can guess 256 random bits; passwords need argon2 instead.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// A stored hash, if it has the right length.
    pub fn from_slice(stored: &[u8]) -> Option<Self> {
        stored.try_into().ok().map(Self)
    }

    /// The 32 bytes to store or to look up.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the hash of `token`, in constant time.
    pub fn matches(&self, token: &str) -> bool {
        constant_time_eq(&self.0, &Self::of(token).0)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenHash")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn random_values_differ_and_have_the_asked_length() {
        assert_ne!(random_bytes::<16>(), random_bytes::<16>());
        assert_eq!(random_hex(32).len(), 64);
        assert!(
            random_hex(8)
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
        );
        assert_eq!(random_hex(0), "");
    }

    #[test]
    fn a_hash_recognises_its_token_only() {
        let hash = TokenHash::of("sntryu_abc");
        assert!(hash.matches("sntryu_abc"));
        assert!(!hash.matches("sntryu_abd"));
        assert_eq!(TokenHash::from_slice(hash.as_bytes()).unwrap(), hash);
        assert!(TokenHash::from_slice(&[0; 31]).is_none());
        assert_eq!(format!("{hash:?}"), "TokenHash");
    }
}
