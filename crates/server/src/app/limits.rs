//! Bounds on every request: time, size of the body, and that a panic ends only itself.

use std::any::Any;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use tracera_guard::{ClientLimit, is_safe_method, limit_clients, path_is_under};

use crate::app::App;
use crate::app::body::watched;
use crate::error::{AppError, AppResult};
use crate::extract::too_large;

/// The largest body any route reads.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Ends a request that takes too long, with 408 if that is because its body does not come; refuses a body that says it
/// is too large before reading it.
pub async fn bound(State(app): State<App>, request: Request, next: Next) -> AppResult<Response> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(AppError::bad_request("bad_host", "a request names one host"));
    }
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    if !request.headers().contains_key(header::TRANSFER_ENCODING) {
        return in_time(&app, request, next).await;
    }
    let answer = if is_only_chunked(request.headers()) {
        in_time(&app, request, next).await
    } else {
        Err(AppError::bad_request("bad_framing", "Transfer-Encoding can be chunked and nothing else"))
    };
    let mut response = answer.into_response();
    // Should a proxy have found another end of this body, what follows it is no request of its client's.
    response.headers_mut().insert(header::CONNECTION, CLOSE);
    Ok(response)
}

/// Whether a body is chunked and not encoded. A length beside that has been taken out by the HTTP library.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    encodings.next().is_some_and(is_chunked) && encodings.next().is_none()
}

async fn in_time(app: &App, request: Request, next: Next) -> AppResult<Response> {
    let (parts, body) = request.into_parts();
    let (body, awaited) = watched(body);
    let answer = next.run(Request::from_parts(parts, body));
    match tokio::time::timeout(app.request_timeout, answer).await {
        Ok(response) => Ok(response),
        Err(_) if awaited.is_now() => {
            let refusal = "the body took too long to arrive";
            let mut response =
                AppError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", refusal).into_response();
            // What is still to come is not the next request.
            response.headers_mut().insert(header::CONNECTION, CLOSE);
            Ok(response)
        }
        Err(_) => {
            let sentence = "this took too long, please try again";
            let error = AppError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", sentence);
            Err(error.retry_after(app.request_timeout))
        }
    }
}

/// Counts what [`is_limited`] against the limit of its client.
pub async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    if is_limited(&request) {
        limit_clients(State(ClientLimit::new(app.auth_limit.clone())), request, next).await
    } else {
        next.run(request).await
    }
}

/// Whether a request goes to the authentication endpoints, or is a form of a page, which does the same. Looking at a
/// page is free.
pub fn is_limited(request: &Request) -> bool {
    let path = request.uri().path();
    path_is_under(path, "/api/v1/auth/") || !is_safe_method(request.method()) && !path_is_under(path, "/api/")
}

/// The answer when a handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature the panic layer asks for")]
pub fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    AppError::internal(format!("a handler panicked: {message}")).into_response()
}
