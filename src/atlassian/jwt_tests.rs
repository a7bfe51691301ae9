//! Tests of Connect tokens: the recorded vectors, every refusal, and round trips.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kit::crypto::hmac_sha256;

const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9";
const VALID: &str = "eyJpc3MiOiJ0ZXN0c2VydmVyLmppcmE6MTIzIiwiaWF0IjoxMjM0NTY3ODkwLCJleHAiOjk5OTk5OTk5OTksInFzaCI6IjM2ZjQzYjg4ZDZhOGNkZjg5YmI4Zjc0NGUyMzc4YmIwY2ViNjM3OGU4MGFiMGI1MTMwODJhOGI3MjM5NmJjY2MiLCJzdWIiOiJjb25uZWN0OjEyMyJ9";
const VALID_SIGNATURE: &str = "DjaYGvzLDO0RWTbNRHk3jyXsUvo9Jb7fAP8hguqpMvE";
const WRONG_SIGNATURE: &str = "7nGQQWUeXewnfL8_yvwzLGyf_rgkGdaQxKbDoi7tu_g";
const UNKNOWN_ISSUER: &str = "eyJpc3MiOiJ0ZXN0c2VydmVyLmppcmE6dW5rbm93biIsImlhdCI6MTIzNDU2Nzg5MCwiZXhwIjo5OTk5OTk5OTk5LCJxc2giOiIzNmY0M2I4OGQ2YThjZGY4OWJiOGY3NDRlMjM3OGJiMGNlYjYzNzhlODBhYjBiNTEzMDgyYThiNzIzOTZiY2NjIiwic3ViIjoiY29ubmVjdDoxMjMifQ.dhIYA45uNkp4jONnpniNeW-k7E3dywJhPzMI55KVlus";
const EXPIRED: &str = "eyJpc3MiOiJ0ZXN0c2VydmVyLmppcmE6MTIzIiwiaWF0IjoxMjM0NTY3ODkwLCJleHAiOjEyMzQ1Njc4OTAsInFzaCI6IjM2ZjQzYjg4ZDZhOGNkZjg5YmI4Zjc0NGUyMzc4YmIwY2ViNjM3OGU4MGFiMGI1MTMwODJhOGI3MjM5NmJjY2MiLCJzdWIiOiJjb25uZWN0OjEyMyJ9.1ZIrXDbaS6nUMgtmdCE1BFbsT7yvNKTkzVnSjX-Q7TA";
const NONE_HEADER: &str = "eyJ0eXAiOiAiSldUIiwgImFsZyI6ICJub25lIn0";
const QUERY: &str = "a=1&b=2&c=3&test=pass";
const NOW: Micros = Micros::from_unix_seconds(1_770_000_000);

fn shared() -> Secret {
    "shared-super-secret".into()
}

fn jira_request(query: &str) -> Request<'_> {
    Request {
        method: "GET",
        path: "/extensions/jira/configure/",
        query: Some(query),
        base_path: "",
    }
}

fn check(token: &str) -> Result<Claims, JwtError> {
    verify(token, &shared(), &jira_request(QUERY), NOW)
}

/// A token with any header and claims, rightly signed.
fn forge(header: &Value, claims: &Value) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let tag = hmac_sha256(shared().expose_bytes(), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn claims() -> Value {
    let request = jira_request(QUERY);
    json!({"iss": "tenant", "iat": NOW.secs(), "exp": NOW.secs() + 180,
        "qsh": qsh::hash(request.method, request.path, request.query, "")})
}

fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn claims_without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// The tokens of sentry.md §1.4.
#[test]
fn recorded_tokens() {
    let valid = format!("{HEADER}.{VALID}.{VALID_SIGNATURE}");
    let accepted = check(&valid).unwrap();
    assert_eq!(accepted.issuer, "testserver.jira:123");
    assert_eq!(accepted.subject.as_deref(), Some("connect:123"));
    assert_eq!(accepted.expires.secs(), 9_999_999_999);
    assert_eq!(
        check(&format!("{HEADER}.{VALID}.{WRONG_SIGNATURE}")),
        Err(JwtError::Signature)
    );
    let unknown = format!("{HEADER}.{UNKNOWN_ISSUER}");
    assert_eq!(peek_issuer(&unknown).unwrap(), "testserver.jira:unknown");
    assert_eq!(check(&unknown).unwrap().issuer, "testserver.jira:unknown");
    assert_eq!(
        check(&format!("{HEADER}.{EXPIRED}")),
        Err(JwtError::Expired)
    );
    assert_eq!(
        check(&format!("{NONE_HEADER}.{VALID}.")),
        Err(JwtError::Algorithm)
    );
    let elsewhere = verify(&valid, &shared(), &jira_request("wrong=query_params"), NOW);
    assert_eq!(elsewhere, Err(JwtError::QueryHash));
    assert_eq!(token_of(None, None), Err(JwtError::Missing));
}

#[test]
fn the_token_in_its_own_query_does_not_change_the_hash() {
    let valid = format!("{HEADER}.{VALID}.{VALID_SIGNATURE}");
    let query = format!("{QUERY}&jwt={valid}");
    let token = token_of(None, Some(&query)).unwrap();
    assert!(verify(&token, &shared(), &jira_request(&query), NOW).is_ok());
}

#[test]
fn where_a_token_may_be() {
    assert_eq!(token_of(Some("JWT abc"), Some("a=1")).unwrap(), "abc");
    assert_eq!(token_of(Some("Bearer abc"), None).unwrap(), "abc");
    assert_eq!(token_of(Some("JWTabc"), None), Err(JwtError::Missing));
    assert_eq!(token_of(Some("JWT "), None), Err(JwtError::Missing));
    assert_eq!(token_of(Some("Basic abc"), Some("jwt=x")).unwrap(), "x");
    assert_eq!(token_of(None, Some("jwt=")), Err(JwtError::Missing));
    assert_eq!(
        token_of(Some("JWT abc"), Some("jwt=abc")),
        Err(JwtError::Ambiguous)
    );
    assert_eq!(
        token_of(None, Some("jwt=a&x=1&jwt=b")),
        Err(JwtError::Ambiguous)
    );
}

#[test]
fn kid_and_other_algorithms_are_refused_even_when_rightly_signed() {
    for (header, expected) in [
        (json!({"alg": "HS256", "kid": "a"}), JwtError::KeyId),
        (json!({"alg": "HS256", "kid": null}), JwtError::KeyId),
        (json!({"alg": "RS256", "kid": "a"}), JwtError::KeyId),
        (json!({"alg": "RS256"}), JwtError::Algorithm),
        (json!({"alg": "HS512"}), JwtError::Algorithm),
        (json!({"alg": "hs256"}), JwtError::Algorithm),
        (json!({"alg": "none"}), JwtError::Algorithm),
        (json!({"typ": "JWT"}), JwtError::Algorithm),
        (
            json!({"alg": "HS256", "crit": ["b64"]}),
            JwtError::Malformed,
        ),
        (json!(["HS256"]), JwtError::Malformed),
        (json!({"alg": 5}), JwtError::Malformed),
    ] {
        let token = forge(&header, &claims());
        assert_eq!(check(&token), Err(expected), "{header}");
        assert_eq!(peek_issuer(&token), Err(expected), "{header}");
    }
    assert!(check(&forge(&hs256(), &claims())).is_ok());
}

#[test]
fn iss_exp_and_qsh_are_required() {
    for name in ["iss", "exp", "qsh"] {
        assert_eq!(
            check(&forge(&hs256(), &claims_without(name))),
            Err(JwtError::MissingClaim(name))
        );
        assert_eq!(
            check(&forge(&hs256(), &claims_with(name, Value::Null))),
            Err(JwtError::MissingClaim(name))
        );
    }
    assert_eq!(
        check(&forge(&hs256(), &claims_with("iss", json!("")))),
        Err(JwtError::MissingClaim("iss"))
    );
    assert_eq!(
        peek_issuer(&forge(&hs256(), &claims_without("iss"))),
        Err(JwtError::MissingClaim("iss"))
    );
    assert_eq!(
        check(&forge(&hs256(), &claims_with("exp", json!("soon")))),
        Err(JwtError::Malformed)
    );
    assert_eq!(
        check(&forge(&hs256(), &json!(["tenant"]))),
        Err(JwtError::Malformed)
    );
    assert_eq!(
        check(&forge(&hs256(), &claims_with("qsh", json!("context-qsh")))),
        Err(JwtError::QueryHash)
    );
}

#[test]
fn an_audience_in_any_shape_is_ignored() {
    for audience in [json!("tenant"), json!(["a", "b"]), json!({"x": 1})] {
        assert!(check(&forge(&hs256(), &claims_with("aud", audience))).is_ok());
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let with = |name: &str, offset: i64| {
        check(&forge(
            &hs256(),
            &claims_with(name, json!(NOW.secs() + offset)),
        ))
    };
    assert!(with("exp", -59).is_ok());
    assert_eq!(with("exp", -60), Err(JwtError::Expired));
    assert!(with("iat", 60).is_ok());
    assert_eq!(with("iat", 61), Err(JwtError::NotYetValid));
    assert_eq!(with("nbf", 61), Err(JwtError::NotYetValid));
    assert!(check(&forge(&hs256(), &claims_with("exp", json!(u64::MAX)))).is_ok());
    assert!(check(&forge(&hs256(), &claims_with("exp", json!(1e300)))).is_ok());
    assert_eq!(
        check(&forge(&hs256(), &claims_with("exp", json!(-1e300)))),
        Err(JwtError::Expired)
    );
}

#[test]
fn an_empty_secret_neither_signs_nor_verifies() {
    let empty = Secret::from("");
    let url = Url::parse("https://api.example.test/2.0/x").unwrap();
    assert_eq!(
        sign("app", "tenant", &empty, "GET", &url, NOW),
        Err(JwtError::Signing)
    );
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(hs256().to_string()),
        URL_SAFE_NO_PAD.encode("{}")
    );
    let token = format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(hmac_sha256(b"", signed.as_bytes()))
    );
    assert_eq!(
        verify(&token, &empty, &jira_request(QUERY), NOW),
        Err(JwtError::Signature)
    );
}

#[test]
fn texts_that_are_no_tokens() {
    for text in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        &"x".repeat(20_000),
    ] {
        assert_eq!(check(text), Err(JwtError::Malformed), "{text:.20}");
        assert_eq!(peek_issuer(text), Err(JwtError::Malformed), "{text:.20}");
    }
}

#[test]
fn our_tokens_carry_what_bitbucket_asks_for() {
    let url = Url::parse("https://api.example.test/2.0/workspaces/%7Bx%7D/hooks").unwrap();
    let token = sign("app.bitbucket", "connection:1", &shared(), "GET", &url, NOW).unwrap();
    let parts = split(&token).unwrap();
    let claims: Value = serde_json::from_slice(&decode(parts.claims).unwrap()).unwrap();
    let qsh = qsh::hash("GET", "/2.0/workspaces/%7Bx%7D/hooks", None, "");
    let expected = json!({"iss": "app.bitbucket", "sub": "connection:1", "qsh": qsh,
        "iat": NOW.secs(), "exp": NOW.secs() + 300});
    assert_eq!(claims, expected);
}

#[test]
fn no_error_prints_the_token() {
    let token = format!("{HEADER}.{VALID}.{WRONG_SIGNATURE}");
    let error = check(&token).unwrap_err();
    assert!(!format!("{error} {error:?} {}", error.code()).contains("eyJ"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_we_sign_we_verify(
        method in "[a-zA-Z]{1,7}",
        segments in prop::collection::vec(".{0,8}", 0..4),
        pairs in prop::collection::vec((".{0,6}", ".{0,6}"), 0..6),
        age in 0_u64..300,
    ) {
        let mut url = Url::parse("https://api.example.test/").unwrap();
        url.path_segments_mut().unwrap().extend(segments);
        url.query_pairs_mut().extend_pairs(pairs);
        let token = sign("app", "tenant", &shared(), &method, &url, NOW).unwrap();
        let request = Request { method: &method, path: url.path(), query: url.query(), base_path: "" };
        let found = verify(&token, &shared(), &request, NOW.plus(Duration::from_secs(age))).unwrap();
        prop_assert_eq!(found.issuer, "app");
        prop_assert_eq!(found.subject.as_deref(), Some("tenant"));
        prop_assert_eq!(verify(&token, &"other".into(), &request, NOW), Err(JwtError::Signature));
    }

    #[test]
    fn raw_queries_verify_as_sent(query in "[ -~é]{0,40}") {
        let Ok(url) = Url::parse(&format!("https://api.example.test/x?{query}")) else { return Ok(()) };
        let token = sign("app", "tenant", &shared(), "GET", &url, NOW).unwrap();
        let request = Request { method: "GET", path: url.path(), query: url.query(), base_path: "" };
        prop_assert!(verify(&token, &shared(), &request, NOW).is_ok());
    }

    #[test]
    fn no_text_panics(text in "\\PC*", header in ".{0,40}", claims in ".{0,80}") {
        let encoded = format!("{}.{}.x", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
        for token in [text, encoded] {
            prop_assert!(check(&token).is_err());
            let _ = peek_issuer(&token);
            let _ = token_of(Some(&token), Some(&token));
        }
    }

    #[test]
    fn no_signed_claims_panic(claims in "\\{\"(iss|exp|iat|qsh|nbf)\":[-0-9a-z.\"]{0,25}\\}") {
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(&claims));
        let tag = hmac_sha256(shared().expose_bytes(), signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        prop_assert!(check(&token).is_err());
    }
}
