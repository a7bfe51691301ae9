//! The table of operations that are served.

use futures_util::future::BoxFuture;

use super::{
    Cx, addon, comments, commits, diffs, hooks, issues, people, projects, pull_comments, pulls,
    refs, removed, repositories, source, statuses, workspaces,
};
use crate::reply::Outcome;

/// Who may call an operation. Scopes stand in `protocol::operations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Public,
    /// Whoever has a credential with the scopes of the operation.
    Signed,
    /// Nobody: it was taken away, though the document may still list it.
    Removed,
}

pub(super) struct Route {
    pub(super) method: &'static str,
    /// `{name}` is one segment, `{*name}` the rest of the path.
    pub(super) template: &'static str,
    pub(super) access: Access,
    /// Query parameters it knows, beside `fields`.
    pub(super) params: &'static [&'static str],
    pub(super) run: fn(Cx) -> BoxFuture<'static, Outcome>,
}

const NONE: &[&str] = &[];
const PAGED: &[&str] = &["page", "pagelen"];
const LIST: &[&str] = &["q", "sort", "page", "pagelen"];
const ADMINISTERED: &[&str] = &["administrator", "q", "sort", "page", "pagelen"];
const REPOS: &[&str] = &["role", "q", "sort", "page", "pagelen"];
const COMMITS: &[&str] = &["include", "exclude", "path", "page", "pagelen"];
const DIFF: &[&str] = &[
    "context",
    "path",
    "ignore_whitespace",
    "binary",
    "renames",
    "merge",
    "topic",
];
const DIFFSTAT: &[&str] = &[
    "ignore_whitespace",
    "merge",
    "path",
    "renames",
    "topic",
    "page",
    "pagelen",
];
const SOURCE: &[&str] = &["format", "q", "sort", "max_depth", "page", "pagelen"];
const HISTORY: &[&str] = &["renames", "q", "sort", "page", "pagelen"];
const PULLS: &[&str] = &["state", "q", "sort", "page", "pagelen"];
const MERGE: &[&str] = &["async"];
const STATUSES: &[&str] = &["refname", "q", "sort", "page", "pagelen"];
pub(super) const NEW_SOURCE: &[&str] = &["message", "author", "parents", "files", "branch"];

macro_rules! routes {
    ($($method:ident $template:literal $access:expr, $params:expr => $run:path;)*) => {
        &[$(Route {
            method: stringify!($method),
            template: $template,
            access: $access,
            params: $params,
            run: |cx| Box::pin($run(cx)),
        }),*]
    };
}

pub(super) static ROUTES: &[Route] = routes! {
    GET "/2.0/hook_events" Access::Public, NONE => hooks::subjects;
    GET "/2.0/hook_events/{subject}" Access::Public, PAGED => hooks::event_list;
    PUT "/2.0/addon" Access::Signed, NONE => addon::update;
    DELETE "/2.0/addon" Access::Signed, NONE => addon::delete;

    GET "/2.0/workspaces" Access::Removed, REPOS => removed::never;
    GET "/2.0/repositories" Access::Removed, REPOS => removed::never;
    GET "/2.0/snippets" Access::Removed, REPOS => removed::never;
    GET "/2.0/user/permissions/repositories" Access::Removed, LIST => removed::never;
    GET "/2.0/user/permissions/workspaces" Access::Removed, LIST => removed::never;

    GET "/2.0/user" Access::Signed, NONE => people::me;
    GET "/2.0/user/emails" Access::Signed, PAGED => people::emails;
    GET "/2.0/user/workspaces" Access::Signed, ADMINISTERED => people::my_workspaces;
    GET "/2.0/user/workspaces/{workspace}/permission" Access::Signed, NONE => people::my_role;
    GET "/2.0/user/workspaces/{workspace}/permissions/repositories" Access::Signed, LIST => people::my_repositories;
    GET "/2.0/users/{user}" Access::Signed, NONE => people::someone;
    GET "/2.0/workspaces/{workspace}/members" Access::Signed, LIST => people::members;
    GET "/2.0/workspaces/{workspace}/members/{user}" Access::Signed, NONE => people::member;
    GET "/2.0/workspaces/{workspace}/permissions" Access::Signed, LIST => people::roles;
    GET "/2.0/workspaces/{workspace}/permissions/repositories" Access::Signed, LIST => people::permissions;
    GET "/2.0/workspaces/{workspace}/permissions/repositories/{repo}" Access::Signed, LIST => people::permissions;
    GET "/2.0/workspaces/{workspace}/projects" Access::Signed, LIST => projects::list;
    GET "/2.0/workspaces/{workspace}/projects/{key}" Access::Signed, NONE => projects::get;

    GET "/2.0/workspaces/{workspace}" Access::Signed, NONE => workspaces::get;
    GET "/2.0/workspaces/{workspace}/hooks" Access::Signed, PAGED => hooks::list;
    POST "/2.0/workspaces/{workspace}/hooks" Access::Signed, NONE => hooks::create;
    GET "/2.0/workspaces/{workspace}/hooks/{uid}" Access::Signed, NONE => hooks::get;
    PUT "/2.0/workspaces/{workspace}/hooks/{uid}" Access::Signed, NONE => hooks::update;
    DELETE "/2.0/workspaces/{workspace}/hooks/{uid}" Access::Signed, NONE => hooks::delete;

    GET "/2.0/repositories/{workspace}" Access::Signed, REPOS => repositories::list;
    GET "/2.0/repositories/{workspace}/{repo}" Access::Signed, NONE => repositories::get;

    GET "/2.0/repositories/{workspace}/{repo}/commits" Access::Signed, COMMITS => commits::list;
    POST "/2.0/repositories/{workspace}/{repo}/commits" Access::Signed, COMMITS => commits::list;
    GET "/2.0/repositories/{workspace}/{repo}/commits/{revision}" Access::Signed, COMMITS => commits::list;
    POST "/2.0/repositories/{workspace}/{repo}/commits/{revision}" Access::Signed, COMMITS => commits::list;
    GET "/2.0/repositories/{workspace}/{repo}/commit/{commit}" Access::Signed, NONE => commits::get;
    GET "/2.0/repositories/{workspace}/{repo}/commit/{commit}/pullrequests" Access::Signed, PAGED => pulls::of_commit;
    GET "/2.0/repositories/{workspace}/{repo}/commit/{commit}/statuses" Access::Signed, STATUSES => statuses::list;
    POST "/2.0/repositories/{workspace}/{repo}/commit/{commit}/statuses/build" Access::Signed, NONE => statuses::create;
    GET "/2.0/repositories/{workspace}/{repo}/commit/{commit}/statuses/build/{key}" Access::Signed, NONE => statuses::get;
    PUT "/2.0/repositories/{workspace}/{repo}/commit/{commit}/statuses/build/{key}" Access::Signed, NONE => statuses::update;
    GET "/2.0/repositories/{workspace}/{repo}/diff/{spec}" Access::Signed, DIFF => diffs::diff;
    GET "/2.0/repositories/{workspace}/{repo}/diffstat/{spec}" Access::Signed, DIFFSTAT => diffs::diffstat;

    GET "/2.0/repositories/{workspace}/{repo}/src" Access::Signed, NONE => source::root;
    POST "/2.0/repositories/{workspace}/{repo}/src" Access::Signed, NEW_SOURCE => source::create;
    GET "/2.0/repositories/{workspace}/{repo}/src/{commit}/{*path}" Access::Signed, SOURCE => source::get;
    GET "/2.0/repositories/{workspace}/{repo}/filehistory/{commit}/{*path}" Access::Signed, HISTORY => source::history;

    GET "/2.0/repositories/{workspace}/{repo}/refs" Access::Signed, LIST => refs::list;
    GET "/2.0/repositories/{workspace}/{repo}/refs/branches" Access::Signed, LIST => refs::branches;
    GET "/2.0/repositories/{workspace}/{repo}/refs/branches/{name}" Access::Signed, NONE => refs::branch;
    GET "/2.0/repositories/{workspace}/{repo}/refs/tags" Access::Signed, LIST => refs::tags;
    GET "/2.0/repositories/{workspace}/{repo}/refs/tags/{name}" Access::Signed, NONE => refs::tag;

    GET "/2.0/repositories/{workspace}/{repo}/hooks" Access::Signed, PAGED => hooks::list;
    POST "/2.0/repositories/{workspace}/{repo}/hooks" Access::Signed, NONE => hooks::create;
    GET "/2.0/repositories/{workspace}/{repo}/hooks/{uid}" Access::Signed, NONE => hooks::get;
    PUT "/2.0/repositories/{workspace}/{repo}/hooks/{uid}" Access::Signed, NONE => hooks::update;
    DELETE "/2.0/repositories/{workspace}/{repo}/hooks/{uid}" Access::Signed, NONE => hooks::delete;

    GET "/2.0/repositories/{workspace}/{repo}/pullrequests" Access::Signed, PULLS => pulls::list;
    POST "/2.0/repositories/{workspace}/{repo}/pullrequests" Access::Signed, NONE => pulls::create;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}" Access::Signed, NONE => pulls::get;
    PUT "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}" Access::Signed, NONE => pulls::update;
    POST "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/merge" Access::Signed, MERGE => pulls::merge;
    POST "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/decline" Access::Signed, NONE => pulls::decline;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/commits" Access::Signed, PAGED => pulls::commits;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/diff" Access::Signed, NONE => pulls::diff;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/diffstat" Access::Signed, NONE => pulls::diffstat;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/statuses" Access::Signed, LIST => pulls::statuses;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/comments" Access::Signed, LIST => pull_comments::list;
    POST "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/comments" Access::Signed, NONE => pull_comments::create;
    GET "/2.0/repositories/{workspace}/{repo}/pullrequests/{id}/comments/{comment}" Access::Signed, NONE => pull_comments::get;

    GET "/2.0/repositories/{workspace}/{repo}/issues" Access::Signed, LIST => issues::list;
    POST "/2.0/repositories/{workspace}/{repo}/issues" Access::Signed, NONE => issues::create;
    GET "/2.0/repositories/{workspace}/{repo}/issues/{id}" Access::Signed, NONE => issues::get;
    PUT "/2.0/repositories/{workspace}/{repo}/issues/{id}" Access::Signed, NONE => issues::update;
    DELETE "/2.0/repositories/{workspace}/{repo}/issues/{id}" Access::Signed, NONE => issues::delete;
    GET "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments" Access::Signed, LIST => comments::list;
    POST "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments" Access::Signed, NONE => comments::create;
    GET "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments/{comment}" Access::Signed, NONE => comments::get;
    PUT "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments/{comment}" Access::Signed, NONE => comments::update;
    DELETE "/2.0/repositories/{workspace}/{repo}/issues/{id}/comments/{comment}" Access::Signed, NONE => comments::delete;
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::operations;

    #[test]
    fn every_route_is_a_published_operation() {
        for route in ROUTES {
            let path = route.template.trim_start_matches("/2.0");
            let found = operations::find(route.method, path);
            assert!(found.is_some(), "{} {}", route.method, route.template);
        }
    }
}
