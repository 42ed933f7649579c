//! Limits for every request: time, size and framing of the body. A panic ends only its own request.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::{Layer, Service};
use tracera_guard::{is_safe_method, path_is_under};
use tracera_session::Session;

use crate::http::App;
use crate::http::body::{Awaited, watched};
use crate::http::context::RequestContext;
use crate::http::endpoint::{Access, MAX_BODY_BYTES};
use crate::http::error::AppError;
use crate::http::extract::too_large;

/// Limit on an uploaded inventory.
pub const MAX_UPLOAD_BYTES: usize = 16 << 20;

/// Refuses requests with several `Host` headers, and HTTP/1.1 requests with none.
///
/// # Errors
/// The refusal.
#[expect(clippy::result_large_err, reason = "the signature the layer asks for")]
pub fn check_host(request: &mut Request) -> Result<(), Response> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        let error = AppError::bad_request("bad_host", "a request names one host");
        return Err(error.into_response());
    }
    Ok(())
}

/// Refuses bodies with ambiguous framing, and those declared too large. Limits all others while
/// they are read.
///
/// # Errors
/// The refusal.
#[expect(clippy::result_large_err, reason = "the signature the layer asks for")]
pub fn check_framing(request: &mut Request) -> Result<(), Response> {
    let endpoint = RequestContext::of(request.extensions()).and_then(|context| context.endpoint);
    let max_body = endpoint.map_or(MAX_BODY_BYTES, |endpoint| endpoint.max_body);
    let headers = request.headers();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = announced.and_then(|text| text.parse::<usize>().ok());
    if length.is_some_and(|bytes| bytes > max_body) {
        return Err(too_large().into_response());
    }
    if is_chunked(request) && !is_only_chunked(headers) {
        let sentence = "Transfer-Encoding can be chunked and nothing else";
        return Err(AppError::bad_request("bad_framing", sentence).into_response());
    }
    if !request.body().is_end_stream() {
        DefaultBodyLimit::max(max_body).apply(request);
    }
    Ok(())
}

/// Whether the request's body has no declared length.
pub fn is_chunked(request: &Request) -> bool {
    request.headers().contains_key(header::TRANSFER_ENCODING)
}

/// Closes the connection after a chunked body. If a proxy saw a different end of the body, the
/// bytes after it are not read as a request.
pub fn close_after_chunks((): &(), is_chunked: bool, response: Response) -> Response {
    if is_chunked { closing(response) } else { response }
}

fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether `chunked` is the body's only transfer encoding. The HTTP library has already removed a
/// `Content-Length` beside it.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked =
        |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    encodings.next().is_some_and(is_chunked) && encodings.next().is_none()
}

/// Ends a request that takes too long: 408 if its body is missing, else 503.
#[derive(Clone, Debug)]
pub struct TimeLimit(Duration);

impl TimeLimit {
    /// Sets the time limit.
    pub fn new(limit: Duration) -> Self {
        Self(limit)
    }
}

impl<S> Layer<S> for TimeLimit {
    type Service = InTime<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InTime { limit: self.0, inner }
    }
}

/// The service that [`TimeLimit`] creates.
#[derive(Clone, Debug)]
pub struct InTime<S> {
    limit: Duration,
    inner: S,
}

impl<S> Service<Request> for InTime<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = InTimeFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (request, awaited) = if request.body().is_end_stream() {
            (request, None)
        } else {
            let (parts, body) = request.into_parts();
            let (body, awaited) = watched(body);
            (Request::from_parts(parts, body), Some(awaited))
        };
        InTimeFuture {
            answering: self.inner.call(request),
            awaited,
            limit: self.limit,
            passing: None,
        }
    }
}

pin_project! {
    /// The response future of [`InTime`].
    pub struct InTimeFuture<F> {
        #[pin]
        answering: F,
        awaited: Option<Awaited>,
        limit: Duration,
        // Created only when the request has to wait.
        passing: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> Future for InTimeFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.answering.poll(context) {
            return Poll::Ready(answer);
        }
        let passing = this.passing.get_or_insert_with(|| Box::pin(sleep(*this.limit)));
        ready!(passing.as_mut().poll(context));
        Poll::Ready(Ok(if this.awaited.as_ref().is_some_and(Awaited::is_now) {
            let sentence = "the body took too long to arrive";
            let error = AppError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", sentence);
            // The rest of the body must not be read as the next request.
            closing(error.into_response())
        } else {
            let sentence = "this took too long, please try again";
            let error = AppError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", sentence);
            error.retry_after(*this.limit).into_response()
        }))
    }
}

/// Whether a request is limited per client: one to the authentication endpoints, or a form. Reading
/// a page is not limited.
pub fn is_limited(request: &Request) -> bool {
    let context = RequestContext::of(request.extensions());
    let is_under = |prefix| match context.and_then(|context| context.endpoint) {
        Some(endpoint) => endpoint.pattern.starts_with(prefix),
        None => path_is_under(request.uri().path(), prefix),
    };
    // Browsers send device proofs on their own; those must not use up the user's requests.
    if context
        .and_then(|context| context.endpoint)
        .is_some_and(|row| row.access == Access::DeviceProof || row.is_counted_by_session)
    {
        return false;
    }
    is_under("/api/v1/auth/") || !is_safe_method(request.method()) && !is_under("/api/")
}

/// Whether [`count_session`] counts the request.
pub fn is_counted_by_session(request: &Request) -> bool {
    RequestContext::of(request.extensions())
        .and_then(RequestContext::answering)
        .is_some_and(|row| row.is_counted_by_session)
}

/// Applies the session's limit to a form. It runs after the session and the CSRF token were
/// checked.
pub async fn count_session(State(app): State<App>, request: Request, next: Next) -> Response {
    let info = Session::of(request.extensions()).ok().and_then(|session| session.info());
    let Some(info) = info else { return AppError::unauthenticated().into_response() };
    match app.session_limit.admit(&info.handle.to_string()).await {
        Ok(_) => next.run(request).await,
        Err(rejection) => rejection.into_response(),
    }
}

/// The response after a handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature the panic layer asks for")]
pub fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    AppError::internal(format!("a handler panicked: {message}")).into_response()
}
