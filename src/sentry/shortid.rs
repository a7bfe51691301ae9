//! Short ids such as `SHOP-1F`: project slug and a counter in Crockford's base 32
//! (sentry.md §3.1 and §11.8).

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Writes a group number, most significant digit first, without padding; 0 is `0`.
pub fn encode(number: u64) -> String {
    let mut digits = Vec::with_capacity(13);
    let mut rest = number;
    loop {
        let digit = usize::try_from(rest % 32).unwrap_or_default();
        digits.push(ALPHABET.get(digit).copied().map_or('0', char::from));
        rest /= 32;
        if rest == 0 {
            return digits.iter().rev().collect();
        }
    }
}

/// Reads a group number; `O` counts as 0, `I` and `L` as 1, case does not matter.
///
/// Nothing for an empty text, another character, or a number beyond `i64::MAX` (the column's limit).
pub fn decode(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.chars().try_fold(0_i64, |number, letter| {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let digit = ALPHABET
            .iter()
            .position(|known| char::from(*known) == letter)?;
        number
            .checked_mul(32)?
            .checked_add(i64::try_from(digit).ok()?)
    })
}

/// A short id with its project: unique within one organization.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShortId {
    /// The project's slug, lower case.
    pub slug: String,
    /// The group's number within the project.
    pub number: i64,
}

/// The text is no qualified short id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a short id")]
pub struct BadShortId;

impl FromStr for ShortId {
    type Err = BadShortId;

    /// Splits at the last space, `_` or `-` (sentry.md §3.1).
    fn from_str(text: &str) -> Result<Self, BadShortId> {
        let (slug, code) = text.trim().rsplit_once([' ', '_', '-']).ok_or(BadShortId)?;
        if slug.is_empty() {
            return Err(BadShortId);
        }
        Ok(Self {
            slug: slug.to_lowercase(),
            number: decode(code).ok_or(BadShortId)?,
        })
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{}",
            self.slug.to_uppercase(),
            encode(self.number.unsigned_abs())
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(slug: &str, number: i64) -> ShortId {
        ShortId {
            slug: slug.to_owned(),
            number,
        }
    }

    #[test]
    fn vectors_of_the_reference() {
        for (number, text) in [
            (0, "0"),
            (1, "1"),
            (9, "9"),
            (10, "A"),
            (18, "J"),
            (31, "Z"),
            (32, "10"),
            (33, "11"),
            (1023, "ZZ"),
            (1024, "100"),
            (1234, "16J"),
            (32768, "1000"),
            (i64::MAX, "7ZZZZZZZZZZZZ"),
        ] {
            assert_eq!(encode(number.unsigned_abs()), text);
            assert_eq!(decode(text), Some(number));
        }
        assert_eq!(decode("12F"), Some(1103));
        assert_eq!(decode("AA"), Some(330));
        assert_eq!(decode("O1"), Some(1));
        assert_eq!(decode("il"), Some(33));
        assert_eq!(encode(u64::MAX), "FZZZZZZZZZZZZ");
    }

    #[test]
    fn other_characters_and_numbers_beyond_the_column_do_not_decode() {
        for text in [
            "",
            "U",
            "1U",
            "-1",
            " 1",
            "é",
            "8000000000000",
            "ZZZZZZZZZZZZZZZZZZZZZ",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn qualified_ids_split_at_the_last_separator() {
        assert_eq!("SHOP-1F".parse(), Ok(id("shop", 47)));
        assert_eq!("  shop-web-1 ".parse(), Ok(id("shop-web", 1)));
        assert_eq!("shop_1".parse(), Ok(id("shop", 1)));
        assert_eq!("shop web 1".parse(), Ok(id("shop web", 1)));
        for text in ["", "SHOP", "SHOP-", "-1", "SHOP-U", "FOO-8000000000000"] {
            assert_eq!(text.parse::<ShortId>(), Err(BadShortId), "{text}");
        }
        assert_eq!(id("shop-web", 1103).to_string(), "SHOP-WEB-12F");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn numbers_round_trip(number in 0..=i64::MAX) {
            prop_assert_eq!(decode(&encode(number.unsigned_abs())), Some(number));
        }

        #[test]
        fn qualified_ids_round_trip(slug in "[a-z0-9_-]{0,20}[a-z0-9]", number in 0..=i64::MAX) {
            let id = id(&slug, number);
            prop_assert_eq!(id.to_string().parse::<ShortId>(), Ok(id));
        }

        #[test]
        fn any_text_gives_an_answer(text in "\\PC*") {
            let _ = text.parse::<ShortId>();
        }
    }
}
