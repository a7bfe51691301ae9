//! The table of Data Center operations that are served.

use futures_util::future::BoxFuture;

use super::{Dc, builds, commits, diffs, files, hooks, projects, pulls, refs};
use crate::reply::Outcome;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Public,
    /// Whoever has an HTTP access token.
    Signed,
}

pub(super) struct Route {
    pub(super) method: &'static str,
    /// `{name}` is one segment, `{*name}` the rest of the path.
    pub(super) template: &'static str,
    pub(super) access: Access,
    /// Query parameters it knows.
    pub(super) params: &'static [&'static str],
    pub(super) run: fn(Dc) -> BoxFuture<'static, Outcome>,
}

const NONE: &[&str] = &[];
const PAGED: &[&str] = &["start", "limit"];
const PROJECTS: &[&str] = &["name", "permission", "start", "limit"];
const REPOS: &[&str] = &[
    "name",
    "projectname",
    "projectkey",
    "permission",
    "state",
    "visibility",
    "start",
    "limit",
];
const COMMITS: &[&str] = &[
    "since",
    "until",
    "path",
    "merges",
    "followRenames",
    "ignoreMissing",
    "withCounts",
    "avatarSize",
    "avatarScheme",
    "start",
    "limit",
];
const COMMIT: &[&str] = &["path", "avatarSize"];
const CHANGES: &[&str] = &["since", "withComments", "start", "limit"];
const COMPARE: &[&str] = &["from", "to", "fromRepo", "start", "limit"];
const DIFF: &[&str] = &[
    "since",
    "contextLines",
    "whitespace",
    "srcPath",
    "withComments",
    "autoSrcPath",
    "filter",
];
const AT: &[&str] = &["at"];
const KEY: &[&str] = &["key"];
const FILES: &[&str] = &["at", "start", "limit"];
const BROWSE: &[&str] = &["at", "type", "blame", "noContent", "size", "start", "limit"];
const BRANCHES: &[&str] = &[
    "filterText",
    "details",
    "orderBy",
    "base",
    "boostMatches",
    "start",
    "limit",
];
const TAGS: &[&str] = &["filterText", "orderBy", "start", "limit"];
const PULLS: &[&str] = &[
    "state",
    "direction",
    "at",
    "order",
    "withAttributes",
    "withProperties",
    "filterText",
    "start",
    "limit",
];
const HOOKS: &[&str] = &["event", "statistics", "start", "limit"];
const TEST: &[&str] = &["url", "webhookId", "sslVerificationRequired"];

macro_rules! routes {
    ($($method:ident $template:literal $access:ident $params:ident => $run:path;)*) => {
        &[$(Route {
            method: stringify!($method),
            template: concat!("/rest/api/{version}/", $template),
            access: Access::$access,
            params: $params,
            run: |dc| Box::pin($run(dc)),
        }),*]
    };
}

pub(super) static ROUTES: &[Route] = routes! {
    GET "application-properties" Public NONE => projects::properties;
    GET "users/{user}" Signed NONE => projects::user;
    GET "projects" Signed PROJECTS => projects::list;
    GET "projects/{project}" Signed NONE => projects::get;
    GET "repos" Signed REPOS => projects::all_repositories;
    GET "projects/{project}/repos" Signed PAGED => projects::repositories;
    GET "projects/{project}/repos/{repo}" Signed NONE => projects::repository;

    GET "projects/{project}/repos/{repo}/commits" Signed COMMITS => commits::list;
    GET "projects/{project}/repos/{repo}/commits/{commit}" Signed COMMIT => commits::get;
    GET "projects/{project}/repos/{repo}/commits/{commit}/changes" Signed CHANGES => diffs::changes;
    GET "projects/{project}/repos/{repo}/commits/{commit}/diff" Signed DIFF => diffs::diff;
    GET "projects/{project}/repos/{repo}/commits/{commit}/diff/{*path}" Signed DIFF => diffs::diff;
    GET "projects/{project}/repos/{repo}/commits/{commit}/pull-requests" Signed PAGED => pulls::of_commit;
    GET "projects/{project}/repos/{repo}/commits/{commit}/builds" Signed KEY => builds::get;
    POST "projects/{project}/repos/{repo}/commits/{commit}/builds" Signed NONE => builds::set;
    GET "projects/{project}/repos/{repo}/compare/changes" Signed COMPARE => diffs::compare;
    GET "projects/{project}/repos/{repo}/compare/commits" Signed COMPARE => commits::compare;

    GET "projects/{project}/repos/{repo}/raw/{*path}" Signed AT => files::raw;
    GET "projects/{project}/repos/{repo}/files" Signed FILES => files::list;
    GET "projects/{project}/repos/{repo}/files/{*path}" Signed FILES => files::list;
    GET "projects/{project}/repos/{repo}/browse" Signed BROWSE => files::browse;
    GET "projects/{project}/repos/{repo}/browse/{*path}" Signed BROWSE => files::browse;

    GET "projects/{project}/repos/{repo}/branches" Signed BRANCHES => refs::branches;
    GET "projects/{project}/repos/{repo}/default-branch" Signed NONE => refs::default_branch;
    GET "projects/{project}/repos/{repo}/branches/default" Signed NONE => refs::default_branch;
    GET "projects/{project}/repos/{repo}/tags" Signed TAGS => refs::tags;
    GET "projects/{project}/repos/{repo}/tags/{name}" Signed NONE => refs::tag;
    GET "projects/{project}/repos/{repo}/pull-requests" Signed PULLS => pulls::list;
    GET "projects/{project}/repos/{repo}/pull-requests/{id}" Signed NONE => pulls::get;
    POST "projects/{project}/repos/{repo}/pull-requests/{id}/comments" Signed NONE => pulls::comment;
    GET "projects/{project}/repos/{repo}/pull-requests/{id}/comments/{comment}" Signed NONE => pulls::one_comment;

    GET "projects/{project}/repos/{repo}/webhooks" Signed HOOKS => hooks::list;
    POST "projects/{project}/repos/{repo}/webhooks" Signed NONE => hooks::create;
    POST "projects/{project}/repos/{repo}/webhooks/test" Signed TEST => hooks::test;
    GET "projects/{project}/repos/{repo}/webhooks/{id}" Signed HOOKS => hooks::get;
    PUT "projects/{project}/repos/{repo}/webhooks/{id}" Signed NONE => hooks::update;
    DELETE "projects/{project}/repos/{repo}/webhooks/{id}" Signed NONE => hooks::delete;
    GET "projects/{project}/repos/{repo}/webhooks/{id}/latest" Signed HOOKS => hooks::latest;
};
