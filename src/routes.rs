//! The whole URL table. One line per method; the order is the order of matching.

use actix_web::web;

use crate::features::ops;

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
}

/// Attaches every route to a server.
pub fn configure(config: &mut web::ServiceConfig) {
    table(config);
    config.default_service(web::to(ops::api::no_such_url));
}
