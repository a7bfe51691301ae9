//! Texts of API tokens, in the shapes that `sentry-cli` knows (sentry.md §10.2).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::kit::clock::Micros;
use crate::kit::crypto::{random_bytes, random_hex};

/// `sntryu_` and 64 hex digits.
#[must_use]
pub fn new_user_token() -> String {
    format!("sntryu_{}", random_hex(32))
}

/// `sntrys_`, padded base64 of `{iat, url, region_url, org}`, `_`, unpadded base64 of 32 random bytes.
#[must_use]
pub fn new_org_token(org_slug: &str, public_url: &str, now: Micros) -> String {
    let url = public_url.trim_end_matches('/');
    let payload =
        serde_json::json!({ "iat": now.secs(), "url": url, "region_url": url, "org": org_slug });
    format!(
        "sntrys_{}_{}",
        STANDARD.encode(payload.to_string()),
        STANDARD_NO_PAD.encode(random_bytes::<32>())
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let user = new_user_token();
        assert_eq!(user.len(), 7 + 64);
        let org = new_org_token("acme", "https://tb.example/", Micros::from_unix_seconds(7));
        let parts: Vec<_> = org.split('_').collect();
        assert_eq!(parts.len(), 3, "{org}");
        assert_eq!(parts[2].len(), 43);
        let payload: serde_json::Value =
            serde_json::from_slice(&STANDARD.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(payload["org"], "acme");
        assert_eq!(payload["region_url"], "https://tb.example");
    }
}
