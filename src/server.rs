//! The HTTP server: sockets, middleware, limits. Used by `serve` and by the tests.

use std::net::TcpListener;

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App as Actix, HttpServer, web};

use crate::app::App;
use crate::error::AppError;
use crate::features::ops::pages;
use crate::kit::web::client::TrustedProxies;
use crate::kit::web::middleware;
use crate::routes;

/// Largest JSON body of an API call, in bytes.
const JSON_LIMIT: usize = 2 * 1024 * 1024;

/// A server on `listener` that has not been awaited yet.
///
/// # Errors
/// When the socket cannot be used.
pub fn http_server(app: App, listener: TcpListener, workers: usize) -> std::io::Result<Server> {
    // Built here, once: the factory below runs once per worker thread.
    let proxies = web::Data::new(TrustedProxies(app.config.trusted_proxies.clone()));
    let app = web::Data::new(app);
    let server = HttpServer::new(move || {
        Actix::new()
            .app_data(app.clone())
            .app_data(proxies.clone())
            .app_data(
                web::JsonConfig::default()
                    .limit(JSON_LIMIT)
                    .content_type_required(false)
                    .error_handler(|error, _| {
                        use actix_web::error::JsonPayloadError as E;
                        let error = match error {
                            E::Overflow { .. } | E::OverflowKnownLength { .. } => {
                                AppError::too_large("The JSON body is too large.")
                            }
                            error => AppError::invalid(format!(
                                "The body is not the JSON that was expected: {error}"
                            )),
                        };
                        error.into()
                    }),
            )
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                AppError::invalid(format!("The query is not valid: {error}")).into()
            }))
            .app_data(web::PathConfig::default().error_handler(|_, _| AppError::not_found().into()))
            // The first is the innermost.
            .wrap(from_fn(refuse_nul))
            // Sees the cause of an error, before a page takes its place.
            .wrap(from_fn(middleware::observe))
            .wrap(from_fn(pages::errors_as_pages))
            .wrap(from_fn(middleware::harden))
            .configure(routes::configure)
    })
    .workers(workers)
    .shutdown_timeout(10)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

/// Nothing that we have is named with a NUL, and PostgreSQL takes none in a text: a path with one is not found, a
/// query with one is not valid, on both databases and before any handler looks.
async fn refuse_nul<B: MessageBody>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    if req.path().contains("%00") {
        return Err(AppError::not_found().into());
    }
    if req.query_string().contains("%00") {
        return Err(AppError::invalid("The query holds a NUL.").into());
    }
    next.call(req).await
}
