//! The table against the published API, and the encoding of values.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde::Deserialize;
use url::Url;

use super::*;

#[derive(Deserialize)]
struct Operation {
    scopes: Vec<String>,
}

type Api = BTreeMap<String, BTreeMap<String, Operation>>;

fn api() -> Api {
    let published: Api =
        serde_json::from_str(include_str!("../../tests/fixtures/bitbucket-api.json")).unwrap();
    published
        .into_iter()
        .map(|(path, operations)| (shape(&format!("/2.0{path}")), operations))
        .collect()
}

/// The path with nameless placeholders, because names differ between us and the document.
fn shape(template: &str) -> String {
    let template = template.replace("{repo}", "{workspace}/{repo_slug}");
    template
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') && segment.ends_with('}') {
                "{}"
            } else {
                segment
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn repo() -> RepoRef {
    RepoRef::from_full_name("acme/shop").unwrap()
}

/// One path per row.
fn every_path(repo: &RepoRef) -> Vec<BitbucketApiPath<'_>> {
    use BitbucketApiPath as P;
    vec![
        P::Addons,
        P::Workspace { workspace: "acme" },
        P::WorkspaceHooks { workspace: "acme" },
        P::Repositories { workspace: "acme" },
        P::Repository { repo },
        P::RepositoryHooks { repo },
        P::RepositoryHook { repo, uid: "{u}" },
        P::Commits { repo },
        P::RepositoryCommits {
            repo,
            revision: "main",
        },
        P::Commit {
            repo,
            commit: "abc",
        },
        P::RepositoryDiff { repo, spec: "a..b" },
        P::Diffstat { repo, spec: "a..b" },
        P::Branches { repo },
        P::Branch {
            repo,
            name: "feature/x",
        },
        P::Source {
            repo,
            sha: "abc",
            path: "src/main.rs",
        },
        P::Issues { repo },
        P::Issue { repo, issue_id: 7 },
        P::IssueComments { repo, issue_id: 7 },
    ]
}

#[test]
fn every_row_is_published_with_its_methods_and_scopes() {
    let api = api();
    for row in TABLE {
        let published = api
            .get(&shape(row.template))
            .unwrap_or_else(|| panic!("{} is not published", row.template));
        assert!(!row.operations.is_empty(), "{}", row.name);
        for (method, scope) in row.operations {
            let operation = published
                .get(*method)
                .unwrap_or_else(|| panic!("{method} {} is not published", row.name));
            let expected: Vec<String> = scope.split_terminator('+').map(str::to_owned).collect();
            assert_eq!(operation.scopes, expected, "{method} {}", row.name);
        }
    }
}

#[test]
fn every_variant_has_its_own_row_and_every_row_a_variant() {
    let repo = repo();
    let names: HashSet<&str> = every_path(&repo)
        .iter()
        .map(BitbucketApiPath::name)
        .collect();
    let rows: HashSet<&str> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(names, rows);
    assert_eq!(rows.len(), TABLE.len());
    for path in every_path(&repo) {
        let rendered = path.render().unwrap();
        assert!(
            rendered.starts_with(API_PREFIX) && !rendered.contains('{'),
            "{rendered}"
        );
        let method: Method = path.row().operations[0].0.parse().unwrap();
        assert_eq!(path.scope(&method), Some(path.row().operations[0].1));
        assert_eq!(path.scope(&Method::PATCH), None);
    }
}

/// The names of sentry.md §15.1, with `addons` put right.
#[test]
fn the_names_that_integrations_know() {
    let names = [
        ("issue", "/2.0/repositories/{repo}/issues/{issue_id}"),
        ("issues", "/2.0/repositories/{repo}/issues"),
        (
            "issue_comments",
            "/2.0/repositories/{repo}/issues/{issue_id}/comments",
        ),
        ("repository", "/2.0/repositories/{repo}"),
        ("repositories", "/2.0/repositories/{workspace}"),
        (
            "repository_commits",
            "/2.0/repositories/{repo}/commits/{revision}",
        ),
        ("repository_diff", "/2.0/repositories/{repo}/diff/{spec}"),
        ("repository_hook", "/2.0/repositories/{repo}/hooks/{uid}"),
        ("repository_hooks", "/2.0/repositories/{repo}/hooks"),
        ("addons", "/2.0/addon"),
        ("source", "/2.0/repositories/{repo}/src/{sha}/{path}"),
    ];
    for (name, template) in names {
        assert!(
            TABLE
                .iter()
                .any(|row| row.name == name && row.template == template),
            "{name}"
        );
    }
}

#[test]
fn values_are_encoded_for_their_place() {
    let by_uuid =
        RepoRef::from_uuid(&BracedUuid::parse("{e123f456-c789-4a10-b123-456789abcdef}").unwrap());
    let repo = repo();
    let rows = [
        (
            BitbucketApiPath::Repository { repo: &by_uuid },
            "/2.0/repositories/%7B%7D/%7Be123f456-c789-4a10-b123-456789abcdef%7D",
        ),
        (
            BitbucketApiPath::Workspace { workspace: "{a-b}" },
            "/2.0/workspaces/%7Ba-b%7D",
        ),
        (
            BitbucketApiPath::RepositoryCommits {
                repo: &repo,
                revision: "feature/a b",
            },
            "/2.0/repositories/acme/shop/commits/feature%2Fa%20b",
        ),
        (
            BitbucketApiPath::Source {
                repo: &repo,
                sha: "release/1",
                path: "dir/a b#?%é.rs",
            },
            "/2.0/repositories/acme/shop/src/release%2F1/dir/a%20b%23%3F%25%C3%A9.rs",
        ),
        (
            BitbucketApiPath::Source {
                repo: &repo,
                sha: "abc",
                path: "",
            },
            "/2.0/repositories/acme/shop/src/abc/",
        ),
        (
            BitbucketApiPath::RepositoryDiff {
                repo: &repo,
                spec: "a..b",
            },
            "/2.0/repositories/acme/shop/diff/a..b",
        ),
        (
            BitbucketApiPath::IssueComments {
                repo: &repo,
                issue_id: 12,
            },
            "/2.0/repositories/acme/shop/issues/12/comments",
        ),
    ];
    for (path, expected) in rows {
        assert_eq!(path.render().unwrap(), expected);
    }
}

#[test]
fn values_that_would_change_the_path_are_refused() {
    let repo = repo();
    for value in ["", ".", "..", "a\nb", "a\0"] {
        assert!(
            BitbucketApiPath::Workspace { workspace: value }
                .render()
                .is_err(),
            "{value:?}"
        );
        assert!(
            BitbucketApiPath::RepositoryHook {
                repo: &repo,
                uid: value
            }
            .render()
            .is_err(),
            "{value:?}"
        );
        assert!(
            BitbucketApiPath::Source {
                repo: &repo,
                sha: value,
                path: "x"
            }
            .render()
            .is_err(),
            "{value:?}"
        );
    }
    for path in ["../x", "a/../b", "a//b", "/a", "a/", "./a", "a/\n"] {
        assert_eq!(
            BitbucketApiPath::Source {
                repo: &repo,
                sha: "abc",
                path
            }
            .render(),
            Err(PathError("file path")),
            "{path:?}"
        );
    }
    for name in [
        "",
        "acme",
        "acme/",
        "/shop",
        "acme/shop/x",
        "../x",
        "acme/..",
        "a\n/b",
    ] {
        assert!(RepoRef::from_full_name(name).is_err(), "{name:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_rendered_path_survives_the_url_parser(revision in "\\PC{1,12}", file in "\\PC{1,20}") {
        let repo = repo();
        let path = BitbucketApiPath::Source { repo: &repo, sha: &revision, path: &file };
        if let Ok(rendered) = path.render() {
            let mut url = Url::parse("https://api.example.org").unwrap();
            url.set_path(&rendered);
            prop_assert_eq!(url.path(), &rendered);
            prop_assert!(rendered.starts_with("/2.0/repositories/acme/shop/src/"));
            let segments: Vec<&str> = rendered.split('/').collect();
            let decoded = percent_encoding::percent_decode_str(segments[6]).decode_utf8().unwrap();
            prop_assert_eq!(decoded, revision.as_str());
        }
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = RepoRef::from_full_name(&text);
        let _ = BitbucketApiPath::Repositories { workspace: &text }.render();
    }
}
