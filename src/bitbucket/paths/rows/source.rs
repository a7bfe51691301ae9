//! Files, file history, branches, tags and downloads (bitbucket.md §3.2.3, §3.2.4).

use super::rows;

rows! {
    Cloud;
    SOURCE_ROOT "source_root" "/repositories/{workspace}/{repo_slug}/src" {
        list   GET  "repository"       "read:repository" ? "format";
        create POST "repository:write" "write:repository" ? "author branch files message parents";
    }
    SOURCE "source" "/repositories/{workspace}/{repo_slug}/src/{commit}/{path}" (path: Root) {
        get  GET  "repository" "read:repository" ? "format max_depth q sort";
        head HEAD "repository" "read:repository" service_only "bitbucket.md §3.4";
    }
    FILE_HISTORY "file_history" "/repositories/{workspace}/{repo_slug}/filehistory/{commit}/{path}" {
        list GET "repository" "read:repository" ? "q renames sort";
    }
    REFS "refs" "/repositories/{workspace}/{repo_slug}/refs" {
        list GET "repository" "read:repository" ? "q sort";
    }
    BRANCHES "branches" "/repositories/{workspace}/{repo_slug}/refs/branches" {
        list   GET  "repository"       "read:repository" ? "q sort";
        create POST "repository:write" "read:repository write:repository";
    }
    BRANCH "branch" "/repositories/{workspace}/{repo_slug}/refs/branches/{name}" {
        get    GET    "repository"       "read:repository";
        delete DELETE "repository:write" "write:repository";
    }
    TAGS "tags" "/repositories/{workspace}/{repo_slug}/refs/tags" {
        list   GET  "repository"       "read:repository" ? "q sort";
        create POST "repository:write" "read:repository write:repository";
    }
    TAG "tag" "/repositories/{workspace}/{repo_slug}/refs/tags/{name}" {
        get    GET    "repository"       "read:repository";
        delete DELETE "repository:write" "write:repository";
    }
    DOWNLOADS "downloads" "/repositories/{workspace}/{repo_slug}/downloads" {
        list   GET  "repository"       "read:repository";
        create POST "repository:write" "write:repository";
    }
    DOWNLOAD "download" "/repositories/{workspace}/{repo_slug}/downloads/{filename}" {
        get    GET    "repository"       "read:repository";
        delete DELETE "repository:write" "write:repository";
    }
}
