//! Deployments, environments and their variables (bitbucket.md §3.2.7).

use super::rows;

rows! {
    Cloud;
    DEPLOYMENTS "deployments" "/repositories/{workspace}/{repo_slug}/deployments" {
        list GET "pipeline" "read:pipeline";
    }
    DEPLOYMENT "deployment" "/repositories/{workspace}/{repo_slug}/deployments/{deployment_uuid}" {
        get GET "pipeline" "read:pipeline";
    }
    ENVIRONMENTS "environments" "/repositories/{workspace}/{repo_slug}/environments" {
        list   GET  "pipeline" "read:pipeline";
        create POST "pipeline" "admin:pipeline";
    }
    ENVIRONMENT "environment" "/repositories/{workspace}/{repo_slug}/environments/{environment_uuid}" {
        get    GET    "pipeline" "read:pipeline";
        delete DELETE "pipeline" "admin:pipeline";
    }
    ENVIRONMENT_CHANGES "environment_changes" "/repositories/{workspace}/{repo_slug}/environments/{environment_uuid}/changes" {
        run POST "pipeline" "admin:pipeline";
    }
    ENVIRONMENT_VARIABLES "environment_variables" "/repositories/{workspace}/{repo_slug}/deployments_config/environments/{environment_uuid}/variables" {
        list   GET  "pipeline"          "read:pipeline";
        create POST "pipeline:variable" "admin:pipeline";
    }
    ENVIRONMENT_VARIABLE "environment_variable" "/repositories/{workspace}/{repo_slug}/deployments_config/environments/{environment_uuid}/variables/{variable_uuid}" {
        update PUT    "pipeline:variable" "admin:pipeline";
        delete DELETE "pipeline:variable" "admin:pipeline";
    }
}
