#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn own() -> OwnHost {
    OwnHost::new(&Url::parse("https://sentry.example.com").unwrap()).unwrap()
}

/// Candidates as text, short ids first; URLs as `#id`.
fn found(message: &str) -> Vec<String> {
    references(message, Some(&own()))
        .into_iter()
        .map(|reference| match reference {
            Reference::ShortId(id) => id,
            Reference::GroupId(id) => format!("#{id}"),
        })
        .collect()
}

#[test]
fn table_of_the_grammar() {
    let table: &[(&str, &[&str])] = &[
        ("Fixes FOO-1", &["FOO-1"]),
        ("fixes: foo-1", &["FOO-1"]),
        ("FIXES\nFOO-1", &["FOO-1"]),
        ("Fixes:FOO-1", &[]),
        ("fixing FOO-1", &[]),
        ("Prefix FOO-1", &[]),
        ("Refs FOO-1", &[]),
        ("Fixes #12", &[]),
        ("Fixes (FOO-1)", &[]),
        ("Resolve FOO - 1", &[]),
        ("Fixes FOO-", &[]),
        ("Fix FOO-1, BAR-2 and BAZ-3", &["FOO-1", "BAR-2", "BAZ-3"]),
        ("Fixes FOO-1. Also BAR-2", &["FOO-1"]),
        ("Fixes FOO-1/BAR-2", &["FOO-1"]),
        ("Fixed FOO-1 & BAR-2", &["FOO-1"]),
        // Our difference: the run ends at a blank line.
        ("Fixes FOO-1\n\nSee BAR-2 later", &["FOO-1"]),
        ("Fixes FOO-1\r\n \t\r\nSee BAR-2 later", &["FOO-1"]),
        ("Fixes FOO-1\n\nSigned-off-by: X", &["FOO-1"]),
        // Without a blank line it crosses the end of the line, as Sentry's does.
        ("Fixes FOO-1\nSigned-off-by: X", &["FOO-1", "SIGNED-OFF-BY"]),
        ("Fixes [FOO-1](https://h/issues/9/)", &["FOO-1"]),
        ("Fix: bug in x\nResolves FOO-2", &["FOO-2"]),
        ("fixes FOO-1-2", &["FOO-1-2"]),
        (
            "Fixes https://sentry.example.com/organizations/o/issues/42/events/1/",
            &["#42"],
        ),
    ];
    for (message, expected) in table {
        assert_eq!(found(message), *expected, "{message:?}");
    }
}

#[test]
fn every_keyword_counts_and_only_as_a_whole_word() {
    for keyword in [
        "Fix", "Fixes", "Fixed", "Close", "Closes", "Closed", "Resolve", "Resolves", "Resolved",
    ] {
        for form in [
            keyword.to_owned(),
            keyword.to_lowercase(),
            keyword.to_uppercase(),
            format!("{keyword}:"),
        ] {
            assert_eq!(found(&format!("({form} FOO-1)")), ["FOO-1"], "{form}");
        }
        for form in [
            format!("x{keyword}"),
            format!("é{keyword}"),
            format!("_{keyword}"),
            format!("{keyword}x"),
            format!("{keyword}::"),
        ] {
            assert!(found(&format!("{form} FOO-1")).is_empty(), "{form}");
        }
    }
    assert_eq!(found("pre-fix FOO-1"), ["FOO-1"]);
}

#[test]
fn details_of_runs_and_tokens() {
    let table: &[(&str, &[&str])] = &[
        ("", &[]),
        ("FOO-1", &[]),
        ("Fixes FOO-1\n\nFixes BAR-2", &["FOO-1", "BAR-2"]),
        ("Fixes FOO-1. Closes BAR-2", &["FOO-1", "BAR-2"]),
        ("Fixes FOO-1, FOO-1 and foo-1", &["FOO-1"]),
        ("Fixes FOO-1é", &[]),
        ("Fixes FOO-1 BAR-2é", &["FOO-1"]),
        ("Fixes --FOO-1--", &["FOO-1"]),
        ("Fixes FOO--1", &["FOO--1"]),
        ("Fixes FOO-1_2", &[]),
        ("Fixes A-1-2_3", &["A-1"]),
        ("Fixes my_app-1F", &["MY_APP-1F"]),
        ("Fixes -1", &[]),
        ("Fixes FOO\u{a0}BAR-2", &["BAR-2"]),
        ("Fixes", &[]),
        ("Fixes:", &[]),
        ("Fixes [FOO-1](x) and [BAR-2](y)", &["FOO-1", "BAR-2"]),
        ("Fixes [[FOO-1](x)", &[]),
        ("[Fixes](x) FOO-1", &["FOO-1"]),
        ("Fixes [FOO-1](x", &[]),
        ("[]() Fixes FOO-1 [a]", &["FOO-1"]),
    ];
    for (message, expected) in table {
        assert_eq!(found(message), *expected, "{message:?}");
    }
}

#[test]
fn urls_count_only_on_our_own_host() {
    for (url, expected) in [
        ("https://sentry.example.com/issues/42", Some(42)),
        ("http://SENTRY.example.com/issues/42/", Some(42)),
        (
            "https://acme.sentry.example.com/issues/42/?query=1",
            Some(42),
        ),
        ("https://sentry.example.com:443/issues/42/", Some(42)),
        ("https://sentry.example.com/issues/x/issues/42).", Some(42)),
        (
            "https://sentry.example.com/issues/9223372036854775807/",
            Some(i64::MAX),
        ),
        (
            "https://sentry.example.com/issues/9223372036854775808/",
            None,
        ),
        ("https://sentry.example.com/issues/", None),
        ("https://sentry.example.com/?next=/issues/42/", None),
        ("https://sentry.example.com:8443/issues/42/", None),
        ("https://notsentry.example.com/issues/42/", None),
        ("https://sentry.example.com.evil.test/issues/42/", None),
        ("https://sentry.example.com@evil.test/issues/42/", None),
        ("https://user@sentry.example.com/issues/42/", None),
        ("https://github.com/issues/42/", None),
        ("ftp://sentry.example.com/issues/42/", None),
        ("sentry.example.com/issues/42/", None),
    ] {
        let expected: Vec<String> = expected
            .map(|id: i64| format!("#{id}"))
            .into_iter()
            .collect();
        assert_eq!(found(&format!("Closes: {url}")), expected, "{url}");
        assert!(found(url).is_empty(), "{url} without a keyword");
    }
    assert_eq!(
        found("Fix the login, closes https://sentry.example.com/issues/7/ FOO-1"),
        ["#7"]
    );
    assert_eq!(
        found("Fixes FOO-1 and fixes https://sentry.example.com/issues/7/"),
        ["FOO-1", "#7"]
    );
}

#[test]
fn the_port_of_the_public_url_belongs_to_the_host() {
    let own = OwnHost::new(&Url::parse("http://127.0.0.1:8000/").unwrap()).unwrap();
    let count = |text: &str| references(text, Some(&own)).len();
    assert_eq!(count("Fixes http://127.0.0.1:8000/issues/1/"), 1);
    assert_eq!(count("Fixes http://127.0.0.1/issues/1/"), 0);
    assert_eq!(count("Fixes http://127.0.0.2:8000/issues/1/"), 0);
    assert!(references("Fixes http://127.0.0.1:8000/issues/1/", None).is_empty());
}

#[test]
fn table_of_statements() {
    let known = |reference: &Reference| {
        matches!(reference, Reference::ShortId(id) if id == "FOO-1" || id == "FOO-2")
            || *reference == Reference::GroupId(5)
    };
    let lines = |message: &'static str| -> Vec<&str> {
        statements(message, Some(&own()), known)
            .into_iter()
            .map(|statement| statement.line)
            .collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(lines(""), none);
    assert_eq!(lines("FOO-1"), none);
    assert_eq!(lines("Fixes FOO-1"), ["Fixes FOO-1"]);
    assert_eq!(
        lines("Fixes [FOO-1](https://h/issues/1/)"),
        ["Fixes [FOO-1](https://h/issues/1/)"]
    );
    assert_eq!(
        lines("Well. This fixes FOO-1, at last!"),
        ["Well. This fixes FOO-1, at last!"]
    );
    assert_eq!(lines("Fixes FOO-1, FOO-2"), ["Fixes FOO-1, FOO-2"]);
    assert_eq!(
        statements("Fixes FOO-1, FOO-2", None, known)
            .first()
            .map(|s| s.references.len()),
        Some(2)
    );
    assert_eq!(lines("First\nFixes FOO-1\nLast"), ["Fixes FOO-1"]);
    assert_eq!(
        lines("See [the docs](https://h/)\nFixes FOO-1"),
        ["Fixes FOO-1"]
    );
    for keyword in [
        "Fix", "Fixes", "Fixed", "Close", "Closes", "Closed", "Resolves",
    ] {
        assert_eq!(
            statements(&format!("{keyword} FOO-1"), None, known).len(),
            1,
            "{keyword}"
        );
    }
    assert_eq!(lines("Fixes: FOO-1"), ["Fixes: FOO-1"]);
    assert_eq!(lines("Fixes FOO-9"), none);
    assert_eq!(lines("Fixes OTHER-1"), none);
    assert_eq!(
        lines("Fixes https://sentry.example.com/issues/5/"),
        ["Fixes https://sentry.example.com/issues/5/"]
    );
    assert_eq!(lines("Fixes https://github.com/issues/5/"), none);
    assert_eq!(
        lines("Fixes FOO-1\nFixes FOO-2"),
        ["Fixes FOO-1", "Fixes FOO-2"]
    );
}

#[test]
fn the_skip_marker_is_exact() {
    assert!(is_skipped("Fixes FOO-1 #skipsentry"));
    assert!(is_skipped("x#skipsentryx"));
    assert!(!is_skipped("Fixes FOO-1 #SkipSentry"));
    assert!(!is_skipped("skipsentry"));
}

#[test]
fn hostile_megabytes_cost_linear_time() {
    let size = 1 << 20;
    for unit in [
        "Fixes a-1 ",
        "[",
        "[a](",
        "[a]",
        "[](",
        "](",
        "fix ",
        "fix: ",
        "-",
        "a-",
        "_-",
        "a",
        " ",
        "\n",
        "Fixes https://",
        "é",
        "Fixes http://sentry.example.com/issues/",
    ] {
        let message = unit.repeat(size / unit.len());
        let start = Instant::now();
        let found = references(&message, Some(&own()));
        let spent = start.elapsed();
        assert!(found.len() <= MAX_REFERENCES);
        assert!(spent < Duration::from_secs(10), "{unit:?} took {spent:?}");
    }
    let many: String = (0..1000).map(|n| format!("A-{n} ")).collect();
    assert_eq!(
        references(&format!("Fixes {many}"), None).len(),
        MAX_REFERENCES
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_gives_an_answer(text in "\\PC*", noise in "(fix(es)?:? |[a-z]{1,3}-[0-9]|[\\[\\]()\\n,é_-]|https://sentry.example.com/issues/[0-9]{1,3} ){0,40}") {
        let _ = statements(&text, Some(&own()), |_| true);
        for reference in references(&noise, Some(&own())) {
            if let Reference::ShortId(id) = reference {
                prop_assert!(id.contains('-') && !id.starts_with('-') && !id.ends_with('-'), "{}", id);
            }
        }
    }

    #[test]
    fn a_plain_statement_is_always_found(before in "[a-z .\\n]{0,20}", slug in "[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?", code in "[0-9A-Z]{1,4}", after in "(\\.|\n\n|\\))[a-z -]{0,20}") {
        let id = format!("{slug}-{code}").to_uppercase();
        let found = references(&format!("{before} .Fixes {id}{after}"), None);
        prop_assert!(found.contains(&Reference::ShortId(id)));
    }
}
