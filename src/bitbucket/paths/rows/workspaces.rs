//! Workspaces, their members and permissions (bitbucket.md §3.2.13).

use super::rows;

rows! {
    Cloud;
    WORKSPACES "workspaces" "/workspaces" {
        list GET "account" "read:user read:workspace" ? "q role sort" deprecated CROSS_WORKSPACE;
    }
    WORKSPACE "workspace" "/workspaces/{workspace}" {
        get GET "" "read:workspace";
    }
    WORKSPACE_MEMBERS "workspace_members" "/workspaces/{workspace}/members" {
        list GET "account" "read:workspace";
    }
    WORKSPACE_MEMBER "workspace_member" "/workspaces/{workspace}/members/{member}" {
        get GET "account" "read:workspace";
    }
    WORKSPACE_PERMISSIONS "workspace_permissions" "/workspaces/{workspace}/permissions" {
        list GET "account" "read:workspace" ? "q";
    }
    WORKSPACE_REPOSITORY_PERMISSIONS "workspace_repository_permissions" "/workspaces/{workspace}/permissions/repositories" {
        list GET "account" "read:repository" ? "q sort";
    }
    WORKSPACE_REPOSITORY_PERMISSION "workspace_repository_permission" "/workspaces/{workspace}/permissions/repositories/{repo_slug}" {
        list GET "repository" "read:repository" ? "q sort";
    }
    WORKSPACE_GPG_PUBLIC_KEY "workspace_gpg_public_key" "/workspaces/{workspace}/settings/gpg/public-key" {
        get GET "account" "read:workspace";
    }
}
