//! Event ids: sixteen bytes, written as 32 hex digits (sentry.md §11.4).

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The id of one event. SDKs send it as 32 hex digits or as a dashed UUID; we write 32 digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

/// The text is neither 32 hex digits nor a dashed UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event id")]
pub struct BadEventId;

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<Self, BadEventId> {
        let mut digits = [0_u8; 32];
        let bytes = text.as_bytes();
        match bytes.len() {
            32 => digits.copy_from_slice(bytes),
            36 => {
                let mut source = bytes.iter().enumerate();
                for digit in &mut digits {
                    let (at, byte) = source.next().ok_or(BadEventId)?;
                    let byte = if matches!(at, 8 | 13 | 18 | 23) {
                        if *byte != b'-' {
                            return Err(BadEventId);
                        }
                        source.next().ok_or(BadEventId)?.1
                    } else {
                        byte
                    };
                    *digit = *byte;
                }
            }
            _ => return Err(BadEventId),
        }
        let mut id = [0; 16];
        hex::decode_to_slice(digits, &mut id).map_err(|_| BadEventId)?;
        Ok(Self(id))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_spellings_are_one_id() {
        let plain: EventId = "9ec79c33ec9942ab8353589fcb2e04dc".parse().unwrap();
        let dashed: EventId = "9EC79C33-ec99-42ab-8353-589fcb2e04dc".parse().unwrap();
        assert_eq!(plain, dashed);
        assert_eq!(dashed.to_string(), "9ec79c33ec9942ab8353589fcb2e04dc");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "ok",
            "9ec79c33ec9942ab8353589fcb2e04d",
            "9ec79c33ec9942ab8353589fcb2e04dg",
            "9ec79c33-ec99-42ab-8353-589fcb2e04d-",
            "9ec79c33ec99-42ab-8353-589fcb2e04dc-",
            "{9ec79c33ec9942ab8353589fcb2e04dc}",
            "ééééééééééééééééé",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(BadEventId), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn ids_round_trip(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(EventId(bytes).to_string().parse(), Ok(EventId(bytes)));
            prop_assert_eq!(uuid::Uuid::from_bytes(bytes).to_string().parse(), Ok(EventId(bytes)));
        }

        #[test]
        fn any_text_gives_an_answer(text in "\\PC{0,40}") {
            let _ = text.parse::<EventId>();
        }
    }
}
