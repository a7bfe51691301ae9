//! Commits, their comments, and what changed between two of them (bitbucket.md §3.2.2, §3.2.8).

use super::rows;

rows! {
    Cloud;
    COMMITS "commits" "/repositories/{workspace}/{repo_slug}/commits" {
        list         GET  "repository" "read:repository";
        list_by_form POST "repository" "read:repository";
    }
    REPOSITORY_COMMITS "repository_commits" "/repositories/{workspace}/{repo_slug}/commits/{revision}" {
        list         GET  "repository" "read:repository";
        list_by_form POST "repository" "read:repository";
    }
    COMMIT "commit" "/repositories/{workspace}/{repo_slug}/commit/{commit}" {
        get GET "repository" "read:repository";
    }
    COMMIT_APPROVAL "commit_approval" "/repositories/{workspace}/{repo_slug}/commit/{commit}/approve" {
        create POST   "repository:write" "read:repository write:repository";
        delete DELETE "repository:write" "write:repository";
    }
    COMMIT_COMMENTS "commit_comments" "/repositories/{workspace}/{repo_slug}/commit/{commit}/comments" {
        list   GET  "repository" "read:repository" ? "q sort";
        create POST "repository" "read:repository";
    }
    COMMIT_COMMENT "commit_comment" "/repositories/{workspace}/{repo_slug}/commit/{commit}/comments/{comment_id}" {
        get    GET    "repository" "read:repository";
        update PUT    "repository" "read:repository";
        delete DELETE "repository" "read:repository";
    }
    COMMIT_PROPERTY "commit_property" "/repositories/{workspace}/{repo_slug}/commit/{commit}/properties/{app_key}/{property_name}" {
        get    GET    "" "admin:workspace";
        update PUT    "" "";
        delete DELETE "" "";
    }
    COMMIT_PULL_REQUESTS "commit_pull_requests" "/repositories/{workspace}/{repo_slug}/commit/{commit}/pullrequests" {
        list GET "pullrequest" "read:pullrequest" ? "page pagelen";
    }
    REPOSITORY_DIFF "repository_diff" "/repositories/{workspace}/{repo_slug}/diff/{spec}" {
        get GET "repository" "read:repository" ? "binary context ignore_whitespace merge path renames topic";
    }
    DIFFSTAT "diffstat" "/repositories/{workspace}/{repo_slug}/diffstat/{spec}" {
        list GET "repository" "read:repository" ? "ignore_whitespace merge path renames topic";
    }
    PATCH "patch" "/repositories/{workspace}/{repo_slug}/patch/{spec}" {
        get GET "repository" "read:repository";
    }
    MERGE_BASE "merge_base" "/repositories/{workspace}/{repo_slug}/merge-base/{revspec}" {
        get GET "repository" "read:repository";
    }
}
