//! Bitbucket Data Center: webhooks, access tokens, users, code search (bitbucket.md §7).

use super::rows;

rows! {
    DataCenter;
    DC_REPOSITORY_HOOKS "dc_repository_hooks" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/webhooks" {
        list   GET  "REPO_ADMIN" "" ? "event statistics";
        create POST "REPO_ADMIN" "";
    }
    DC_REPOSITORY_HOOK_SEARCH "dc_repository_hook_search" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/webhooks/search" {
        get GET "REPO_ADMIN" "" ? "event scopeType statistics";
    }
    DC_REPOSITORY_HOOK_TEST "dc_repository_hook_test" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/webhooks/test" {
        run POST "REPO_ADMIN" "" ? "sslVerificationRequired url webhookId";
    }
    DC_REPOSITORY_HOOK "dc_repository_hook" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/webhooks/{webhookId}" {
        get    GET    "REPO_ADMIN" "" ? "statistics";
        update PUT    "REPO_ADMIN" "";
        delete DELETE "REPO_ADMIN" "";
    }
    DC_REPOSITORY_HOOK_LATEST "dc_repository_hook_latest" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/webhooks/{webhookId}/latest" {
        get GET "REPO_ADMIN" "" ? "event outcome";
    }
    DC_REPOSITORY_HOOK_STATISTICS "dc_repository_hook_statistics" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/webhooks/{webhookId}/statistics" {
        get GET "REPO_ADMIN" "" ? "event";
    }
    DC_REPOSITORY_HOOK_STATISTICS_SUMMARY "dc_repository_hook_statistics_summary" "/rest/api/latest/projects/{projectKey}/repos/{repositorySlug}/webhooks/{webhookId}/statistics/summary" {
        get GET "REPO_ADMIN" "";
    }
    DC_PROJECT_HOOKS "dc_project_hooks" "/rest/api/latest/projects/{projectKey}/webhooks" {
        list   GET  "PROJECT_ADMIN" "" ? "event statistics";
        create POST "PROJECT_ADMIN" "";
    }
    DC_PROJECT_HOOK_TEST "dc_project_hook_test" "/rest/api/latest/projects/{projectKey}/webhooks/test" {
        run POST "PROJECT_ADMIN" "" ? "sslVerificationRequired url webhookId";
    }
    DC_PROJECT_HOOK "dc_project_hook" "/rest/api/latest/projects/{projectKey}/webhooks/{webhookId}" {
        get    GET    "PROJECT_ADMIN" "" ? "statistics";
        update PUT    "PROJECT_ADMIN" "";
        delete DELETE "PROJECT_ADMIN" "";
    }
    DC_PROJECT_HOOK_LATEST "dc_project_hook_latest" "/rest/api/latest/projects/{projectKey}/webhooks/{webhookId}/latest" {
        get GET "PROJECT_ADMIN" "" ? "event outcome";
    }
    DC_PROJECT_HOOK_STATISTICS "dc_project_hook_statistics" "/rest/api/latest/projects/{projectKey}/webhooks/{webhookId}/statistics" {
        get GET "PROJECT_ADMIN" "" ? "event";
    }
    DC_PROJECT_HOOK_STATISTICS_SUMMARY "dc_project_hook_statistics_summary" "/rest/api/latest/projects/{projectKey}/webhooks/{webhookId}/statistics/summary" {
        get GET "PROJECT_ADMIN" "";
    }
    DC_PROJECT_ACCESS_TOKENS "dc_project_access_tokens" "/rest/access-tokens/latest/projects/{projectKey}" {
        list   GET "" "" ? "limit start";
        update PUT "" "";
    }
    DC_PROJECT_ACCESS_TOKEN "dc_project_access_token" "/rest/access-tokens/latest/projects/{projectKey}/{tokenId}" {
        get    GET    "" "";
        create POST   "" "";
        delete DELETE "" "";
    }
    DC_REPOSITORY_ACCESS_TOKENS "dc_repository_access_tokens" "/rest/access-tokens/latest/projects/{projectKey}/repos/{repositorySlug}" {
        list   GET "" "" ? "limit start";
        update PUT "" "";
    }
    DC_REPOSITORY_ACCESS_TOKEN "dc_repository_access_token" "/rest/access-tokens/latest/projects/{projectKey}/repos/{repositorySlug}/{tokenId}" {
        get    GET    "" "";
        create POST   "" "";
        delete DELETE "" "";
    }
    DC_USER_ACCESS_TOKENS "dc_user_access_tokens" "/rest/access-tokens/latest/users/{userSlug}" {
        list   GET "" "" ? "limit start";
        update PUT "" "";
    }
    DC_USER_ACCESS_TOKEN "dc_user_access_token" "/rest/access-tokens/latest/users/{userSlug}/{tokenId}" {
        get    GET    "" "";
        create POST   "" "";
        delete DELETE "" "";
    }
    DC_USERS "dc_users" "/rest/api/latest/users" {
        list   GET "PROJECT_ADMIN REPO_ADMIN" "" ? "filter group permission permission.N";
        update PUT ""                         "";
    }
    DC_USER "dc_user" "/rest/api/latest/users/{userSlug}" {
        get GET "" "";
    }
    DC_CODE_SEARCH "dc_code_search" "/rest/search/latest/search" {
        run POST "" "" service_only "bitbucket.md §7";
    }
}
