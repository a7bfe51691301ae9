//! Snippets (bitbucket.md §3.2.11).

use super::rows;

rows! {
    Cloud;
    SNIPPETS "snippets" "/snippets" {
        list   GET  "snippet"       "read:snippet" ? "role" deprecated CROSS_WORKSPACE;
        create POST "snippet:write" "read:snippet write:snippet";
    }
    WORKSPACE_SNIPPETS "workspace_snippets" "/snippets/{workspace}" {
        list   GET  "snippet"       "read:snippet" ? "role";
        create POST "snippet:write" "read:snippet write:snippet";
    }
    SNIPPET "snippet" "/snippets/{workspace}/{encoded_id}" {
        get    GET    "snippet"       "read:snippet";
        update PUT    "snippet:write" "read:snippet write:snippet";
        delete DELETE "snippet:write" "delete:snippet";
    }
    SNIPPET_COMMENTS "snippet_comments" "/snippets/{workspace}/{encoded_id}/comments" {
        list   GET  "snippet" "read:snippet";
        create POST "snippet" "read:snippet write:snippet";
    }
    SNIPPET_COMMENT "snippet_comment" "/snippets/{workspace}/{encoded_id}/comments/{comment_id}" {
        get    GET    "snippet" "read:snippet";
        update PUT    "snippet" "read:snippet write:snippet";
        delete DELETE "snippet" "write:snippet";
    }
    SNIPPET_COMMITS "snippet_commits" "/snippets/{workspace}/{encoded_id}/commits" {
        list GET "snippet" "read:snippet";
    }
    SNIPPET_COMMIT "snippet_commit" "/snippets/{workspace}/{encoded_id}/commits/{revision}" {
        get GET "snippet" "read:snippet";
    }
    SNIPPET_FILE "snippet_file" "/snippets/{workspace}/{encoded_id}/files/{path}" {
        get GET "snippet" "read:snippet";
    }
    SNIPPET_WATCH "snippet_watch" "/snippets/{workspace}/{encoded_id}/watch" {
        get    GET    "snippet"       "read:snippet";
        update PUT    "snippet:write" "write:snippet";
        delete DELETE "snippet:write" "write:snippet";
    }
    SNIPPET_WATCHERS "snippet_watchers" "/snippets/{workspace}/{encoded_id}/watchers" {
        list GET "snippet" "" deprecated MARKED;
    }
    SNIPPET_REVISION "snippet_revision" "/snippets/{workspace}/{encoded_id}/{node_id}" {
        get    GET    "snippet"       "read:snippet";
        update PUT    "snippet:write" "read:snippet write:snippet";
        delete DELETE "snippet:write" "write:snippet";
    }
    SNIPPET_REVISION_FILE "snippet_revision_file" "/snippets/{workspace}/{encoded_id}/{node_id}/files/{path}" {
        get GET "snippet" "read:snippet";
    }
    SNIPPET_DIFF "snippet_diff" "/snippets/{workspace}/{encoded_id}/{revision}/diff" {
        get GET "snippet" "read:snippet" ? "path";
    }
    SNIPPET_PATCH "snippet_patch" "/snippets/{workspace}/{encoded_id}/{revision}/patch" {
        get GET "snippet" "read:snippet";
    }
}
