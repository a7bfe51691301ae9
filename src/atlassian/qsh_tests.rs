//! Every vector of the references, every rule on its own, and arbitrary input.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use url::Url;

use super::*;

/// Canonical text and hash of a full URL, as the outbound side computes them.
fn of(method: &str, url: &str, base_path: &str) -> (String, String) {
    let url = Url::parse(url).unwrap();
    (
        canonical_request(method, url.path(), url.query(), base_path),
        hash(method, url.path(), url.query(), base_path),
    )
}

/// Every row of the table in bitbucket.md §1.7.
#[test]
fn reference_vectors_of_bitbucket() {
    let host = "https://api.example.test";
    let rows = [
        (
            "GET",
            "/2.0/repositories/acme/app/commits?pagelen=30&include=c&include=a%2Fb&exclude=main",
            "",
            "GET&/2.0/repositories/acme/app/commits&exclude=main&include=a%2Fb,c&pagelen=30",
            "0aa6068e62bb41c94f7a1b0c247d9282bd4bc1834dfa7aef4fd3877db165fd18",
        ),
        (
            "POST",
            "/base/installed",
            "/base",
            "POST&/installed&",
            "4a2e1de8ca74e6cafe8862d332fa3ac7a8e51e692bc6d798ea4dfedc14948bf4",
        ),
        (
            "GET",
            "/base/",
            "/base",
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
            "/panel?q=a+b*~&empty=&flag&jwt=zzz",
            "",
            "GET&/panel&empty=&flag=&q=a%20b%2A~",
            "067afc3c75de8a0f976d71dcd37d2d2bf6774abb3c62fdd41f9a045eea9fe623",
        ),
        (
            "GET",
            "/p?n=O'Neil!(x)&A=1&a=2&b=x,y",
            "",
            "GET&/p&A=1&a=2&b=x%2Cy&n=O%27Neil%21%28x%29",
            "16bc1e79983a730797341b263ddf8e32f96b35626933188a5e23904b77e6ba4e",
        ),
        (
            "GET",
            "/a&b/c/?x=1",
            "",
            "GET&/a%26b/c&x=1",
            "1c7a242dff07e32ca4c1685c0612718b5110276a3aa9a2f46a58d10fe007c9b3",
        ),
        (
            "GET",
            "/2.0/repositories/{}/{abc}",
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
            "/panel?r=2&r=10&r=1",
            "",
            "GET&/panel&r=1,10,2",
            "8e888e7f11a31d824d5893535ea78199773331aaf216e91c44a389174ecf896d",
        ),
        (
            "GET",
            "/%C3%A9?k=%C3%A9",
            "",
            "GET&/%C3%A9&k=%C3%A9",
            "d1b84d4a1d72dd4f969f828cdbe975cb926faf5b7e15d6ca685d36a5091b6003",
        ),
    ];
    for (method, path, base_path, canonical, qsh) in rows {
        let found = of(method, &format!("{host}{path}"), base_path);
        assert_eq!(found, (canonical.to_owned(), qsh.to_owned()), "{path}");
    }
}

/// The vectors of sentry.md §1.4.
#[test]
fn reference_vectors_of_sentry() {
    let rows = [
        (
            "GET",
            "/extensions/jira/configure/?a=1&b=2&c=3&test=pass",
            "36f43b88d6a8cdf89bb8f744e2378bb0ceb6378e80ab0b513082a8b72396bccc",
        ),
        (
            "POST",
            "/extensions/bitbucket/installed/",
            "a10900716f64dc5a442995da7ca2391668aa0c2681eaa3e792a0bc4737b23d9c",
        ),
        (
            "GET",
            "/2.0/workspaces/%7Be123f456-c789-4a10-b123-456789abcdef%7D/hooks",
            "f74497f6ade2b8e8ea91ea68af1c56313b264582ccc4032365d310b0028bb664",
        ),
    ];
    for (method, path, qsh) in rows {
        assert_eq!(
            of(method, &format!("https://app.example.test{path}"), "").1,
            qsh,
            "{path}"
        );
    }
}

#[test]
fn method_is_upper_cased_and_a_missing_slash_added() {
    assert_eq!(canonical_request("get", "panel", None, ""), "GET&/panel&");
    assert_eq!(canonical_request("GET", "", Some(""), ""), "GET&/&");
}

#[test]
fn base_path_is_stripped_once_and_as_plain_prefix() {
    assert_eq!(
        canonical_request("GET", "/base/base/x", None, "/base"),
        "GET&/base/x&"
    );
    assert_eq!(
        canonical_request("GET", "/base/x", None, "/base/"),
        "GET&/x&"
    );
    assert_eq!(
        canonical_request("GET", "/basement", None, "/base"),
        "GET&/ment&"
    );
    assert_eq!(canonical_request("GET", "/base", None, "/base"), "GET&/&");
    assert_eq!(
        canonical_request("GET", "/other/base", None, "/base"),
        "GET&/other/base&"
    );
    assert_eq!(canonical_request("GET", "/x", None, "/"), "GET&/x&");
}

#[test]
fn only_the_token_parameter_is_dropped() {
    assert_eq!(
        canonical_request("GET", "/x", Some("jwt=a&JWT=b&jwts=c&jwt=d"), ""),
        "GET&/x&JWT=b&jwts=c"
    );
    assert_eq!(
        canonical_request("GET", "/x", Some("jw%74=a"), ""),
        "GET&/x&"
    );
}

#[test]
fn names_sort_by_utf16_code_units() {
    // U+1F600 starts with the surrogate D83D and so comes before U+FB01.
    let query = "%EF%AC%81=1&%F0%9F%98%80=2";
    assert_eq!(
        canonical_request("GET", "/x", Some(query), ""),
        "GET&/x&%F0%9F%98%80=2&%EF%AC%81=1"
    );
}

#[test]
fn inbound_accepts_the_raw_and_the_once_decoded_path() {
    let path = "/panel/%7Babc%7D/a%252Fb";
    assert!(matches(&hash("GET", path, None, ""), "GET", path, None, ""));
    assert!(matches(
        &hash("GET", "/panel/{abc}/a%2Fb", None, ""),
        "GET",
        path,
        None,
        ""
    ));
    assert!(!matches(
        &hash("GET", "/panel/{abc}/a/b", None, ""),
        "GET",
        path,
        None,
        ""
    ));
    assert!(!matches(
        &hash("GET", path, Some("a=1"), ""),
        "GET",
        path,
        None,
        ""
    ));
    assert!(!matches(
        &hash("POST", path, None, ""),
        "GET",
        path,
        None,
        ""
    ));
    assert!(!matches("", "GET", "/%ff", None, ""));
    assert!(!matches("context-qsh", "GET", path, None, ""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_input_panics(method in ".*", path in ".*", query in ".*", base in ".*") {
        let qsh = hash(&method, &path, Some(&query), &base);
        prop_assert_eq!(qsh.len(), 64);
        prop_assert!(matches(&qsh, &method, &path, Some(&query), &base));
    }

    #[test]
    fn order_of_parameters_and_the_token_do_not_matter(
        mut pairs in prop::collection::vec(("[a-c%+ ]{0,3}", "[a-z0-9&=+%é]{0,4}"), 0..8),
        seed in any::<u64>(),
    ) {
        let encode = |pairs: &[(String, String)]| {
            form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
        };
        let before = encode(&pairs);
        if !pairs.is_empty() {
            let length = pairs.len();
            pairs.rotate_left(usize::try_from(seed % length as u64).unwrap());
            pairs.reverse();
        }
        let after = format!("jwt=x.y.z&{}", encode(&pairs));
        prop_assert_eq!(hash("GET", "/x", Some(&before), ""), hash("GET", "/x", Some(&after), ""));
    }
}
