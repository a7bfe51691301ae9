//! The whole URL table. One line per method; the order is the order of matching.

use actix_web::web;

use crate::features::{
    accounts, deliveries, groups, installs, intake, links, ops, releases, tickets,
};

/// Registers the table and keeps it as data: the tenant test walks every row.
macro_rules! routes {
    ($($path:literal => { $($method:ident: $handler:path),+ $(,)? }),+ $(,)?) => {
        /// Method and path pattern of every route.
        pub const TABLE: &[(&str, &str)] = &[$($((stringify!($method), $path),)+)+];

        fn table(config: &mut web::ServiceConfig) {
            $(config.service(
                web::resource($path)
                    $(.route(method::$method().to($handler)))+
                    .default_service(web::to(|| ops::api::wrong_method(&[$(stringify!($method)),+]))),
            );)+
        }
    };
}

/// The methods of the table.
mod method {
    pub(super) use actix_web::web::{delete, get, post, put};

    /// `OPTIONS`, which actix has no function for.
    pub(super) fn options() -> actix_web::Route {
        actix_web::web::method(actix_web::http::Method::OPTIONS)
    }
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
    "/join/" => { get: accounts::join::page, post: accounts::join::submit },
    "/account/tokens/" => { get: accounts::my_tokens::page, post: accounts::my_tokens::create },
    "/account/tokens/{token}/revoke/" => { post: accounts::my_tokens::revoke },
    "/o/{org}/settings/" => { get: accounts::settings::settings },
    "/o/{org}/settings/invitations/" => { post: accounts::settings::invite },
    "/o/{org}/settings/invitations/{invitation}/withdraw/" => { post: accounts::settings::withdraw },
    "/o/{org}/settings/members/{user}/role/" => { post: accounts::settings::change_role },
    "/o/{org}/settings/members/{user}/remove/" => { post: accounts::settings::remove },
    "/o/{org}/settings/tokens/" => { post: accounts::settings::create_token },
    "/o/{org}/settings/tokens/{token}/revoke/" => { post: accounts::settings::revoke_token },
    "/o/{org}/deliveries/" => { get: deliveries::pages::list },
    "/o/{org}/deliveries/{delivery}/" => { get: deliveries::pages::detail },
    "/o/{org}/deliveries/{delivery}/replay/" => { post: deliveries::pages::replay },
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
    "/extensions/bitbucket/oauth/callback/" => { get: links::connecting::consent::callback },
    "/extensions/bitbucket/setup/confirm/" => { get: links::setup::confirm_page, post: links::setup::confirm },

    // Webhooks of Bitbucket
    "/extensions/bitbucket/organizations/{organization_id}/webhook/" => { post: deliveries::api::webhook },
    "/extensions/bitbucket-server/webhook/{organization_id}/{link}/" => { post: deliveries::api::server_webhook },

    // Connections and repositories
    "/o/{org}/connections/" => { get: links::pages::list },
    "/o/{org}/connections/new/" => { get: links::connecting::choose },
    "/o/{org}/connections/new/form/" => { get: links::connecting::form, post: links::connecting::submit },
    "/o/{org}/connections/{link}/" => { get: links::pages::detail },
    "/o/{org}/connections/{link}/done/" => { get: links::pages::done },
    "/o/{org}/connections/{link}/repos/" => { post: links::actions::add },
    "/o/{org}/connections/{link}/adding/{bulk}/" => { get: links::bulk::pages::progress },
    "/o/{org}/connections/{link}/adding/{bulk}/retry/" => { post: links::bulk::pages::try_again },
    "/o/{org}/connections/{link}/repos/{repo}/repair/" => { post: links::actions::repair },
    "/o/{org}/connections/{link}/repos/{repo}/rotate/" => { post: links::actions::rotate },
    "/o/{org}/connections/{link}/repos/{repo}/remove/" => { post: links::actions::remove },
    "/o/{org}/connections/{link}/repos/{repo}/move/" => { post: links::actions::move_repo },
    "/o/{org}/connections/{link}/edit/" => { post: links::actions::describe },
    "/o/{org}/connections/{link}/test/" => { post: links::actions::test },
    "/o/{org}/connections/{link}/signing/" => { post: links::actions::signing },
    "/o/{org}/connections/{link}/reauthorise/" => { get: links::connecting::renew_form, post: links::connecting::renew },
    "/o/{org}/connections/{link}/disconnect/" => { post: links::actions::disconnect_submit },
    "/o/{org}/repos/" => { get: links::pages::repositories },
    // Errors
    "/o/{org}/settings/projects/" => { get: groups::projects::page, post: groups::projects::create },
    "/o/{org}/errors/" => { get: tickets::pages::list },
    "/o/{org}/errors/bulk/" => { post: groups::pages::bulk },
    "/o/{org}/errors/{issue}/" => { get: tickets::pages::detail },
    "/o/{org}/errors/{issue}/events/{event}/" => { get: tickets::pages::detail },
    "/o/{org}/errors/{issue}/tickets/new/" => { get: tickets::pages::create_page, post: tickets::pages::create_submit },
    "/o/{org}/errors/{issue}/tickets/link/" => { get: tickets::pages::link_page, post: tickets::pages::link_submit },
    "/o/{org}/errors/{issue}/tickets/{ticket}/unlink/" => { post: tickets::pages::unlink_submit },
    "/o/{org}/errors/{issue}/tickets/{ticket}/retry/" => { post: tickets::pages::retry_submit },
    "/o/{org}/errors/{issue}/status/" => { post: groups::pages::set_status },
    "/o/{org}/errors/{issue}/notes/" => { post: groups::pages::add_note },
    "/o/{org}/errors/{issue}/events/{event}/json/" => { get: groups::pages::event_json },
    "/organizations/{org}/issues/{issue}/" => { get: groups::pages::permalink },

    // Tickets
    "/api/0/organizations/{org}/issues/{issue}/integrations/" => { get: tickets::api::list },
    "/api/0/organizations/{org}/issues/{issue}/integrations/{integration}/" => {
        get: tickets::api::config, post: tickets::api::create, put: tickets::api::put, delete: tickets::api::unlink,
    },
    "/api/0/issues/{issue}/integrations/" => { get: tickets::api::list },
    "/api/0/issues/{issue}/integrations/{integration}/" => {
        get: tickets::api::config, post: tickets::api::create, put: tickets::api::put, delete: tickets::api::unlink,
    },
    "/extensions/bitbucket/search/{org}/{integration}/" => { get: tickets::api::search },

    // Events from SDKs
    "/api/{project}/envelope/" => { post: intake::api::envelope, options: intake::api::options },
    "/api/{project}/store/" => { post: intake::api::store, options: intake::api::options },

    // Sentry's API: groups and events
    "/api/0/projects/{org}/{project}/issues/" => {
        get: groups::api::list_of_project, put: groups::api::update_of_project,
    },
    "/api/0/projects/{org}/{project}/events/" => { get: groups::api::events::list_of_project },
    "/api/0/projects/{org}/{project}/events/{event}/" => { get: groups::api::events::one_of_project },
    "/api/0/organizations/{org}/issues/" => { get: groups::api::list_of_org, put: groups::api::update_of_org },
    "/api/0/organizations/{org}/shortids/{short}/" => { get: groups::api::short_id },
    "/api/0/organizations/{org}/issues/{issue}/" => {
        get: groups::api::detail, put: groups::api::update, delete: groups::api::delete,
    },
    "/api/0/organizations/{org}/issues/{issue}/events/" => { get: groups::api::events::list_of_group },
    "/api/0/organizations/{org}/issues/{issue}/events/{event}/" => { get: groups::api::events::one_of_group },
    "/api/0/organizations/{org}/issues/{issue}/comments/" => {
        get: groups::api::notes::list, post: groups::api::notes::create,
    },
    "/api/0/organizations/{org}/issues/{issue}/comments/{note}/" => {
        put: groups::api::notes::edit, delete: groups::api::notes::delete,
    },
    "/api/0/issues/{issue}/" => {
        get: groups::api::detail, put: groups::api::update, delete: groups::api::delete,
    },
    "/api/0/issues/{issue}/events/" => { get: groups::api::events::list_of_group },
    "/api/0/issues/{issue}/events/{event}/" => { get: groups::api::events::one_of_group },
    "/api/0/issues/{issue}/comments/" => { get: groups::api::notes::list, post: groups::api::notes::create },
    "/api/0/issues/{issue}/comments/{note}/" => { put: groups::api::notes::edit, delete: groups::api::notes::delete },

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
    "/api/0/organizations/{org}/repos/{repo}/commits/" => { get: releases::api::repo_commits },
}

/// Attaches every route to a server.
pub fn configure(config: &mut web::ServiceConfig) {
    table(config);
    config.default_service(web::to(ops::api::no_such_url));
}
