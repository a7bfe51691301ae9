//! Static files, and errors as pages for people.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::Shell;
use crate::kit::web::middleware::REQUEST_ID;
use crate::kit::web::render;

/// A style sheet, script or image; its name holds a hash of its content, so it never changes.
///
/// # Errors
/// 404.
pub async fn static_file(name: web::Path<String>) -> AppResult<HttpResponse> {
    let file = render::static_file(&name).ok_or_else(AppError::not_found)?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(file.bytes))
}

#[derive(Serialize)]
struct ErrorPage<'a> {
    error: ErrorPart<'a>,
}

#[derive(Serialize)]
struct ErrorPart<'a> {
    status: u16,
    title: &'static str,
    detail: &'a str,
    code: &'static str,
    next: Vec<&'static str>,
    request_id: Option<String>,
}

/// Turns an error into a page where a person looks: a browser's request outside the APIs. Who is not signed in
/// is sent to the sign-in page and back.
///
/// # Errors
/// Passes on what the inner service answers.
pub async fn errors_as_pages<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(req).await?;
    let request = response.request();
    let status = response.status();
    if let Some(app) = request.app_data::<web::Data<App>>() {
        let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
        app.metrics.request(&route, status.as_u16());
    }
    if !status.is_client_error() && !status.is_server_error() || !wants_page(request) {
        return Ok(response.map_into_boxed_body());
    }
    let Some(app) = request
        .app_data::<web::Data<App>>()
        .map(|app| App::clone(app))
    else {
        return Ok(response.map_into_boxed_body());
    };
    let fallback;
    let error = match response
        .response()
        .error()
        .and_then(|error| error.as_error::<AppError>())
    {
        Some(error) => error,
        None if response.response().error().is_none()
            && status != StatusCode::METHOD_NOT_ALLOWED =>
        {
            return Ok(response.map_into_boxed_body());
        }
        None => {
            fallback =
                AppError::invalid("The request could not be understood.").with_status(status);
            &fallback
        }
    };
    let request_id = response.headers().get(REQUEST_ID).cloned();
    let mut page = if status == StatusCode::UNAUTHORIZED
        && error.code() == "unauthenticated"
        && *request.method() == Method::GET
    {
        to_sign_in(request)
    } else {
        let shown = request_id.as_ref().and_then(|id| id.to_str().ok());
        error_page(&app, request, status, error, shown)
    };
    if let Some(id) = request_id {
        page.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response.into_response(page))
}

fn wants_page(req: &HttpRequest) -> bool {
    let accepts = req
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    accepts && !req.path().starts_with("/api/")
}

fn to_sign_in(req: &HttpRequest) -> HttpResponse {
    let next: String =
        url::form_urlencoded::byte_serialize(req.uri().to_string().as_bytes()).collect();
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, format!("/sign-in/?next={next}")))
        .finish()
}

fn error_page(
    app: &App,
    req: &HttpRequest,
    status: StatusCode,
    error: &AppError,
    request_id: Option<&str>,
) -> HttpResponse {
    let (title, next) = words(status);
    let content = ErrorPage {
        error: ErrorPart {
            status: status.as_u16(),
            title,
            detail: error.detail(),
            code: error.code(),
            next,
            request_id: request_id.map(str::to_owned),
        },
    };
    let shell = Shell::new(app, req, title, "");
    let mut page = shell
        .page_with_status(app, status, "error.html", content)
        .unwrap_or_else(|_| HttpResponse::build(status).body(error.detail().to_owned()));
    if let Some(seconds) = error.retry_after() {
        page.headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    page
}

fn words(status: StatusCode) -> (&'static str, Vec<&'static str>) {
    match status.as_u16() {
        401 => (
            "This did not verify",
            vec!["Start again from where you came."],
        ),
        403 => (
            "You may not do this",
            vec!["Ask an owner of the organization for the role that it needs."],
        ),
        404 => (
            "There is nothing here",
            vec![
                "Check the address.",
                "Go back to the list and search there.",
            ],
        ),
        409 => (
            "This changed in the meantime",
            vec!["Go back, reload, and look again."],
        ),
        413 => ("That is too large", vec!["Send less."]),
        429 => ("Too many tries", vec!["Wait a minute and try again."]),
        503 => (
            "Busy right now",
            vec!["Wait a few seconds and try again. Nothing was lost."],
        ),
        500.. => (
            "Something broke on our side",
            vec![
                "Try again.",
                "If it stays, give the operator the request id below.",
            ],
        ),
        _ => (
            "That request was not right",
            vec!["Go back and check what you entered."],
        ),
    }
}
