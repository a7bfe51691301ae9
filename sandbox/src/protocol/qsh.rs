//! Query string hash: canonical request and its SHA-256 (bitbucket.md §1.7).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// RFC 3986: only letters, digits and `-._~` stay (rule 9).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes one path segment, key or value by RFC 3986.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// The canonical request `METHOD&path&query`.
///
/// `path` is the percent-encoded path as sent, without the context path of a base URL; `query` is
/// the raw query string without `?`. The parameter `jwt` does not count.
pub fn canonical(method: &str, path: &str, query: &str) -> String {
    format!(
        "{}&{}&{}",
        method.to_ascii_uppercase(),
        canonical_path(path),
        canonical_query(query)
    )
}

/// Lower-case hex SHA-256 of [`canonical`].
pub fn hash(method: &str, path: &str, query: &str) -> String {
    hex::encode(Sha256::digest(canonical(method, path, query)))
}

fn canonical_path(path: &str) -> String {
    let mut text = path.replace('&', "%26");
    if !text.starts_with('/') {
        text.insert(0, '/');
    }
    if text.len() > 1 && text.ends_with('/') {
        text.pop();
    }
    text
}

/// Sorted by decoded key in UTF-16 code-unit order; the values of one key sorted likewise and
/// joined by a bare comma (rules 8 and 10).
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(Vec<u16>, Vec<u16>, String, String)> =
        url::form_urlencoded::parse(query.as_bytes())
            .filter(|(key, _)| key != "jwt")
            .map(|(key, value)| {
                (
                    key.encode_utf16().collect(),
                    value.encode_utf16().collect(),
                    encode(&key),
                    encode(&value),
                )
            })
            .collect();
    pairs.sort();
    let mut text = String::new();
    let mut last: Option<&Vec<u16>> = None;
    for (units, _, key, value) in &pairs {
        if last == Some(units) {
            text.push(',');
        } else {
            if last.is_some() {
                text.push('&');
            }
            text.push_str(key);
            text.push('=');
        }
        text.push_str(value);
        last = Some(units);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// (method, path after the base, query, canonical, hash) of bitbucket.md §1.7.
    const VECTORS: &[(&str, &str, &str, &str, &str)] = &[
        (
            "GET",
            "/2.0/repositories/acme/app/commits",
            "pagelen=30&include=c&include=a%2Fb&exclude=main",
            "GET&/2.0/repositories/acme/app/commits&exclude=main&include=a%2Fb,c&pagelen=30",
            "0aa6068e62bb41c94f7a1b0c247d9282bd4bc1834dfa7aef4fd3877db165fd18",
        ),
        (
            "POST",
            "/installed",
            "",
            "POST&/installed&",
            "4a2e1de8ca74e6cafe8862d332fa3ac7a8e51e692bc6d798ea4dfedc14948bf4",
        ),
        (
            "get",
            "/",
            "",
            "GET&/&",
            "c88caad15a1c1a900b8ac08aa9686f4e8184539bea1deda36e2f649430df3239",
        ),
        (
            "GET",
            "",
            "",
            "GET&/&",
            "c88caad15a1c1a900b8ac08aa9686f4e8184539bea1deda36e2f649430df3239",
        ),
        (
            "GET",
            "/panel",
            "q=a+b*~&empty=&flag&jwt=zzz",
            "GET&/panel&empty=&flag=&q=a%20b%2A~",
            "067afc3c75de8a0f976d71dcd37d2d2bf6774abb3c62fdd41f9a045eea9fe623",
        ),
        (
            "GET",
            "/p",
            "n=O'Neil!(x)&A=1&a=2&b=x,y",
            "GET&/p&A=1&a=2&b=x%2Cy&n=O%27Neil%21%28x%29",
            "16bc1e79983a730797341b263ddf8e32f96b35626933188a5e23904b77e6ba4e",
        ),
        (
            "GET",
            "/a&b/c/",
            "x=1",
            "GET&/a%26b/c&x=1",
            "1c7a242dff07e32ca4c1685c0612718b5110276a3aa9a2f46a58d10fe007c9b3",
        ),
        (
            "GET",
            "/2.0/repositories/%7B%7D/%7Babc%7D",
            "",
            "GET&/2.0/repositories/%7B%7D/%7Babc%7D&",
            "c79f5a467abbe84ed600dbabeee169c78bf31a55dc5c7f68770a172cc700d7d7",
        ),
        (
            "GET",
            "/2.0/repositories/%7B%7D/%7Babc%7D/src/main/dir%2Ffile%20x.rs//",
            "",
            "GET&/2.0/repositories/%7B%7D/%7Babc%7D/src/main/dir%2Ffile%20x.rs/&",
            "4e72e5e8ad48f75aa5ad2aaa9aed3e5a55b17d09e6f1e21753fba9c6af7c6a32",
        ),
        (
            "GET",
            "/panel",
            "r=2&r=10&r=1",
            "GET&/panel&r=1,10,2",
            "8e888e7f11a31d824d5893535ea78199773331aaf216e91c44a389174ecf896d",
        ),
        (
            "GET",
            "/%C3%A9",
            "k=%C3%A9",
            "GET&/%C3%A9&k=%C3%A9",
            "d1b84d4a1d72dd4f969f828cdbe975cb926faf5b7e15d6ca685d36a5091b6003",
        ),
    ];

    #[test]
    fn vectors_of_the_reference() {
        for (method, path, query, text, digest) in VECTORS {
            assert_eq!(canonical(method, path, query), *text);
            assert_eq!(hash(method, path, query), *digest, "{text}");
        }
    }

    /// Vectors of sentry.md §1.4 that agree with the reference.
    #[test]
    fn vectors_of_the_lifecycle_paths() {
        assert_eq!(
            hash("POST", "/extensions/bitbucket/installed/", ""),
            "a10900716f64dc5a442995da7ca2391668aa0c2681eaa3e792a0bc4737b23d9c"
        );
        assert_eq!(
            hash(
                "GET",
                "/extensions/jira/configure/",
                "test=pass&c=3&b=2&a=1"
            ),
            "36f43b88d6a8cdf89bb8f744e2378bb0ceb6378e80ab0b513082a8b72396bccc"
        );
        assert_eq!(
            hash(
                "GET",
                "/2.0/workspaces/%7Be123f456-c789-4a10-b123-456789abcdef%7D/hooks",
                ""
            ),
            "f74497f6ade2b8e8ea91ea68af1c56313b264582ccc4032365d310b0028bb664"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The order of parameters never changes the hash.
        #[test]
        fn order_does_not_matter(pairs in proptest::collection::vec((".{0,6}", ".{0,6}"), 0..6)) {
            let build = |items: &[(String, String)]| {
                url::form_urlencoded::Serializer::new(String::new()).extend_pairs(items).finish()
            };
            let mut reversed = pairs.clone();
            reversed.reverse();
            prop_assert_eq!(
                hash("GET", "/x", &build(&pairs)),
                hash("GET", "/x", &build(&reversed))
            );
        }

        #[test]
        fn never_panics(method in ".*", path in ".*", query in ".*") {
            hash(&method, &path, &query);
        }
    }
}
