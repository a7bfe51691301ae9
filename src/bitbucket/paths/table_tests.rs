//! Every row against the published documents.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Published {
    scopes: BTreeSet<String>,
    granular: BTreeSet<String>,
    query: BTreeSet<String>,
    integers: BTreeSet<String>,
    deprecated: bool,
}

type Document = BTreeMap<(String, String), Published>;

/// Operations of the documents without a row of their own, with the reason.
const EXCEPTIONS: &[(Surface, &str, &str, &str)] = &[(
    Surface::DataCenter,
    "GET",
    "/api/latest/projects/{projectKey}/repos/{repositorySlug}/compare/diff{path}",
    "the path there starts with a slash or is empty, which takes two rows",
)];

/// Rows that stand for one of [`EXCEPTIONS`].
const SPLIT: &[&str] = &["dc_compare_diff.get", "dc_compare_file_diff.get"];

fn document(surface: Surface) -> Document {
    let text = match surface {
        Surface::Cloud => include_str!("../../../tests/fixtures/bitbucket-api.json"),
        Surface::DataCenter => include_str!("../../../tests/fixtures/datacenter-api.json"),
    };
    let paths: BTreeMap<String, BTreeMap<String, Published>> = serde_json::from_str(text).unwrap();
    paths
        .into_iter()
        .flat_map(|(path, methods)| {
            methods
                .into_iter()
                .map(move |(method, published)| ((method, path.clone()), published))
        })
        .collect()
}

fn published_path(operation: Operation) -> &'static str {
    let template = operation.resource().template();
    match operation.resource().surface() {
        Surface::Cloud => template,
        Surface::DataCenter => template.strip_prefix("/rest").unwrap(),
    }
}

fn key(operation: Operation) -> (String, String) {
    (
        operation.method().to_string(),
        published_path(operation).to_owned(),
    )
}

fn operations(surface: Surface) -> impl Iterator<Item = Operation> {
    Operation::all().filter(move |operation| operation.resource().surface() == surface)
}

fn owned<'a>(items: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    items.map(str::to_owned).collect()
}

#[test]
fn every_published_operation_has_a_row_or_a_reason() {
    for (surface, count) in [(Surface::Cloud, 338), (Surface::DataCenter, 143)] {
        let rows: HashSet<_> = operations(surface).map(key).collect();
        let document = document(surface);
        assert_eq!(document.len(), count);
        for (method, path) in document.keys() {
            let excepted = EXCEPTIONS
                .iter()
                .any(|(of, m, p, _)| *of == surface && m == method && p == path);
            let has_row = rows.contains(&(method.clone(), path.clone()));
            assert!(has_row != excepted, "{method} {path}");
        }
        for (of, method, path, _) in EXCEPTIONS {
            let known = document.contains_key(&((*method).to_owned(), (*path).to_owned()));
            assert!(*of != surface || known, "{method} {path}");
        }
    }
}

#[test]
fn every_row_is_published_or_says_where_it_comes_from() {
    for surface in [Surface::Cloud, Surface::DataCenter] {
        let document = document(surface);
        for operation in operations(surface) {
            let name = operation.name();
            let Some(published) = document.get(&key(operation)) else {
                assert!(
                    operation.service_only().is_some() || SPLIT.contains(&name),
                    "{name}"
                );
                continue;
            };
            assert_eq!(operation.service_only(), None, "{name}");
            assert_eq!(owned(operation.scopes()), published.scopes, "{name}");
            let granular: BTreeSet<_> = operation.granular_scopes().collect();
            assert_eq!(granular, published.granular, "{name}");
            assert_eq!(owned(operation.query()), published.query, "{name}");
            let numbers: BTreeSet<_> = operation
                .resource()
                .placeholders()
                .filter(|(_, rule)| *rule == Rule::Number)
                .map(|(name, _)| name.to_owned())
                .collect();
            assert!(numbers.is_superset(&published.integers), "{name}");
            let marked = matches!(
                operation.deprecation(),
                Some(Deprecation::Deprecated { .. } | Deprecation::Removed { .. })
            );
            assert_eq!(marked, published.deprecated, "{name}");
        }
    }
}

#[test]
fn what_only_the_service_has() {
    let found: BTreeMap<_, _> = Operation::all()
        .filter_map(|operation| Some((operation.name(), operation.service_only()?)))
        .collect();
    let expected = BTreeMap::from([
        ("source.head", "bitbucket.md §3.4"),
        ("dc_commit_diff.get", "bitbucket.md §7"),
        ("dc_pull_request_diff.get", "bitbucket.md §7"),
        ("dc_code_search.run", "bitbucket.md §7"),
    ]);
    assert_eq!(found, expected);
}

/// The dates of bitbucket.md §2.1 and the answers of §2.2.
#[test]
fn what_is_gone_and_since_when() {
    let gone = |name: &str| Operation::named(name).unwrap().deprecation();
    let removed = |on, status| Some(Deprecation::Removed { on, status });
    for name in [
        "workspaces.list",
        "user_repository_permissions.list",
        "user_workspace_permissions.list",
        "snippets.list",
    ] {
        assert_eq!(gone(name), removed("2026-04-14", Some(410)), "{name}");
    }
    assert_eq!(gone("all_repositories.list"), removed("2026-04-14", None));
    assert_eq!(gone("snippets.create"), None);
    let tracker: Vec<_> = Operation::all()
        .filter(|operation| operation.deprecation() == removed("2026-08-20", None))
        .collect();
    assert_eq!(tracker.len(), 33);
    let of_the_tracker = |operation: &Operation| {
        let mut scopes = operation.scopes();
        scopes.any(|scope| scope.starts_with("issue"))
    };
    assert!(tracker.iter().all(of_the_tracker));
    assert_eq!(Operation::all().filter(of_the_tracker).count(), 33);
    for name in [
        "team_code_search.list",
        "user_code_search.list",
        "workspace_code_search.list",
    ] {
        let since = Some("2026-11-01");
        assert_eq!(gone(name), Some(Deprecation::Deprecated { since }));
    }
    let on = "2027-01-31";
    assert_eq!(gone("addons.update"), Some(Deprecation::Ends { on }));
}

#[test]
fn the_table_is_well_formed() {
    let mut names = HashSet::new();
    let mut templates = HashSet::new();
    for resource in Resource::all() {
        let name = resource.name();
        assert!(names.insert(name), "{name} is there twice");
        assert!(
            templates.insert((resource.surface().root(), resource.template())),
            "{name}"
        );
        assert_eq!(
            name.starts_with("dc_"),
            resource.surface() == Surface::DataCenter
        );
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name}"
        );
        let placeholders: Vec<_> = resource.placeholders().collect();
        let distinct: HashSet<_> = placeholders.iter().map(|(name, _)| name).collect();
        assert_eq!(distinct.len(), placeholders.len(), "{name}");
        for (placeholder, rule) in &placeholders {
            let at_the_end = resource
                .template()
                .ends_with(&format!("/{{{placeholder}}}"));
            let is_path = matches!(rule, Rule::Path | Rule::Root);
            assert!(!is_path || at_the_end, "{name}: {placeholder}");
            let is_uuid = placeholder.ends_with("_uuid") && *placeholder != "pipeline_uuid";
            assert_eq!(
                *rule == Rule::Braced,
                is_uuid || *placeholder == "uid",
                "{placeholder}"
            );
        }
        for (placeholder, _) in resource.rules {
            let used = placeholders.iter().any(|(name, _)| name == placeholder);
            assert!(used, "{name} has a rule for {placeholder}");
        }
        let methods: HashSet<_> = resource.actions.iter().map(|a| &a.method).collect();
        assert_eq!(methods.len(), resource.actions.len(), "{name}");
    }
    let operations: HashSet<_> = Operation::all().map(|o| o.name()).collect();
    assert_eq!(operations.len(), Operation::all().count());
}
