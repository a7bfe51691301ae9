//! Any text as a request line and a token: canonical request, qsh, and reading a JWT.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::atlassian::jwt::{self, Request};
use tracebucket::atlassian::qsh;
use tracebucket::kit::clock::Micros;
use tracebucket::kit::crypto::Secret;
use url::Url;

fuzz_target!(|input: (&str, &str, &str, &str, &str)| {
    let (method, path, query, base_path, token) = input;
    let query = Some(query);
    let text = qsh::canonical_request(method, path, query, base_path);
    assert!(text.matches('&').count() >= 2);
    // Each byte of input is escaped once at most, to three; lower-case letters may grow when made capital.
    let given = method.len() + path.len() + query.map_or(0, str::len);
    assert!(text.len() <= 9 * given + 16, "{} of {given}", text.len());
    let hash = qsh::hash(method, path, query, base_path);
    assert_eq!(hash.len(), 64);
    assert!(qsh::matches(&hash, method, path, query, base_path));

    let secret = Secret::new("a secret that nobody who sends this knows".to_owned());
    let now = Micros::from_unix_seconds(1_795_000_000);
    let request = Request {
        method,
        path,
        query,
        base_path,
    };
    let _ = jwt::token_of(Some(token), query);
    let _ = jwt::peek_issuer(token);
    assert!(jwt::verify(token, &secret, &request, now).is_err());

    // What we sign, we accept, for that request and no other method.
    let Ok(mut url) = Url::parse("https://api.bitbucket.org/") else {
        return;
    };
    url.set_path(path);
    url.set_query(query);
    let Ok(signed) = jwt::sign("app", "client", &secret, method, &url, now) else {
        return;
    };
    let own = Request {
        method,
        path: url.path(),
        query: url.query(),
        base_path: "",
    };
    assert!(jwt::verify(&signed, &secret, &own, now).is_ok());
    let other = Request {
        method: "OTHER",
        ..own
    };
    if !method.eq_ignore_ascii_case("other") {
        assert!(jwt::verify(&signed, &secret, &other, now).is_err());
    }
});
