//! Bitbucket Data Center: projects, repositories, refs, commits, diffs and files (bitbucket.md §7).

use super::rows;

rows! {
    DataCenter;
    DC_APPLICATION_PROPERTIES "dc_application_properties" "/rest/api/latest/application-properties" {
        get GET "" "";
    }
    DC_PROJECTS "dc_projects" "/rest/api/latest/projects" {
        list   GET  "PROJECT_VIEW"   "" ? "limit name permission start";
        create POST "PROJECT_CREATE" "";
    }
    DC_PROJECT "dc_project" "/rest/api/latest/projects/{projectKey}" {
        get    GET    "PROJECT_VIEW"  "";
        update PUT    "PROJECT_ADMIN" "";
        delete DELETE "PROJECT_ADMIN" "";
    }
    DC_REPOSITORIES "dc_repositories" "/rest/api/latest/projects/{projectKey}/repos" {
        list   GET  "PROJECT_READ" "" ? "limit start";
        create POST "REPO_CREATE"  "";
    }
    DC_REPOSITORY_SEARCH "dc_repository_search" "/rest/api/latest/repos" {
        list GET "REPO_READ" "" ? "archived limit name permission projectkey projectname start state visibility";
    }
    DC_REPOSITORY "dc_repository" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}" {
        get    GET    "REPO_READ"               "";
        fork   POST   "PROJECT_ADMIN REPO_READ" "";
        update PUT    "REPO_ADMIN"              "";
        delete DELETE "REPO_ADMIN"              "";
    }
    DC_FORKS "dc_forks" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/forks" {
        list GET "REPO_READ" "" ? "limit start";
    }
    DC_ARCHIVE "dc_archive" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/archive" {
        get GET "REPO_READ" "" ? "at filename format path prefix";
    }
    DC_DEFAULT_BRANCH "dc_default_branch" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/default-branch" {
        get    GET "REPO_READ"  "";
        update PUT "REPO_ADMIN" "";
    }
    DC_BRANCHES "dc_branches" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/branches" {
        list   GET  "REPO_READ"  "" ? "base boostMatches context details filterText limit orderBy start";
        create POST "REPO_WRITE" "";
    }
    DC_BRANCH_CHANGES "dc_branch_changes" "/rest/branch-utils/latest/projects/{projectKey}/repos/{repositorySlug}/branches" {
        create POST   "REPO_WRITE" "";
        delete DELETE "REPO_WRITE" "";
    }
    DC_COMMIT_BRANCHES "dc_commit_branches" "/rest/branch-utils/latest/projects/{projectKey}/repos/{repositorySlug}/branches/info/{commitId}" {
        list GET "" "" ? "limit start";
    }
    DC_BRANCH_RESTRICTIONS "dc_branch_restrictions" "/rest/branch-permissions/latest/projects/{projectKey}/repos/{repositorySlug}/restrictions" {
        list   GET  "REPO_ADMIN" "" ? "limit matcherId matcherType start type";
        create POST ""           "";
    }
    DC_BRANCH_RESTRICTION "dc_branch_restriction" "/rest/branch-permissions/latest/projects/{projectKey}/repos/{repositorySlug}/restrictions/{id}" {
        get    GET    "REPO_ADMIN" "";
        delete DELETE "REPO_ADMIN" "";
    }
    DC_TAGS "dc_tags" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/tags" {
        list   GET  "REPO_READ"  "" ? "filterText limit orderBy start";
        create POST "REPO_WRITE" "";
    }
    DC_TAG "dc_tag" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/tags/{name}" {
        get GET "REPO_READ" "";
    }
    DC_TAG_CHANGES "dc_tag_changes" "/rest/git/latest/projects/{projectKey}/repos/{repositorySlug}/tags" {
        create POST "REPO_WRITE" "";
    }
    DC_TAG_CHANGE "dc_tag_change" "/rest/git/latest/projects/{projectKey}/repos/{repositorySlug}/tags/{name}" {
        delete DELETE "REPO_WRITE" "";
    }
    DC_COMMITS "dc_commits" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits" {
        list GET "REPO_READ" "" ? "avatarScheme avatarSize followRenames ignoreMissing limit merges path since start until withCounts";
    }
    DC_COMMIT "dc_commit" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}" {
        get GET "REPO_READ" "" ? "path";
    }
    DC_COMMIT_CHANGES "dc_commit_changes" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/changes" {
        list GET "REPO_READ" "" ? "limit since start withComments";
    }
    DC_COMMIT_DIFF "dc_commit_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/diff" {
        get GET "REPO_READ" "" ? "autoSrcPath avatarScheme avatarSize contextLines filter since srcPath whitespace withComments" service_only "bitbucket.md §7";
    }
    DC_COMMIT_FILE_DIFF "dc_commit_file_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/diff/{path}" {
        get GET "REPO_READ" "" ? "autoSrcPath avatarScheme avatarSize contextLines filter since srcPath whitespace withComments";
    }
    DC_MERGE_BASE "dc_merge_base" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/merge-base" {
        get GET "" "" ? "otherCommitId";
    }
    DC_COMMIT_PULL_REQUESTS "dc_commit_pull_requests" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/pull-requests" {
        list GET "" "" ? "limit start";
    }
    DC_COMMIT_COMMENTS "dc_commit_comments" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/comments" {
        list   GET  "REPO_READ" "" ? "limit path since start";
        create POST "REPO_READ" "" ? "since";
    }
    DC_COMMIT_COMMENT "dc_commit_comment" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/commits/{commitId}/comments/{commentId}" {
        get    GET    "REPO_READ"            "";
        update PUT    "REPO_READ"            "";
        delete DELETE "REPO_ADMIN REPO_READ" "" ? "version";
    }
    DC_CHANGES "dc_changes" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/changes" {
        list GET "REPO_READ" "" ? "limit since start until";
    }
    DC_COMPARE_CHANGES "dc_compare_changes" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/compare/changes" {
        list GET "" "" ? "from fromRepo limit start to";
    }
    DC_COMPARE_COMMITS "dc_compare_commits" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/compare/commits" {
        list GET "" "" ? "from fromRepo limit start to";
    }
    DC_COMPARE_DIFF "dc_compare_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/compare/diff" {
        get GET "" "" ? "contextLines from fromRepo srcPath to whitespace";
    }
    DC_COMPARE_FILE_DIFF "dc_compare_file_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/compare/diff/{path}" {
        get GET "" "" ? "contextLines from fromRepo srcPath to whitespace";
    }
    DC_DIFF "dc_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/diff" {
        get GET "REPO_READ" "" ? "contextLines since srcPath until whitespace";
    }
    DC_FILE_DIFF "dc_file_diff" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/diff/{path}" {
        get GET "REPO_READ" "" ? "contextLines since srcPath until whitespace";
    }
    DC_PATCH "dc_patch" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/patch" {
        get GET "REPO_READ" "" ? "allAncestors since until";
    }
    DC_RAW "dc_raw" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/raw/{path}" {
        get GET "REPO_READ" "" ? "at hardwrap htmlEscape includeHeadingId markup";
    }
    DC_BROWSE_ROOT "dc_browse_root" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/browse" {
        get GET "REPO_READ" "" ? "at blame noContent size type";
    }
    DC_BROWSE "dc_browse" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/browse/{path}" {
        get    GET "REPO_READ" "" ? "at blame noContent size type";
        update PUT ""          "";
    }
    DC_FILES "dc_files" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/files" {
        list GET "REPO_READ" "" ? "at limit start";
    }
    DC_FILES_BELOW "dc_files_below" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/files/{path}" {
        list GET "REPO_READ" "" ? "at limit start";
    }
    DC_LAST_MODIFIED "dc_last_modified" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/last-modified" {
        get GET "REPO_READ" "" ? "at";
    }
    DC_LAST_MODIFIED_BELOW "dc_last_modified_below" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/last-modified/{path}" {
        get GET "REPO_READ" "" ? "at";
    }
}
