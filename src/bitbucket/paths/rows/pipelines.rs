//! Runs of pipelines, their steps, logs and test reports (bitbucket.md §3.2.6).

use super::rows;

rows! {
    Cloud;
    PIPELINES "pipelines" "/repositories/{workspace}/{repo_slug}/pipelines" {
        list   GET  "pipeline" "read:pipeline" ? "created_on creator.uuid page pagelen sort status target.branch target.commit.hash target.ref_name target.ref_type target.selector.pattern target.selector.type trigger_type";
        create POST "pipeline" "read:pipeline write:pipeline";
    }
    PIPELINE "pipeline" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}" {
        get GET "pipeline" "read:pipeline";
    }
    PIPELINE_STEPS "pipeline_steps" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/steps" {
        list GET "pipeline" "read:pipeline";
    }
    PIPELINE_STEP "pipeline_step" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/steps/{step_uuid}" {
        get GET "pipeline" "read:pipeline";
    }
    PIPELINE_STEP_LOG "pipeline_step_log" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/steps/{step_uuid}/log" {
        get GET "pipeline" "read:pipeline";
    }
    PIPELINE_CONTAINER_LOG "pipeline_container_log" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/steps/{step_uuid}/logs/{log_uuid}" {
        get GET "pipeline" "read:pipeline";
    }
    PIPELINE_TEST_REPORTS "pipeline_test_reports" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/steps/{step_uuid}/test_reports" {
        list GET "pipeline" "read:pipeline";
    }
    PIPELINE_TEST_CASES "pipeline_test_cases" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/steps/{step_uuid}/test_reports/test_cases" {
        list GET "pipeline" "read:pipeline";
    }
    PIPELINE_TEST_CASE_REASONS "pipeline_test_case_reasons" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/steps/{step_uuid}/test_reports/test_cases/{test_case_uuid}/test_case_reasons" {
        list GET "pipeline" "read:pipeline";
    }
    PIPELINE_STOP "pipeline_stop" "/repositories/{workspace}/{repo_slug}/pipelines/{pipeline_uuid}/stopPipeline" {
        run POST "pipeline:write" "write:pipeline";
    }
}
