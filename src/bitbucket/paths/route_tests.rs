//! From a name and values to a path, and from a path back to both.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use proptest::prelude::*;
use url::Url;

use super::*;

/// A value that each rule takes.
fn sample(rule: Rule) -> &'static str {
    match rule {
        Rule::Segment => "feature/ä b",
        Rule::Braced => "{e123f456-c789-4a10-b123-456789abcdef}",
        Rule::Number => "42",
        Rule::Spec => "main..feature/x",
        Rule::OneOf(words) => words[0],
        Rule::Path => "src/a b/%.rs",
        Rule::Root => "",
    }
}

fn samples(operation: Operation) -> Vec<(&'static str, String)> {
    operation
        .resource()
        .placeholders()
        .map(|(name, rule)| (name, sample(rule).to_owned()))
        .collect()
}

fn there_and_back(operation: Operation, params: &[(&'static str, String)]) -> String {
    let path = operation.path(params).unwrap();
    let found = find(operation.resource().surface(), operation.method(), &path).unwrap();
    assert_eq!(found.operation, operation, "{path}");
    assert_eq!(found.params, params, "{path}");
    path
}

#[test]
fn every_operation_is_found_by_its_own_path() {
    for operation in Operation::all() {
        let path = there_and_back(operation, &samples(operation));
        assert!(!path.contains(['{', '}', ' ']), "{path}");
        assert_eq!(Operation::named(operation.name()), Ok(operation));
        assert!(path.starts_with(operation.resource().surface().root()));
    }
}

fn cloud(method: &str, path: &str) -> Result<Route, PathError> {
    find(Surface::Cloud, &method.parse().unwrap(), path)
}

fn found(method: &str, path: &str) -> (&'static str, Vec<(&'static str, String)>) {
    let route = cloud(method, path).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    (route.operation.name(), route.params)
}

fn pairs<'a>(params: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    params.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()
}

#[test]
fn words_of_the_api_go_before_values() {
    let rows = [
        (
            "GET",
            "/2.0/repositories/a/b/pullrequests/activity",
            "pull_requests_activity.list",
        ),
        (
            "GET",
            "/2.0/repositories/a/b/pullrequests/7",
            "pull_request.get",
        ),
        (
            "GET",
            "/2.0/repositories/a/b/issues/import",
            "issue_import.get",
        ),
        (
            "GET",
            "/2.0/repositories/a/b/issues/export/b-issues-7f.zip",
            "issue_export.get",
        ),
        (
            "GET",
            "/2.0/snippets/a/kypj/comments",
            "snippet_comments.list",
        ),
        ("GET", "/2.0/snippets/a/kypj/f00d", "snippet_revision.get"),
        ("GET", "/2.0/snippets/a/kypj/f00d/diff", "snippet_diff.get"),
        ("GET", "/2.0/snippets/a/kypj/watch/diff", "snippet_diff.get"),
        ("GET", "/2.0/user/workspaces", "user_workspaces.list"),
        ("GET", "/2.0/addon/linkers/client-key", "linker.get"),
        (
            "GET",
            "/2.0/addon/my-app/client-key",
            "addon_client_key.get",
        ),
        (
            "HEAD",
            "/2.0/repositories/a/b/src/main/x/y.rs",
            "source.head",
        ),
        (
            "POST",
            "/2.0/repositories/a/b/commits",
            "commits.list_by_form",
        ),
    ];
    for (method, path, name) in rows {
        assert_eq!(found(method, path).0, name, "{path}");
    }
}

#[test]
fn values_come_back_decoded() {
    let (name, params) = found(
        "GET",
        "/2.0/repositories/%7B%7D/%7bab-1%7d/refs/branches/a%2Fb%20c",
    );
    assert_eq!(name, "branch.get");
    let expected = [
        ("workspace", "{}"),
        ("repo_slug", "{ab-1}"),
        ("name", "a/b c"),
    ];
    assert_eq!(params, pairs(&expected));
    let (_, params) = found("GET", "/2.0/repositories/a/b/%73rc/main/dir%2Fa%2520/c");
    assert_eq!(params[3], ("path", "dir/a%20/c".to_owned()));
    let (_, params) = found("GET", "/2.0/repositories/a/b/src/main/");
    assert_eq!(params[3], ("path", String::new()));
}

#[test]
fn a_slash_too_many_and_an_old_version_are_forgiven() {
    assert_eq!(found("GET", "/2.0/repositories/a/b/").0, "repository.get");
    assert_eq!(
        found("GET", "/2.0/repositories/a/b/src/main/dir/").1[3].1,
        "dir"
    );
    let old = "/rest/api/1.0/projects/~jo/repos/shop/raw/src/a.rs";
    let route = find(Surface::DataCenter, &Method::GET, old).unwrap();
    assert_eq!(route.operation.name(), "dc_raw.get");
    assert_eq!(
        route.operation.path(&route.params).unwrap(),
        "/rest/api/latest/projects/~jo/repos/shop/raw/src/a.rs"
    );
    let probe = "/rest/api/1.0/application-properties";
    let route = find(Surface::DataCenter, &Method::GET, probe).unwrap();
    assert_eq!(route.operation.name(), "dc_application_properties.get");
}

#[test]
fn paths_that_the_api_does_not_have() {
    for path in [
        "",
        "/",
        "/2.0",
        "/2.0/",
        "/2.0x/user",
        "/1.0/user",
        "/2.0/user//",
        "//2.0/user",
        "/2.0//user",
        "/2.0/nothing",
        "/2.0/repositories/a/../b",
        "/2.0/repositories/a/%2e%2E",
        "/2.0/repositories/a/b/src/main",
        "/2.0/repositories/a/b/src/main/x/..%2F../y",
        "/2.0/repositories/a/b/src/main//x",
        "/2.0/repositories/a/b/pullrequests/07",
        "/2.0/repositories/a/b/hooks/no-braces",
        "/2.0/repositories/a/b/diff/a..",
        "/2.0/repositories/a%00/b",
        "/2.0/hook_events/team",
        "/rest/api/latest/repos",
    ] {
        assert_eq!(cloud("GET", path), Err(PathError::NoSuchPath), "{path}");
    }
    for path in [
        "/2.0/user?a=b",
        "/2.0/user#x",
        "/2.0/repositories/a%/b",
        "/2.0/repositories/a%f/b",
        "/2.0/repositories/a%zz/b",
        "/2.0/repositories/%ff/b",
        "/2.0/repositories/a%é/b",
    ] {
        assert_eq!(cloud("GET", path), Err(PathError::Malformed), "{path}");
    }
    assert_eq!(
        cloud("PATCH", "/2.0/repositories/a/b/hooks/"),
        Err(PathError::MethodNotAllowed {
            resource: "repository_hooks",
            allowed: "GET, POST".to_owned()
        })
    );
}

#[test]
fn a_call_that_cannot_be_made_says_why() {
    let hook = Operation::named("repository_hook.get").unwrap();
    let complete = [("workspace", "a"), ("repo_slug", "b"), ("uid", "{c}")];
    assert_eq!(
        hook.path(&complete).unwrap(),
        "/2.0/repositories/a/b/hooks/%7Bc%7D"
    );
    let error = |params: &[(&str, &str)]| hook.path(params).unwrap_err().to_string();
    assert_eq!(
        error(&complete[..2]),
        "repository_hook needs the parameter uid"
    );
    let mut more = complete.to_vec();
    more.push(("page", "2"));
    assert_eq!(error(&more), "repository_hook has no parameter \"page\"");
    more[3] = ("uid", "{c}");
    assert_eq!(error(&more), "uid must be given once");
    assert_eq!(
        error(&[("workspace", "a"), ("repo_slug", "b"), ("uid", "c")]),
        "uid must be a uuid in braces"
    );
    let snippet = Operation::named("snippet_revision.get").unwrap();
    let taken = [
        ("workspace", "a"),
        ("encoded_id", "b"),
        ("node_id", "comments"),
    ];
    assert_eq!(
        snippet.path(&taken).unwrap_err().to_string(),
        "with these values snippet_revision would be read as snippet_comments"
    );
    let export = Operation::named("issue_export.get").unwrap();
    let values = [
        ("workspace", "a"),
        ("repo_slug", "b"),
        ("repo_name", "x-issues-y"),
        ("task_id", "1"),
    ];
    assert!(matches!(
        export.path(&values),
        Err(PathError::Ambiguous { .. })
    ));
    let values = [
        ("workspace", "a"),
        ("repo_slug", "b"),
        ("repo_name", "-issues-"),
        ("task_id", "1"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    stays_in_place(export, &values, &export.path(&values).unwrap());
    assert_eq!(
        Operation::named("hooks.burn").unwrap_err().to_string(),
        "there is no API operation named \"hooks.burn\""
    );
}

#[test]
fn rules_take_what_the_service_takes() {
    let rows: &[(Rule, &[&str], &[&str])] = &[
        (
            Rule::Segment,
            &["a", "...", "a/..", "%2e", "é\u{202e}", "{}"],
            &["", ".", "..", "a\n", "\u{85}"],
        ),
        (
            Rule::Braced,
            &["{u}", "{A-1}"],
            &["", "{}", "u", "{u", "{a/b}", "{{u}}", "{ü}"],
        ),
        (
            Rule::Number,
            &["0", "18446744073709551615"],
            &["", "-1", "+1", "01", "1.0", "18446744073709551616", "١"],
        ),
        (
            Rule::Spec,
            &["main", "a..b", "v1.0..feature/x"],
            &["", "..", "a..", "..b", "a...b", "a..b..c", ".a", "a\0"],
        ),
        (
            Rule::Path,
            &["a", "a/b c", "...", ".git/x"],
            &["", "/a", "a/", "a//b", "a/../b", "./a", "a\n"],
        ),
        (Rule::Root, &["", "a/b"], &["/", "a/", ".."]),
        (Rule::OneOf(&["x"]), &["x"], &["", "X", "y"]),
    ];
    for (rule, taken, refused) in rows {
        for value in *taken {
            assert!(rule.allows(value), "{rule:?} {value:?}");
        }
        for value in *refused {
            assert!(!rule.allows(value), "{rule:?} {value:?}");
        }
    }
}

/// Any text, with what matters in paths more often than chance gives it.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "\\PC{1,6}",
        2 => any::<char>().prop_map(String::from),
        3 => prop::sample::select(vec![
            "/", "..", ".", "%", "%2F", "%2e%2e", "?", "#", ";", "\\", "{", "}", "{}", " ", "+", "&",
            ".diff", ".zip", "-issues-", "comments", "activity", "files", "diff", "import", "stats",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A value that the rule takes.
fn value(rule: Rule) -> BoxedStrategy<String> {
    let allowed = move |value: &String| rule.allows(value);
    match rule {
        Rule::Segment => text().prop_filter("a segment", allowed).boxed(),
        Rule::Braced => "\\{[0-9a-zA-Z-]{1,36}\\}".boxed(),
        Rule::Number => any::<u64>().prop_map(|number| number.to_string()).boxed(),
        Rule::Spec => prop_oneof![
            text(),
            (text(), text()).prop_map(|(from, to)| format!("{from}..{to}"))
        ]
        .prop_filter("a spec", allowed)
        .boxed(),
        Rule::OneOf(words) => prop::sample::select(words).prop_map(str::to_owned).boxed(),
        Rule::Path | Rule::Root => prop::collection::vec(text(), 0..4)
            .prop_map(|segments| segments.join("/"))
            .prop_filter("a file path", allowed)
            .boxed(),
    }
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop::sample::select(Operation::all().collect::<Vec<_>>())
}

fn call() -> impl Strategy<Value = (Operation, Vec<(&'static str, String)>)> {
    any_operation().prop_flat_map(|operation| {
        let values: Vec<_> = operation
            .resource()
            .placeholders()
            .map(|(name, rule)| value(rule).prop_map(move |value| (name, value)))
            .collect();
        (Just(operation), values)
    })
}

/// What must hold of every path that is handed out.
fn stays_in_place(operation: Operation, params: &[(&str, String)], path: &str) {
    let mut url = Url::parse("https://api.example.org").unwrap();
    url.set_path(path);
    assert_eq!(url.path(), path, "a URL parser changes it");
    assert_eq!((url.query(), url.fragment()), (None, None));
    let slashes = |text: &str| text.matches('/').count();
    let in_values: usize = operation
        .resource()
        .placeholders()
        .filter(|(_, rule)| matches!(rule, Rule::Path | Rule::Root))
        .filter_map(|(name, _)| params.iter().find(|(known, _)| *known == name))
        .map(|(_, value)| slashes(value))
        .sum();
    let root = operation.resource().surface().root();
    let template = operation.resource().template();
    assert_eq!(slashes(path), slashes(root) + slashes(template) + in_values);
    let found = find(operation.resource().surface(), operation.method(), path).unwrap();
    assert_eq!(found.operation, operation);
    assert_eq!(found.params, params);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn allowed_values_go_there_and_back((operation, params) in call()) {
        match operation.path(&params) {
            Ok(path) => stays_in_place(operation, &params, &path),
            // Only a word of the API in the place of a value may stand in the way.
            Err(PathError::Ambiguous { resource, read_as }) => prop_assert!(
                resource != read_as || resource == "issue_export",
                "{} {:?}", resource, params
            ),
            Err(error) => prop_assert!(false, "{error} {params:?}"),
        }
    }

    #[test]
    fn no_value_leaves_its_place(operation in any_operation(), values in prop::collection::vec(text(), 6)) {
        let params: Vec<_> = operation
            .resource()
            .placeholders()
            .zip(values)
            .map(|((name, _), value)| (name, value))
            .collect();
        if let Ok(path) = operation.path(&params) {
            stays_in_place(operation, &params, &path);
        }
    }

    #[test]
    fn what_is_found_can_be_rendered_again(tail in text(), more in text()) {
        for start in ["", "/2.0/", "/2.0/repositories/a/b/", "/2.0/snippets/a/"] {
            let path = format!("{start}{tail}/{more}");
            if let Ok(route) = cloud("GET", &path) {
                let again = route.operation.path(&route.params).unwrap();
                prop_assert_eq!(cloud("GET", &again).unwrap(), route);
            }
        }
    }
}
