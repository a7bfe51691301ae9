//! The whole URL table. One line per method; the order is the order of matching.

use actix_web::web;

use crate::features::{accounts, installs, links, ops};

/// Registers the table and keeps it as data: the tenant test walks every row.
macro_rules! routes {
    ($($path:literal => { $($method:ident: $handler:path),+ $(,)? }),+ $(,)?) => {
        /// Method and path pattern of every route.
        pub const TABLE: &[(&str, &str)] = &[$($((stringify!($method), $path),)+)+];

        fn table(config: &mut web::ServiceConfig) {
            $(config.service(web::resource($path)$(.route(web::$method().to($handler)))+);)+
        }
    };
}

routes! {
    "/healthz" => { get: ops::api::healthz },
    "/readyz" => { get: ops::api::readyz },
    "/metrics" => { get: ops::api::metrics },
    "/static/{name}" => { get: ops::pages::static_file },

    // People
    "/" => { get: accounts::pages::root },
    "/welcome/" => { get: accounts::pages::welcome, post: accounts::pages::welcome_submit },
    "/sign-in/" => { get: accounts::pages::sign_in, post: accounts::pages::sign_in_submit },
    "/sign-out/" => { post: accounts::pages::sign_out },
    "/o/{org}/settings/" => { get: accounts::pages::settings },
    "/o/{org}/settings/tokens/" => { post: accounts::pages::create_token },
    "/o/{org}/settings/tokens/{token}/revoke/" => { post: accounts::pages::revoke_token },
    "/o/{org}/jobs/" => { get: ops::jobs::list },
    "/o/{org}/jobs/redrive/" => { post: ops::jobs::redrive_all },
    "/o/{org}/jobs/{job}/" => { get: ops::jobs::detail },
    "/o/{org}/jobs/{job}/redrive/" => { post: ops::jobs::redrive },
    "/o/{org}/jobs/{job}/drop/" => { post: ops::jobs::drop },

    // Connect
    "/extensions/bitbucket/descriptor/" => { get: installs::api::descriptor },
    "/extensions/bitbucket/installed/" => { post: links::lifecycle::installed },
    "/extensions/bitbucket/uninstalled/" => { post: links::lifecycle::uninstalled },
    "/extensions/bitbucket/setup/" => { get: links::setup::setup },
    "/extensions/bitbucket/setup/confirm/" => { get: links::setup::confirm_page, post: links::setup::confirm },

    // Connections and repositories
    "/o/{org}/connections/" => { get: links::pages::list },
    "/o/{org}/connections/{link}/" => { get: links::pages::detail },
    "/o/{org}/connections/{link}/done/" => { get: links::pages::done },
    "/o/{org}/connections/{link}/repos/" => { post: links::pages::add },
    "/o/{org}/connections/{link}/repos/{repo}/repair/" => { post: links::pages::repair },
    "/o/{org}/connections/{link}/repos/{repo}/rotate/" => { post: links::pages::rotate },
    "/o/{org}/connections/{link}/repos/{repo}/remove/" => { post: links::pages::remove },
    "/o/{org}/connections/{link}/disconnect/" => { post: links::pages::disconnect_submit },
    "/o/{org}/repos/" => { get: links::pages::repositories },

    // Sentry's API: organizations and projects
    "/api/0/" => { get: accounts::api::root },
    "/api/0/organizations/" => { get: accounts::api::list_orgs },
    "/api/0/organizations/{org}/" => { get: accounts::api::org_detail },
    "/api/0/organizations/{org}/projects/" => { get: accounts::api::list_projects, post: accounts::api::new_project },
    "/api/0/projects/{org}/{project}/" => { get: accounts::api::project_detail },
    "/api/0/projects/{org}/{project}/keys/" => { get: accounts::api::project_keys },

    // Sentry's API: integrations and repositories
    "/api/0/organizations/{org}/config/integrations/" => { get: links::api::directory },
    "/api/0/organizations/{org}/integrations/" => { get: links::api::list },
    "/api/0/organizations/{org}/integrations/{integration}/" => { get: links::api::detail, post: links::api::configure, delete: links::api::remove },
    "/api/0/organizations/{org}/integrations/{integration}/repos/" => { get: links::api::search },
    "/api/0/organizations/{org}/repos/" => { get: links::api::list_repos, post: links::api::add_repo },
    "/api/0/organizations/{org}/repos/{repo}/" => { put: links::api::edit_repo, delete: links::api::remove_repo },
}

/// Attaches every route to a server.
pub fn configure(config: &mut web::ServiceConfig) {
    table(config);
    config.default_service(web::to(ops::api::no_such_url));
}
