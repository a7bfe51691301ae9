//! JSON Web Tokens by hand, HS256 only (bitbucket.md §1.6). What a token *means* is judged in
//! [`crate::judge`]; here it is only taken apart, checked against a secret, or made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::model::Secret;

/// A token taken apart; nothing of it is trusted yet.
#[derive(Debug)]
pub struct Unverified {
    /// The decoded header.
    pub header: Map<String, Value>,
    /// The decoded claims.
    pub claims: Map<String, Value>,
    signing_input: String,
    signature: Vec<u8>,
}

impl Unverified {
    /// Takes a compact token apart.
    ///
    /// # Errors
    /// A sentence naming the first part that is not what a compact token holds.
    pub fn parse(token: &str) -> Result<Self, String> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("a token has three parts separated by dots".into());
        };
        Ok(Self {
            header: object(header, "header")?,
            claims: object(claims, "claims")?,
            signing_input: format!("{header}.{claims}"),
            signature: URL_SAFE_NO_PAD
                .decode(signature)
                .map_err(|_| "the signature is not unpadded base64url".to_owned())?,
        })
    }

    /// Whether the signature is HMAC-SHA256 of this token under `secret` (constant time).
    pub fn signed_by(&self, secret: &Secret) -> bool {
        mac(secret.expose().as_bytes(), self.signing_input.as_bytes())
            .verify_slice(&self.signature)
            .is_ok()
    }

    /// A claim that must be a string.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// A claim that must be a whole number of seconds.
    pub fn seconds(&self, claim: &str) -> Option<i64> {
        self.claims.get(claim).and_then(Value::as_i64)
    }
}

/// Signs `claims` with HS256.
pub fn sign(claims: &Value, secret: &Secret) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = mac(secret.expose().as_bytes(), input.as_bytes())
        .finalize()
        .into_bytes();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// `sha256=<hex>` of a webhook body, for the header `X-Hub-Signature` (bitbucket.md §5.2).
pub fn hub_signature(secret: &Secret, body: &[u8]) -> String {
    format!(
        "sha256={}",
        hex::encode(
            mac(secret.expose().as_bytes(), body)
                .finalize()
                .into_bytes()
        )
    )
}

fn mac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length, so the empty fallback is never reached.
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(data);
    mac
}

fn object(part: &str, name: &str) -> Result<Map<String, Value>, String> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| format!("the {name} part is not unpadded base64url"))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(format!("the {name} part is not a JSON object")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9";
    const CLAIMS: &str = "eyJpc3MiOiJ0ZXN0c2VydmVyLmppcmE6MTIzIiwiaWF0IjoxMjM0NTY3ODkwLCJleHAiOjk5OTk5OTk5OTksInFzaCI6IjM2ZjQzYjg4ZDZhOGNkZjg5YmI4Zjc0NGUyMzc4YmIwY2ViNjM3OGU4MGFiMGI1MTMwODJhOGI3MjM5NmJjY2MiLCJzdWIiOiJjb25uZWN0OjEyMyJ9";

    /// The valid and the wrongly signed token of sentry.md §1.4.
    #[test]
    fn reference_tokens() {
        let secret = Secret::new("shared-super-secret");
        let good = Unverified::parse(&format!(
            "{HEADER}.{CLAIMS}.DjaYGvzLDO0RWTbNRHk3jyXsUvo9Jb7fAP8hguqpMvE"
        ))
        .unwrap();
        assert!(good.signed_by(&secret));
        assert_eq!(good.text("iss"), Some("testserver.jira:123"));
        assert_eq!(good.seconds("exp"), Some(9_999_999_999));
        let wrong = Unverified::parse(&format!(
            "{HEADER}.{CLAIMS}.7nGQQWUeXewnfL8_yvwzLGyf_rgkGdaQxKbDoi7tu_g"
        ))
        .unwrap();
        assert!(!wrong.signed_by(&secret));
    }

    /// The signature vector of bitbucket.md §5.2.
    #[test]
    fn hub_signature_vector() {
        assert_eq!(
            hub_signature(&Secret::new("topsecret"), br#"{"push":{"changes":[]}}"#),
            "sha256=d544cc8181395671aa7250ca63c8b39ef2ee7d1f3992e1e79dc3b356e8e43f1b"
        );
    }

    #[test]
    fn what_is_signed_verifies_and_a_changed_byte_does_not() {
        let secret = Secret::new("k");
        let token = sign(&json!({"iss": "a"}), &secret);
        assert!(Unverified::parse(&token).unwrap().signed_by(&secret));
        let other = sign(&json!({"iss": "b"}), &secret);
        let (head, _) = token.rsplit_once('.').unwrap();
        let (_, tail) = other.rsplit_once('.').unwrap();
        assert!(
            !Unverified::parse(&format!("{head}.{tail}"))
                .unwrap()
                .signed_by(&secret)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn parse_never_panics(token in ".*", a in "[A-Za-z0-9_=-]{0,30}", b in "[A-Za-z0-9_-]{0,30}") {
            let _ = Unverified::parse(&token);
            let _ = Unverified::parse(&format!("{a}.{b}.{a}"));
        }
    }
}
