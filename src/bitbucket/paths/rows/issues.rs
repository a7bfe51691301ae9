//! The issue tracker (bitbucket.md §3.2.10). It left bitbucket.org on 2026-08-20 (§2.1); compatible
//! servers and recordings still have it.

use super::rows;

rows! {
    Cloud;
    ISSUES "issues" "/repositories/{workspace}/{repo_slug}/issues" {
        list   GET  "issue"       "read:issue" deprecated ISSUE_TRACKER;
        create POST "issue:write" "read:issue write:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE "issue" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}" {
        get    GET    "issue"       "read:issue" deprecated ISSUE_TRACKER;
        update PUT    "issue:write" "read:issue write:issue" deprecated ISSUE_TRACKER;
        delete DELETE "issue:write" "delete:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_COMMENTS "issue_comments" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/comments" {
        list   GET  "issue"       "read:issue" ? "q" deprecated ISSUE_TRACKER;
        create POST "issue:write" "read:issue write:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_COMMENT "issue_comment" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/comments/{comment_id}" {
        get    GET    "issue"       "read:issue" deprecated ISSUE_TRACKER;
        update PUT    "issue:write" "read:issue write:issue" deprecated ISSUE_TRACKER;
        delete DELETE "issue:write" "write:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_CHANGES "issue_changes" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/changes" {
        list   GET  "issue"       "read:issue" ? "q sort" deprecated ISSUE_TRACKER;
        create POST "issue:write" "read:issue write:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_CHANGE "issue_change" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/changes/{change_id}" {
        get GET "issue" "read:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_ATTACHMENTS "issue_attachments" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/attachments" {
        list   GET  "issue"       "read:issue" deprecated ISSUE_TRACKER;
        create POST "issue:write" "write:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_ATTACHMENT "issue_attachment" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/attachments/{path}" {
        get    GET    "issue"       "read:issue" deprecated ISSUE_TRACKER;
        delete DELETE "issue:write" "write:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_VOTE "issue_vote" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/vote" {
        get    GET    "account issue"             "read:issue read:user" deprecated ISSUE_TRACKER;
        update PUT    "account:write issue"       "write:issue write:user" deprecated ISSUE_TRACKER;
        delete DELETE "account:write issue:write" "write:issue write:user" deprecated ISSUE_TRACKER;
    }
    ISSUE_WATCH "issue_watch" "/repositories/{workspace}/{repo_slug}/issues/{issue_id}/watch" {
        get    GET    "account issue"             "read:issue read:user" deprecated ISSUE_TRACKER;
        update PUT    "account:write issue"       "write:issue write:user" deprecated ISSUE_TRACKER;
        delete DELETE "account:write issue:write" "write:issue write:user" deprecated ISSUE_TRACKER;
    }
    ISSUE_EXPORTS "issue_exports" "/repositories/{workspace}/{repo_slug}/issues/export" {
        run POST "issue repository:admin" "read:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_EXPORT "issue_export" "/repositories/{workspace}/{repo_slug}/issues/export/{repo_name}-issues-{task_id}.zip" (task_id: Segment) {
        get GET "issue repository:admin" "read:issue" deprecated ISSUE_TRACKER;
    }
    ISSUE_IMPORT "issue_import" "/repositories/{workspace}/{repo_slug}/issues/import" {
        get GET  "issue:write repository:admin" "admin:repository write:issue" deprecated ISSUE_TRACKER;
        run POST "issue:write repository:admin" "admin:repository write:issue" deprecated ISSUE_TRACKER;
    }
    COMPONENTS "components" "/repositories/{workspace}/{repo_slug}/components" {
        list GET "issue" "read:issue" deprecated ISSUE_TRACKER;
    }
    COMPONENT "component" "/repositories/{workspace}/{repo_slug}/components/{component_id}" {
        get GET "issue" "read:issue" deprecated ISSUE_TRACKER;
    }
    MILESTONES "milestones" "/repositories/{workspace}/{repo_slug}/milestones" {
        list GET "issue" "read:issue" deprecated ISSUE_TRACKER;
    }
    MILESTONE "milestone" "/repositories/{workspace}/{repo_slug}/milestones/{milestone_id}" {
        get GET "issue" "read:issue" deprecated ISSUE_TRACKER;
    }
    VERSIONS "versions" "/repositories/{workspace}/{repo_slug}/versions" {
        list GET "issue" "read:issue" deprecated ISSUE_TRACKER;
    }
    VERSION "version" "/repositories/{workspace}/{repo_slug}/versions/{version_id}" {
        get GET "issue" "read:issue" deprecated ISSUE_TRACKER;
    }
}
