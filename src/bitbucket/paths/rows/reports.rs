//! Build statuses and Code Insights of a commit (bitbucket.md §3.2.8).

use super::rows;

rows! {
    Cloud;
    REPORTS "reports" "/repositories/{workspace}/{repo_slug}/commit/{commit}/reports" {
        list GET "repository" "read:repository";
    }
    REPORT "report" "/repositories/{workspace}/{repo_slug}/commit/{commit}/reports/{reportId}" {
        get    GET    "repository" "read:repository";
        update PUT    "repository" "read:repository";
        delete DELETE "repository" "read:repository";
    }
    ANNOTATIONS "annotations" "/repositories/{workspace}/{repo_slug}/commit/{commit}/reports/{reportId}/annotations" {
        list   GET  "repository" "read:repository";
        create POST "repository" "read:repository";
    }
    ANNOTATION "annotation" "/repositories/{workspace}/{repo_slug}/commit/{commit}/reports/{reportId}/annotations/{annotationId}" {
        get    GET    "repository" "read:repository";
        update PUT    "repository" "read:repository";
        delete DELETE "repository" "read:repository";
    }
    COMMIT_STATUSES "commit_statuses" "/repositories/{workspace}/{repo_slug}/commit/{commit}/statuses" {
        list GET "repository" "read:repository" ? "q refname sort";
    }
    BUILD_STATUSES "build_statuses" "/repositories/{workspace}/{repo_slug}/commit/{commit}/statuses/build" {
        create POST "repository" "read:repository";
    }
    BUILD_STATUS "build_status" "/repositories/{workspace}/{repo_slug}/commit/{commit}/statuses/build/{key}" {
        get    GET "repository" "read:repository";
        update PUT "repository" "read:repository";
    }
}
