//! Bitbucket Data Center: pull requests, Jira links, build status, Code Insights (bitbucket.md §7).

use super::rows;

rows! {
    DataCenter;
    DC_PULL_REQUESTS "dc_pull_requests" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests" {
        list   GET  "REPO_READ" "" ? "at direction draft filterText limit order start state withAttributes withProperties";
        create POST "REPO_READ" "";
    }
    DC_PULL_REQUEST "dc_pull_request" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}" {
        get    GET    "REPO_READ"            "" ? "withProperties";
        update PUT    "REPO_READ REPO_WRITE" "";
        delete DELETE ""                     "";
    }
    DC_PULL_REQUEST_RAW_DIFF "dc_pull_request_raw_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}.diff" {
        get GET "REPO_READ" "" ? "contextLines whitespace";
    }
    DC_PULL_REQUEST_PATCH "dc_pull_request_patch" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}.patch" {
        get GET "REPO_READ" "";
    }
    DC_PULL_REQUEST_ACTIVITIES "dc_pull_request_activities" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/activities" {
        list GET "REPO_READ" "" ? "fromId fromType limit start";
    }
    DC_PULL_REQUEST_CHANGES "dc_pull_request_changes" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/changes" {
        list GET "REPO_READ" "" ? "changeScope limit sinceId start untilId withComments";
    }
    DC_PULL_REQUEST_COMMENTS "dc_pull_request_comments" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/comments" {
        list   GET  "REPO_READ" "" ? "anchorState diffType diffTypes fromHash limit path start state states toHash";
        create POST "REPO_READ" "";
    }
    DC_PULL_REQUEST_COMMENT "dc_pull_request_comment" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/comments/{commentId}" {
        get    GET    "REPO_READ"            "";
        update PUT    "REPO_READ"            "";
        delete DELETE "REPO_ADMIN REPO_READ" "" ? "version";
    }
    DC_PULL_REQUEST_COMMITS "dc_pull_request_commits" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/commits" {
        list GET "REPO_READ" "" ? "avatarScheme avatarSize limit start withCounts";
    }
    DC_PULL_REQUEST_DECLINE "dc_pull_request_decline" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/decline" {
        run POST "REPO_READ" "" ? "version";
    }
    DC_PULL_REQUEST_DIFF "dc_pull_request_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/diff" {
        get GET "REPO_READ" "" ? "avatarScheme avatarSize contextLines diffType sinceId srcPath untilId whitespace withComments" service_only "bitbucket.md §7";
    }
    DC_PULL_REQUEST_FILE_DIFF "dc_pull_request_file_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/diff/{path}" {
        get GET "REPO_READ" "" ? "avatarScheme avatarSize contextLines diffType sinceId srcPath untilId whitespace withComments";
    }
    DC_PULL_REQUEST_MERGE "dc_pull_request_merge" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/merge" {
        get GET  "REPO_READ"  "";
        run POST "REPO_WRITE" "" ? "version";
    }
    DC_PULL_REQUEST_MERGE_BASE "dc_pull_request_merge_base" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/merge-base" {
        get GET "" "";
    }
    DC_PULL_REQUEST_PARTICIPANTS "dc_pull_request_participants" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/participants" {
        list   GET    "REPO_READ"  "" ? "limit start";
        create POST   "REPO_WRITE" "";
        delete DELETE "REPO_WRITE" "" ? "username" deprecated MARKED;
    }
    DC_PULL_REQUEST_PARTICIPANT "dc_pull_request_participant" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/participants/{userSlug}" {
        update PUT    "REPO_READ"  "" ? "version";
        delete DELETE "REPO_WRITE" "";
    }
    DC_PULL_REQUEST_REOPENING "dc_pull_request_reopening" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/reopen" {
        run POST "REPO_READ" "" ? "version";
    }
    DC_PULL_REQUEST_JIRA_ISSUES "dc_pull_request_jira_issues" "/rest/jira/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/issues" {
        get GET "" "";
    }
    DC_JIRA_ISSUE_COMMITS "dc_jira_issue_commits" "/rest/jira/latest/issues/{issueKey}/commits" {
        list GET "" "" ? "limit maxChanges start";
    }
    DC_COMMENT_JIRA_ISSUES "dc_comment_jira_issues" "/rest/jira/latest/comments/{commentId}/issues" {
        create POST "REPO_READ" "" ? "applicationId";
    }
    DC_DASHBOARD_PULL_REQUESTS "dc_dashboard_pull_requests" "/rest/api/latest/dashboard/pull-requests" {
        list GET "" "" ? "closedSince limit order participantStatus role start state user";
    }
    DC_INBOX_PULL_REQUESTS "dc_inbox_pull_requests" "/rest/api/latest/inbox/pull-requests" {
        list GET "" "" ? "limit role start";
    }
    DC_DEFAULT_REVIEWERS "dc_default_reviewers" "/rest/default-reviewers/latest/projects/{projectKey}/repos/{repositorySlug}/reviewers" {
        list GET "" "" ? "sourceRefId sourceRepoId targetRefId targetRepoId";
    }
    DC_BUILD_CAPABILITIES "dc_build_capabilities" "/rest/api/latest/build/capabilities" {
        get GET "" "";
    }
    DC_BUILDS "dc_builds" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/builds" {
        list   GET    "REPO_READ"  "" ? "key";
        create POST   "REPO_READ"  "";
        delete DELETE "REPO_ADMIN" "" ? "key";
    }
    DC_BUILD_STATUSES "dc_build_statuses" "/rest/build-status/latest/commits/{commitId}" {
        list   GET  "" "" ? "limit orderBy start" deprecated MARKED;
        create POST "" "" deprecated MARKED;
    }
    DC_BUILD_STATS "dc_build_stats" "/rest/build-status/latest/commits/stats" {
        run POST "" "";
    }
    DC_COMMIT_BUILD_STATS "dc_commit_build_stats" "/rest/build-status/latest/commits/stats/{commitId}" {
        get GET "" "" ? "includeUnique";
    }
    DC_COMMIT_ANNOTATIONS "dc_commit_annotations" "/rest/insights/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/annotations" {
        list GET "" "" ? "externalId key path severity type";
    }
    DC_REPORTS "dc_reports" "/rest/insights/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/reports" {
        list GET "" "" ? "limit start";
    }
    DC_REPORT "dc_report" "/rest/insights/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/reports/{key}" {
        get    GET    "" "";
        update PUT    "" "";
        delete DELETE "" "";
    }
    DC_ANNOTATIONS "dc_annotations" "/rest/insights/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/reports/{key}/annotations" {
        list   GET    "" "";
        create POST   "" "";
        delete DELETE "" "" ? "externalId";
    }
    DC_ANNOTATION "dc_annotation" "/rest/insights/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/reports/{key}/annotations/{externalId}" {
        update PUT "" "";
    }
}
