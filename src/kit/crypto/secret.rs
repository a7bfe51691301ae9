//! A string that must not be seen.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret text: shared secrets, tokens, keys. It prints as `[redacted]`, cannot be serialised or
/// compared by accident, and its memory is wiped when it goes.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every call is a place to check in review: nothing may log or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Bytes of the text, for MACs and sealing.
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source).map(Self::new)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_even_inside_other_types() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "read through Debug")]
        struct Holder {
            secret: Option<Secret>,
        }
        let holder = Holder {
            secret: Some("hunter2".into()),
        };
        assert_eq!(format!("{holder:?}"), "Holder { secret: Some([redacted]) }");
        assert!(!format!("{holder:#?}").contains("hunter2"));
    }

    #[test]
    fn comes_from_json_and_is_read_only_by_expose() {
        let secret: Secret = serde_json::from_str("\"abc\"").unwrap();
        assert_eq!(secret.expose(), "abc");
        assert_eq!(secret.expose_bytes(), b"abc");
    }
}
