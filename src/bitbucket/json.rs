//! Reading JSON that is stored afterwards.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

const NUL: &[u8] = br"\u0000";

/// Reads JSON without the NULs of its texts: PostgreSQL stores none, and they mean nothing in a name or a message.
///
/// # Errors
/// When it is not the JSON of a `T`.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(&without_nul(body))
}

/// A backslash stands in strings only, so the text need not be understood to find the escapes.
fn without_nul(body: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memmem::find(body, NUL).is_none() {
        return Cow::Borrowed(body);
    }
    let mut kept = Vec::with_capacity(body.len());
    let mut left = body;
    while let Some((first, rest)) = left.split_first() {
        if let Some(after) = left.strip_prefix(NUL) {
            left = after;
            continue;
        }
        kept.push(*first);
        left = rest;
        // What is escaped is no beginning of an escape.
        if *first == b'\\'
            && let Some((escaped, rest)) = left.split_first()
        {
            kept.push(*escaped);
            left = rest;
        }
    }
    Cow::Owned(kept)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn only_the_escape_of_a_nul_goes() {
        let text = br#"{"a\u0000": "b\\u0000\u0000c\"\u0000\\\u0000", "d": "\u00001"}"#;
        let value: Value = read(text).unwrap();
        assert_eq!(value, json!({"a": "b\\u0000c\"\\", "d": "1"}));
        assert!(matches!(
            without_nul(br#"{"a": "\u0001"}"#),
            Cow::Borrowed(_)
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_comes_back_without_its_nuls(text in "[\\\\u0\0\"a]{0,12}") {
            let read: String = read(&serde_json::to_vec(&text).unwrap()).unwrap();
            prop_assert_eq!(read, text.replace('\0', ""));
        }

        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut body = bytes.clone();
            body.extend_from_slice(NUL);
            body.extend(bytes);
            let _ = read::<Value>(&body);
        }
    }
}
