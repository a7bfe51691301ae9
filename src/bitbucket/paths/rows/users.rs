//! The current user, other users, their keys and properties (bitbucket.md §3.2.14, §3.2.8).

use super::rows;

rows! {
    Cloud;
    CURRENT_USER "current_user" "/user" {
        get GET "account" "read:user";
    }
    EMAILS "emails" "/user/emails" {
        list GET "email" "read:user";
    }
    EMAIL "email" "/user/emails/{email}" {
        get GET "email" "read:user";
    }
    USER_REPOSITORY_PERMISSIONS "user_repository_permissions" "/user/permissions/repositories" {
        list GET "account repository" "read:repository" ? "q sort" deprecated CROSS_WORKSPACE;
    }
    USER_WORKSPACE_PERMISSIONS "user_workspace_permissions" "/user/permissions/workspaces" {
        list GET "account" "read:user read:workspace" ? "q sort" deprecated CROSS_WORKSPACE;
    }
    USER_WORKSPACES "user_workspaces" "/user/workspaces" {
        list GET "account" "read:workspace" ? "administrator sort";
    }
    USER_WORKSPACE_PERMISSION "user_workspace_permission" "/user/workspaces/{workspace}/permission" {
        get GET "account" "read:workspace";
    }
    USER_WORKSPACE_REPOSITORY_PERMISSIONS "user_workspace_repository_permissions" "/user/workspaces/{workspace}/permissions/repositories" {
        list GET "account repository" "read:repository" ? "q sort";
    }
    USER "user" "/users/{selected_user}" {
        get GET "" "read:user";
    }
    GPG_KEYS "gpg_keys" "/users/{selected_user}/gpg-keys" {
        list   GET  "account"       "read:gpg-key";
        create POST "account:write" "read:gpg-key write:gpg-key";
    }
    GPG_KEY "gpg_key" "/users/{selected_user}/gpg-keys/{fingerprint}" {
        get    GET    "account"       "read:gpg-key";
        delete DELETE "account:write" "delete:gpg-key";
    }
    USER_PROPERTY "user_property" "/users/{selected_user}/properties/{app_key}/{property_name}" {
        get    GET    "" "admin:workspace";
        update PUT    "" "";
        delete DELETE "" "";
    }
    SSH_KEYS "ssh_keys" "/users/{selected_user}/ssh-keys" {
        list   GET  "account"       "read:ssh-key";
        create POST "account:write" "read:ssh-key write:ssh-key" ? "expires_on";
    }
    SSH_KEY "ssh_key" "/users/{selected_user}/ssh-keys/{key_id}" {
        get    GET    "account"       "read:ssh-key";
        update PUT    "account:write" "read:ssh-key write:ssh-key";
        delete DELETE "account:write" "delete:ssh-key";
    }
}
