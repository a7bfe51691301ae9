//! The typed front: its rows, and the encoding of its values.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashSet;

use proptest::prelude::*;
use url::Url;

use super::*;

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
fn every_variant_has_its_own_row() {
    let repo = repo();
    let paths = every_path(&repo);
    let names: HashSet<&str> = paths.iter().map(BitbucketApiPath::name).collect();
    assert_eq!(names.len(), paths.len());
    for path in paths {
        let rendered = path.render().unwrap();
        assert!(
            rendered.starts_with(API_PREFIX) && !rendered.contains('{'),
            "{rendered}"
        );
        let operation = path.row().operations().next().unwrap();
        assert_eq!(path.operation(operation.method()), Some(operation));
        assert_eq!(path.operation(&Method::PATCH), None);
        let found = find(Surface::Cloud, operation.method(), &rendered).unwrap();
        assert_eq!(found.operation, operation);
    }
}

/// The names of sentry.md §15.1, with `addons` put right. `{repo}` there is workspace and slug, and
/// `{sha}` is the commit.
#[test]
fn the_names_that_integrations_know() {
    let names = [
        (
            "issue",
            "/2.0/repositories/{workspace}/{repo_slug}/issues/{issue_id}",
        ),
        ("issues", "/2.0/repositories/{workspace}/{repo_slug}/issues"),
        (
            "issue_comments",
            "/2.0/repositories/{workspace}/{repo_slug}/issues/{issue_id}/comments",
        ),
        ("repository", "/2.0/repositories/{workspace}/{repo_slug}"),
        ("repositories", "/2.0/repositories/{workspace}"),
        (
            "repository_commits",
            "/2.0/repositories/{workspace}/{repo_slug}/commits/{revision}",
        ),
        (
            "repository_diff",
            "/2.0/repositories/{workspace}/{repo_slug}/diff/{spec}",
        ),
        (
            "repository_hook",
            "/2.0/repositories/{workspace}/{repo_slug}/hooks/{uid}",
        ),
        (
            "repository_hooks",
            "/2.0/repositories/{workspace}/{repo_slug}/hooks",
        ),
        ("addons", "/2.0/addon"),
        (
            "source",
            "/2.0/repositories/{workspace}/{repo_slug}/src/{commit}/{path}",
        ),
    ];
    for (name, template) in names {
        assert!(
            Resource::all().any(|row| {
                row.name() == name
                    && format!("{}{}", row.surface().root(), row.template()) == template
            }),
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
            Err(PathError::Invalid {
                parameter: "path",
                expected: Rule::Root.expected()
            }),
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
