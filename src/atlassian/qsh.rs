//! The canonical form of a request and its hash, the claim `qsh` (bitbucket.md §1.7).
//!
//! A token is good for one method, path and query only. Both sides write the request down in the
//! same way and compare SHA-256 of the text, so every rule here has to match the other side to the
//! byte: `METHOD & path & sorted parameters`.

use std::borrow::Cow;
use std::cmp::Ordering;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::form_urlencoded;

use crate::kit::crypto::{constant_time_eq, sha256};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The one parameter that is left out: it carries the token itself.
const TOKEN_PARAMETER: &str = "jwt";

/// The text that is hashed. `path` is percent-encoded as on the wire, `base_path` the path part of
/// the app's public URL (empty for calls that we make), `query` the raw query without `?`.
pub fn canonical_request(method: &str, path: &str, query: Option<&str>, base_path: &str) -> String {
    let mut text =
        String::with_capacity(method.len() + path.len() + query.map_or(0, str::len) + 16);
    text.extend(method.chars().map(|letter| letter.to_ascii_uppercase()));
    text.push('&');
    push_path(&mut text, path, base_path);
    text.push('&');
    push_query(&mut text, query.unwrap_or_default());
    text
}

/// The hash of [`canonical_request`]: 64 lower-case hex characters.
pub fn hash(method: &str, path: &str, query: Option<&str>, base_path: &str) -> String {
    hex::encode(sha256(
        canonical_request(method, path, query, base_path).as_bytes(),
    ))
}

/// Whether `claimed` is the hash of this inbound request. Senders hash the path as it is on the
/// wire; some libraries hash it after decoding it once, so that form is accepted as well.
pub fn matches(
    claimed: &str,
    method: &str,
    path: &str,
    query: Option<&str>,
    base_path: &str,
) -> bool {
    let equals = |path: &str| {
        constant_time_eq(
            claimed.as_bytes(),
            hash(method, path, query, base_path).as_bytes(),
        )
    };
    if equals(path) {
        return true;
    }
    match percent_decode_str(path).decode_utf8() {
        Ok(Cow::Owned(decoded)) => equals(&decoded),
        Ok(Cow::Borrowed(_)) | Err(_) => false,
    }
}

/// The path stays as it is on the wire. (Node's reference library also escapes a raw `'`, `^` or `|`;
/// our own paths never hold those raw, see the path table of the client.)
///
/// The base path goes once, as a plain prefix like in the reference library; exactly one trailing
/// slash goes; a bare `&` must not look like a separator.
fn push_path(text: &mut String, path: &str, base_path: &str) {
    let base_path = base_path.strip_suffix('/').unwrap_or(base_path);
    let path = path.strip_prefix(base_path).unwrap_or(path);
    if !path.starts_with('/') {
        text.push('/');
    }
    let path = if path.len() > 1 {
        path.strip_suffix('/').unwrap_or(path)
    } else {
        path
    };
    let mut pieces = path.split('&');
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        text.push_str("%26");
        text.push_str(piece);
    }
}

/// Parameters sorted by decoded name; the values of a repeated name sorted and joined by a comma.
fn push_query(text: &mut String, query: &str) {
    let mut parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name != TOKEN_PARAMETER)
            .collect();
    parameters.sort_by(|(a, x), (b, y)| by_code_units(a, b).then_with(|| by_code_units(x, y)));
    let mut previous: Option<&str> = None;
    for (name, value) in &parameters {
        if previous == Some(name) {
            text.push(',');
        } else {
            if previous.is_some() {
                text.push('&');
            }
            text.extend(utf8_percent_encode(name, RESERVED));
            text.push('=');
        }
        text.extend(utf8_percent_encode(value, RESERVED));
        previous = Some(name);
    }
}

/// The order of JavaScript and Java strings, which differs from UTF-8 above U+FFFF.
fn by_code_units(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() {
        left.cmp(right)
    } else {
        left.encode_utf16().cmp(right.encode_utf16())
    }
}

#[cfg(test)]
#[path = "qsh_tests.rs"]
mod tests;
