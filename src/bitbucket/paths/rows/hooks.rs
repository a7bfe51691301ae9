//! Webhooks of repositories and workspaces, and the events they can have (bitbucket.md §3.2.9).

use super::rows;

rows! {
    Cloud;
    HOOK_SUBJECT_TYPES "hook_subject_types" "/hook_events" {
        list GET "" "";
    }
    HOOK_EVENTS "hook_events" "/hook_events/{subject_type}" {
        list GET "" "";
    }
    REPOSITORY_HOOKS "repository_hooks" "/repositories/{workspace}/{repo_slug}/hooks" {
        list   GET  "webhook" "read:webhook";
        create POST "webhook" "read:webhook write:webhook";
    }
    REPOSITORY_HOOK "repository_hook" "/repositories/{workspace}/{repo_slug}/hooks/{uid}" {
        get    GET    "webhook" "read:webhook";
        update PUT    "webhook" "read:webhook write:webhook";
        delete DELETE "webhook" "delete:webhook";
    }
    WORKSPACE_HOOKS "workspace_hooks" "/workspaces/{workspace}/hooks" {
        list   GET  "webhook" "read:webhook";
        create POST "webhook" "read:webhook write:webhook";
    }
    WORKSPACE_HOOK "workspace_hook" "/workspaces/{workspace}/hooks/{uid}" {
        get    GET    "webhook" "read:webhook";
        update PUT    "webhook" "read:webhook write:webhook";
        delete DELETE "webhook" "delete:webhook";
    }
}
