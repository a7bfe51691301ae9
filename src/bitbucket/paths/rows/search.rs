//! Code search (bitbucket.md §3.2.12).

use super::rows;

rows! {
    Cloud;
    TEAM_CODE_SEARCH "team_code_search" "/teams/{username}/search/code" {
        list GET "repository" "read:repository" ? "page pagelen search_query" deprecated CODE_SEARCH;
    }
    USER_CODE_SEARCH "user_code_search" "/users/{selected_user}/search/code" {
        list GET "repository" "read:repository" ? "page pagelen search_query" deprecated CODE_SEARCH;
    }
    WORKSPACE_CODE_SEARCH "workspace_code_search" "/workspaces/{workspace}/search/code" {
        list GET "repository" "read:repository" ? "page pagelen search_query" deprecated CODE_SEARCH;
    }
}
