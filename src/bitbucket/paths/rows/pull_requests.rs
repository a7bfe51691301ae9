//! Pull requests (bitbucket.md §3.2.5, §3.2.8).

use super::rows;

rows! {
    Cloud;
    PULL_REQUESTS "pull_requests" "/repositories/{workspace}/{repo_slug}/pullrequests" {
        list   GET  "pullrequest"       "read:pullrequest" ? "state";
        create POST "pullrequest:write" "read:pullrequest write:pullrequest";
    }
    PULL_REQUESTS_ACTIVITY "pull_requests_activity" "/repositories/{workspace}/{repo_slug}/pullrequests/activity" {
        list GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST "pull_request" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}" {
        get    GET "pullrequest"       "read:pullrequest";
        update PUT "pullrequest:write" "read:pullrequest write:pullrequest";
    }
    PULL_REQUEST_ACTIVITY "pull_request_activity" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/activity" {
        list GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_APPROVAL "pull_request_approval" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/approve" {
        create POST   "pullrequest:write" "read:pullrequest write:pullrequest";
        delete DELETE "pullrequest:write" "write:pullrequest";
    }
    PULL_REQUEST_COMMENTS "pull_request_comments" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/comments" {
        list   GET  "pullrequest" "read:pullrequest";
        create POST "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_COMMENT "pull_request_comment" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/comments/{comment_id}" {
        get    GET    "pullrequest" "read:pullrequest";
        update PUT    "pullrequest" "read:pullrequest";
        delete DELETE "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_COMMENT_RESOLUTION "pull_request_comment_resolution" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/comments/{comment_id}/resolve" {
        create POST   "pullrequest" "read:pullrequest";
        delete DELETE "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_COMMITS "pull_request_commits" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/commits" {
        list GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_CONFLICTS "pull_request_conflicts" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/conflicts" {
        get GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_DECLINE "pull_request_decline" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/decline" {
        run POST "pullrequest:write" "read:pullrequest write:pullrequest";
    }
    PULL_REQUEST_DIFF "pull_request_diff" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/diff" {
        get GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_DIFFSTAT "pull_request_diffstat" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/diffstat" {
        get GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_MERGE "pull_request_merge" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/merge" {
        run POST "pullrequest:write" "read:pullrequest write:pullrequest" ? "async";
    }
    PULL_REQUEST_MERGE_TASK "pull_request_merge_task" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/merge/task-status/{task_id}" (task_id: Segment) {
        get GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_PATCH "pull_request_patch" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/patch" {
        get GET "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_CHANGE_REQUEST "pull_request_change_request" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/request-changes" {
        create POST   "pullrequest:write" "read:pullrequest write:pullrequest";
        delete DELETE "pullrequest:write" "write:pullrequest";
    }
    PULL_REQUEST_STATUSES "pull_request_statuses" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/statuses" {
        list GET "pullrequest" "read:pullrequest" ? "q sort";
    }
    PULL_REQUEST_TASKS "pull_request_tasks" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/tasks" {
        list   GET  "pullrequest" "read:pullrequest" ? "pagelen q sort";
        create POST "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_TASK "pull_request_task" "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}/tasks/{task_id}" {
        get    GET    "pullrequest" "read:pullrequest";
        update PUT    "pullrequest" "read:pullrequest";
        delete DELETE "pullrequest" "read:pullrequest";
    }
    PULL_REQUEST_PROPERTY "pull_request_property" "/repositories/{workspace}/{repo_slug}/pullrequests/{pullrequest_id}/properties/{app_key}/{property_name}" {
        get    GET    "" "admin:workspace";
        update PUT    "" "";
        delete DELETE "" "";
    }
    WORKSPACE_USER_PULL_REQUESTS "workspace_user_pull_requests" "/workspaces/{workspace}/pullrequests/{selected_user}" {
        list GET "pullrequest" "read:pullrequest" ? "state";
    }
}
