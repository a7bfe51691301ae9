//! Taking secrets out of text before it is logged or stored: URLs, upstream bodies, error texts.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

const PATTERNS: [(&str, &str); 5] = [
    // Tokens of the Connect kind, wherever they stand.
    (
        r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*",
        "[redacted]",
    ),
    // Authorization values.
    (
        r"(?i)\b(JWT|Bearer|Basic|DSN|Token)(\s+)[A-Za-z0-9._~+/=-]{8,}",
        "$1$2[redacted]",
    ),
    // Query and form values with telling names.
    (
        r"(?i)([?&;\s]|^)((?:jwt|access_token|refresh_token|token|client_secret|secret|password|code|state|sig|signature|sentry_secret)=)[^&\s#]+",
        "$1$2[redacted]",
    ),
    // JSON values with telling names.
    (
        r#"(?i)("[a-z0-9_-]*(?:secret|password|token|authorization|jwt|private_key)"\s*:\s*)"(?:[^"\\]|\\.)*""#,
        r#"$1"[redacted]""#,
    ),
    // User and password in front of a host.
    (r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]+@", "$1[redacted]@"),
];

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    PATTERNS
        .iter()
        .filter_map(|(pattern, by)| Some((Regex::new(pattern).ok()?, *by)))
        .collect()
});

/// `text` with everything that looks like a secret replaced by `[redacted]`. A safety net for texts
/// that others wrote; our own code does not put secrets into texts in the first place.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    for (rule, by) in RULES.iter() {
        if let Cow::Owned(next) = rule.replace_all(&clean, *by) {
            clean = Cow::Owned(next);
        }
    }
    clean
}

/// Redacted and cut to at most `limit` bytes at a character border.
pub fn redact_short(text: &str, limit: usize) -> String {
    let clean = redact(text);
    if clean.len() <= limit {
        return clean.into_owned();
    }
    let end = (0..=limit)
        .rev()
        .find(|&end| clean.is_char_boundary(end))
        .unwrap_or(0);
    format!("{}…", clean.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_rule_compiles() {
        assert_eq!(RULES.len(), PATTERNS.len());
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let cases = [
            (
                "GET /setup/?jwt=abc.def.ghi&x=1 200",
                "GET /setup/?jwt=[redacted]&x=1 200",
            ),
            ("/setup/?x=1&JWT=abc", "/setup/?x=1&JWT=[redacted]"),
            ("token eyJhbGciOi.eyJpc3M.sig-_ end", "token [redacted] end"),
            (
                "Authorization: Bearer abcdefgh1234",
                "Authorization: Bearer [redacted]",
            ),
            (
                "Authorization: Basic dXNlcjpwYXNz",
                "Authorization: Basic [redacted]",
            ),
            (
                r#"{"sharedSecret":"s3\"x","a":1}"#,
                r#"{"sharedSecret":"[redacted]","a":1}"#,
            ),
            (
                r#"{"refresh_token": "abc"}"#,
                r#"{"refresh_token": "[redacted]"}"#,
            ),
            (
                "https://user:pw@host.example/x",
                "https://[redacted]@host.example/x",
            ),
            (
                "grant_type=x&client_secret=abc",
                "grant_type=x&client_secret=[redacted]",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn harmless_text_is_borrowed() {
        for text in [
            "",
            "Repository acme/app not found",
            "error code 404 at /api/repositories",
            "Basic auth needed",
        ] {
            assert!(
                matches!(redact(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn cutting_happens_after_redaction_and_between_characters() {
        assert_eq!(redact_short("jwt=abcdefghijkl", 10), "jwt=[redac…");
        assert_eq!(redact_short("ééé", 3), "é…");
        assert_eq!(redact_short("abc", 3), "abc");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_token_in_a_query_never_survives(before in "[a-z/]{0,10}", token in "[A-Za-z0-9]{12,30}", after in "\\PC{0,20}") {
            let text = format!("{before}?jwt={token}&{after}");
            prop_assert!(!redact(&text).contains(&token));
        }

        #[test]
        fn no_text_panics(text in "\\PC*", limit in 0_usize..40) {
            prop_assert!(redact_short(&text, limit).len() <= limit + '…'.len_utf8());
        }
    }
}
