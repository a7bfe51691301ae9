//! Repositories and their settings: forks, branch rules, reviewers, keys, permissions, properties
//! (bitbucket.md §3.2.1, §3.2.5, §3.2.8, §3.2.13).

use super::rows;

rows! {
    Cloud;
    ALL_REPOSITORIES "all_repositories" "/repositories" {
        list GET "repository" "read:repository" ? "after q role sort" deprecated ALL_REPOSITORIES;
    }
    REPOSITORIES "repositories" "/repositories/{workspace}" {
        list GET "repository" "read:repository" ? "q role sort";
    }
    REPOSITORY "repository" "/repositories/{workspace}/{repo_slug}" {
        get    GET    "repository"        "read:repository";
        create POST   "repository:admin"  "admin:repository";
        update PUT    "repository:admin"  "admin:repository";
        delete DELETE "repository:delete" "delete:repository" ? "redirect_to";
    }
    FORKS "forks" "/repositories/{workspace}/{repo_slug}/forks" {
        list   GET  "repository"       "read:repository" ? "q role sort";
        create POST "repository:write" "read:repository write:repository";
    }
    WATCHERS "watchers" "/repositories/{workspace}/{repo_slug}/watchers" {
        list GET "repository" "read:repository";
    }
    REPOSITORY_OVERRIDE_SETTINGS "repository_override_settings" "/repositories/{workspace}/{repo_slug}/override-settings" {
        get    GET "repository:admin" "admin:repository";
        update PUT "repository:admin" "admin:repository";
    }
    BRANCH_RESTRICTIONS "branch_restrictions" "/repositories/{workspace}/{repo_slug}/branch-restrictions" {
        list   GET  "repository:admin" "admin:repository" ? "kind pattern";
        create POST "repository:admin" "admin:repository";
    }
    BRANCH_RESTRICTION "branch_restriction" "/repositories/{workspace}/{repo_slug}/branch-restrictions/{id}" {
        get    GET    "repository:admin" "admin:repository";
        update PUT    "repository:admin" "admin:repository";
        delete DELETE "repository:admin" "admin:repository";
    }
    BRANCHING_MODEL "branching_model" "/repositories/{workspace}/{repo_slug}/branching-model" {
        get GET "repository" "read:repository";
    }
    BRANCHING_MODEL_SETTINGS "branching_model_settings" "/repositories/{workspace}/{repo_slug}/branching-model/settings" {
        get    GET "repository:admin" "admin:repository";
        update PUT "repository:admin" "admin:repository";
    }
    EFFECTIVE_BRANCHING_MODEL "effective_branching_model" "/repositories/{workspace}/{repo_slug}/effective-branching-model" {
        get GET "repository" "read:repository";
    }
    DEFAULT_REVIEWERS "default_reviewers" "/repositories/{workspace}/{repo_slug}/default-reviewers" {
        list GET "pullrequest" "read:pullrequest";
    }
    DEFAULT_REVIEWER "default_reviewer" "/repositories/{workspace}/{repo_slug}/default-reviewers/{target_username}" {
        get    GET    "pullrequest"      "read:pullrequest";
        update PUT    "repository:admin" "admin:repository";
        delete DELETE "repository:admin" "admin:repository";
    }
    EFFECTIVE_DEFAULT_REVIEWERS "effective_default_reviewers" "/repositories/{workspace}/{repo_slug}/effective-default-reviewers" {
        list GET "pullrequest" "read:pullrequest";
    }
    REPOSITORY_DEPLOY_KEYS "repository_deploy_keys" "/repositories/{workspace}/{repo_slug}/deploy-keys" {
        list   GET  "repository repository:admin" "admin:repository";
        create POST "repository repository:admin" "admin:repository write:ssh-key";
    }
    REPOSITORY_DEPLOY_KEY "repository_deploy_key" "/repositories/{workspace}/{repo_slug}/deploy-keys/{key_id}" {
        get    GET    "repository repository:admin" "admin:repository";
        update PUT    "repository repository:admin" "admin:repository write:ssh-key";
        delete DELETE "repository repository:admin" "admin:repository delete:ssh-key";
    }
    REPOSITORY_GROUP_PERMISSIONS "repository_group_permissions" "/repositories/{workspace}/{repo_slug}/permissions-config/groups" {
        list GET "repository:admin" "read:repository";
    }
    REPOSITORY_GROUP_PERMISSION "repository_group_permission" "/repositories/{workspace}/{repo_slug}/permissions-config/groups/{group_slug}" {
        get    GET    "repository:admin" "read:repository";
        update PUT    "repository:admin" "admin:repository write:permission";
        delete DELETE "repository:admin" "admin:repository delete:permission";
    }
    REPOSITORY_USER_PERMISSIONS "repository_user_permissions" "/repositories/{workspace}/{repo_slug}/permissions-config/users" {
        list GET "repository:admin" "read:repository";
    }
    REPOSITORY_USER_PERMISSION "repository_user_permission" "/repositories/{workspace}/{repo_slug}/permissions-config/users/{selected_user_id}" {
        get    GET    "repository:admin" "read:repository";
        update PUT    "repository:admin" "admin:repository write:permission";
        delete DELETE "repository:admin" "admin:repository delete:permission";
    }
    REPOSITORY_PROPERTY "repository_property" "/repositories/{workspace}/{repo_slug}/properties/{app_key}/{property_name}" {
        get    GET    "" "admin:workspace";
        update PUT    "" "";
        delete DELETE "" "";
    }
}
