//! The JSON responses of all guards.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

/// `{"error": message, "code": code}` with `status`, never cached. JSON is UTF-8 and has no charset
/// parameter.
///
/// Both strings are constants of this crate and hold nothing that JSON would have to escape.
pub(crate) fn error(status: StatusCode, code: &'static str, message: &'static str) -> Response {
    let mut response =
        Response::new(Body::from(format!(r#"{{"error":"{message}","code":"{code}"}}"#)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 500: a layer is missing or in the wrong place. A debug build says how in its response.
pub(crate) fn mistake(what: &'static str) -> Response {
    tracing::error!("{what}");
    let message = if cfg!(debug_assertions) { what } else { "something went wrong on our side" };
    error(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
}
