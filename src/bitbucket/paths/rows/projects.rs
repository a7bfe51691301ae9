//! Projects of a workspace (bitbucket.md §3.2.13).

use super::rows;

rows! {
    Cloud;
    PROJECTS "projects" "/workspaces/{workspace}/projects" {
        list   GET  "project"       "read:project";
        create POST "project:admin" "admin:project";
    }
    PROJECT "project" "/workspaces/{workspace}/projects/{project_key}" {
        get    GET    "project"       "read:project";
        update PUT    "project:admin" "admin:project";
        delete DELETE "project:admin" "admin:project";
    }
    PROJECT_BRANCHING_MODEL "project_branching_model" "/workspaces/{workspace}/projects/{project_key}/branching-model" {
        get GET "project:admin" "read:repository";
    }
    PROJECT_BRANCHING_MODEL_SETTINGS "project_branching_model_settings" "/workspaces/{workspace}/projects/{project_key}/branching-model/settings" {
        get    GET "project:admin" "admin:project";
        update PUT "project:admin" "admin:project";
    }
    PROJECT_DEFAULT_REVIEWERS "project_default_reviewers" "/workspaces/{workspace}/projects/{project_key}/default-reviewers" {
        list GET "project:admin" "read:pullrequest";
    }
    PROJECT_DEFAULT_REVIEWER "project_default_reviewer" "/workspaces/{workspace}/projects/{project_key}/default-reviewers/{selected_user}" {
        get    GET    "project:admin" "read:pullrequest";
        update PUT    "project:admin" "admin:project";
        delete DELETE "project:admin" "admin:project";
    }
    PROJECT_DEPLOY_KEYS "project_deploy_keys" "/workspaces/{workspace}/projects/{project_key}/deploy-keys" {
        list   GET  "project project:admin" "admin:project";
        create POST "project project:admin" "admin:project write:ssh-key";
    }
    PROJECT_DEPLOY_KEY "project_deploy_key" "/workspaces/{workspace}/projects/{project_key}/deploy-keys/{key_id}" {
        get    GET    "project project:admin" "admin:project";
        delete DELETE "project project:admin" "admin:project delete:ssh-key";
    }
    PROJECT_GROUP_PERMISSIONS "project_group_permissions" "/workspaces/{workspace}/projects/{project_key}/permissions-config/groups" {
        list GET "project:admin" "read:project";
    }
    PROJECT_GROUP_PERMISSION "project_group_permission" "/workspaces/{workspace}/projects/{project_key}/permissions-config/groups/{group_slug}" {
        get    GET    "project:admin" "read:project";
        update PUT    "project:admin" "admin:project write:permission";
        delete DELETE "project:admin" "admin:project delete:permission";
    }
    PROJECT_USER_PERMISSIONS "project_user_permissions" "/workspaces/{workspace}/projects/{project_key}/permissions-config/users" {
        list GET "project:admin" "read:project";
    }
    PROJECT_USER_PERMISSION "project_user_permission" "/workspaces/{workspace}/projects/{project_key}/permissions-config/users/{selected_user_id}" {
        get    GET    "project:admin" "read:project";
        update PUT    "project:admin" "admin:project write:permission";
        delete DELETE "project:admin" "admin:project delete:permission";
    }
}
