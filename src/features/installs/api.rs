//! The descriptor, and what handlers of signed requests share.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::SignedRequest;
use crate::app::App;
use crate::atlassian::jwt;

/// `GET /extensions/bitbucket/descriptor/`.
pub async fn descriptor(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().json(super::descriptor(&app))
}

/// The parts of a request that its Connect token is about, as they came in.
#[must_use]
pub fn signed_request(req: &HttpRequest) -> SignedRequest<'_> {
    SignedRequest {
        request: jwt::Request {
            method: req.method().as_str(),
            path: req.uri().path(),
            query: req.uri().query(),
            // The public URL has no path: the server owns its host.
            base_path: "",
        },
        authorization: req
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()),
    }
}
