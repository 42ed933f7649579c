//! Bounds on every request: time, size of the body, and that a panic ends only itself.

use std::any::Any;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Version, header};
use tracera_guard::{ClientLimit, is_safe_method, limit_clients, path_is_under};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::extract::too_large;

/// The largest body any route reads.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Ends a request that takes too long; refuses a body that says it is too large before reading it.
pub async fn bound(State(app): State<App>, request: Request, next: Next) -> AppResult<Response> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(AppError::bad_request("bad_host", "a request names one host"));
    }
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    tokio::time::timeout(app.request_timeout, next.run(request)).await.map_err(|_| {
        AppError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "this took too long, please try again")
            .retry_after(app.request_timeout)
    })
}

/// Counts what goes to the authentication endpoints, and the forms of pages, since they do the same. Looking at a page
/// is free.
pub async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_form = !is_safe_method(request.method()) && !path_is_under(path, "/api/");
    if is_form || path_is_under(path, "/api/v1/auth/") {
        limit_clients(State(ClientLimit::new(app.auth_limit.clone())), request, next).await
    } else {
        next.run(request).await
    }
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
