//! Settings of pipelines: variables, schedules, SSH, caches, runners, OpenID (bitbucket.md §3.2.6).

use super::rows;

rows! {
    Cloud;
    PIPELINES_CONFIG "pipelines_config" "/repositories/{workspace}/{repo_slug}/pipelines_config" {
        get    GET "repository:admin" "admin:repository";
        update PUT "repository:admin" "admin:repository";
    }
    PIPELINES_BUILD_NUMBER "pipelines_build_number" "/repositories/{workspace}/{repo_slug}/pipelines_config/build_number" {
        update PUT "pipeline:variable" "admin:pipeline";
    }
    PIPELINE_SCHEDULES "pipeline_schedules" "/repositories/{workspace}/{repo_slug}/pipelines_config/schedules" {
        list   GET  "pipeline"       "read:pipeline";
        create POST "pipeline:write" "read:pipeline write:pipeline";
    }
    PIPELINE_SCHEDULE "pipeline_schedule" "/repositories/{workspace}/{repo_slug}/pipelines_config/schedules/{schedule_uuid}" {
        get    GET    "pipeline"       "read:pipeline";
        update PUT    "pipeline:write" "read:pipeline write:pipeline";
        delete DELETE "pipeline:write" "write:pipeline";
    }
    PIPELINE_SCHEDULE_EXECUTIONS "pipeline_schedule_executions" "/repositories/{workspace}/{repo_slug}/pipelines_config/schedules/{schedule_uuid}/executions" {
        list GET "pipeline" "read:pipeline";
    }
    PIPELINES_SSH_KEY_PAIR "pipelines_ssh_key_pair" "/repositories/{workspace}/{repo_slug}/pipelines_config/ssh/key_pair" {
        get    GET    "pipeline"          "read:pipeline";
        update PUT    "pipeline:variable" "admin:pipeline";
        delete DELETE "pipeline:variable" "admin:pipeline";
    }
    PIPELINES_KNOWN_HOSTS "pipelines_known_hosts" "/repositories/{workspace}/{repo_slug}/pipelines_config/ssh/known_hosts" {
        list   GET  "pipeline"          "read:pipeline";
        create POST "pipeline:variable" "admin:pipeline";
    }
    PIPELINES_KNOWN_HOST "pipelines_known_host" "/repositories/{workspace}/{repo_slug}/pipelines_config/ssh/known_hosts/{known_host_uuid}" {
        get    GET    "pipeline"          "read:pipeline";
        update PUT    "pipeline:variable" "admin:pipeline";
        delete DELETE "pipeline:variable" "admin:pipeline";
    }
    REPOSITORY_VARIABLES "repository_variables" "/repositories/{workspace}/{repo_slug}/pipelines_config/variables" {
        list   GET  "pipeline"          "read:pipeline";
        create POST "pipeline:variable" "admin:pipeline";
    }
    REPOSITORY_VARIABLE "repository_variable" "/repositories/{workspace}/{repo_slug}/pipelines_config/variables/{variable_uuid}" {
        get    GET    "pipeline"          "read:pipeline";
        update PUT    "pipeline:variable" "admin:pipeline";
        delete DELETE "pipeline:variable" "admin:pipeline";
    }
    PIPELINE_CACHES "pipeline_caches" "/repositories/{workspace}/{repo_slug}/pipelines-config/caches" {
        list   GET    "pipeline"       "read:pipeline";
        delete DELETE "pipeline:write" "write:pipeline" ? "name";
    }
    PIPELINE_CACHE "pipeline_cache" "/repositories/{workspace}/{repo_slug}/pipelines-config/caches/{cache_uuid}" {
        delete DELETE "pipeline:write" "write:pipeline";
    }
    PIPELINE_CACHE_CONTENT_URI "pipeline_cache_content_uri" "/repositories/{workspace}/{repo_slug}/pipelines-config/caches/{cache_uuid}/content-uri" {
        get GET "pipeline" "read:pipeline";
    }
    REPOSITORY_RUNNERS "repository_runners" "/repositories/{workspace}/{repo_slug}/pipelines-config/runners" {
        list   GET  "runner"       "read:runner";
        create POST "runner:write" "read:runner write:runner";
    }
    REPOSITORY_RUNNER "repository_runner" "/repositories/{workspace}/{repo_slug}/pipelines-config/runners/{runner_uuid}" {
        get    GET    "runner"       "read:runner";
        update PUT    "runner:write" "read:runner write:runner";
        delete DELETE "runner:write" "write:runner";
    }
    WORKSPACE_OIDC_CONFIGURATION "workspace_oidc_configuration" "/workspaces/{workspace}/pipelines-config/identity/oidc/.well-known/openid-configuration" {
        get GET "" "";
    }
    WORKSPACE_OIDC_KEYS "workspace_oidc_keys" "/workspaces/{workspace}/pipelines-config/identity/oidc/keys.json" {
        get GET "" "";
    }
    WORKSPACE_RUNNERS "workspace_runners" "/workspaces/{workspace}/pipelines-config/runners" {
        list   GET  "runner"       "read:runner";
        create POST "runner:write" "read:runner write:runner";
    }
    WORKSPACE_RUNNER "workspace_runner" "/workspaces/{workspace}/pipelines-config/runners/{runner_uuid}" {
        get    GET    "runner"       "read:runner";
        update PUT    "runner:write" "read:runner write:runner";
        delete DELETE "runner:write" "write:runner";
    }
    WORKSPACE_VARIABLES "workspace_variables" "/workspaces/{workspace}/pipelines-config/variables" {
        list   GET  "pipeline"          "read:pipeline";
        create POST "pipeline:variable" "admin:pipeline";
    }
    WORKSPACE_VARIABLE "workspace_variable" "/workspaces/{workspace}/pipelines-config/variables/{variable_uuid}" {
        get    GET    "pipeline"          "read:pipeline";
        update PUT    "pipeline:variable" "admin:pipeline";
        delete DELETE "pipeline:variable" "admin:pipeline";
    }
    TEAM_VARIABLES "team_variables" "/teams/{username}/pipelines_config/variables" {
        list   GET  "pipeline"          "" deprecated MARKED;
        create POST "pipeline:variable" "" deprecated MARKED;
    }
    TEAM_VARIABLE "team_variable" "/teams/{username}/pipelines_config/variables/{variable_uuid}" {
        get    GET    "pipeline"          "" deprecated MARKED;
        update PUT    "pipeline:variable" "" deprecated MARKED;
        delete DELETE "pipeline:variable" "" deprecated MARKED;
    }
    USER_VARIABLES "user_variables" "/users/{selected_user}/pipelines_config/variables" {
        list   GET  "pipeline"          "" deprecated MARKED;
        create POST "pipeline:variable" "" deprecated MARKED;
    }
    USER_VARIABLE "user_variable" "/users/{selected_user}/pipelines_config/variables/{variable_uuid}" {
        get    GET    "pipeline"          "" deprecated MARKED;
        update PUT    "pipeline:variable" "" deprecated MARKED;
        delete DELETE "pipeline:variable" "" deprecated MARKED;
    }
}
