//! Logs one line per request. The line has the path's pattern, never the path or query as sent:
//! those can contain tokens.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracera_guard::ClientAddr;

use crate::clock::Stopwatch;
use crate::http::context::{REQUEST_ID, RequestContext};
use crate::telemetry::trace::Span;
use crate::telemetry::{InRequest, RequestId, metrics};

/// Requests that take this long are always logged.
const LONG: Duration = Duration::from_secs(1);

/// Logs the response to each request, and returns the request's id in `X-Request-Id`.
#[derive(Clone, Copy, Debug)]
pub struct LogLayer {
    is_always_written: bool,
}

impl LogLayer {
    /// Logs every request, or only those that failed or took long.
    pub fn new(is_always_written: bool) -> Self {
        Self { is_always_written }
    }
}

impl<S> Layer<S> for LogLayer {
    type Service = LogService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LogService { is_always_written: self.is_always_written, inner }
    }
}

/// The service that [`LogLayer`] creates.
#[derive(Clone, Debug)]
pub struct LogService<S> {
    is_always_written: bool,
    inner: S,
}

impl<S> Service<Request> for LogService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = LogFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let line = Line::begin(&request, self.is_always_written);
        let (id, span) = (line.id, line.span.clone());
        let _entered = (id.enter(), span.enter());
        LogFuture { answering: InRequest::new(id, span, self.inner.call(request)), line }
    }
}

pin_project! {
    /// The response future of [`LogService`].
    pub struct LogFuture<F> {
        #[pin]
        answering: InRequest<F>,
        line: Line,
    }
}

impl<F> Future for LogFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.answering.poll(context));
        this.line.write(response.status().as_u16());
        let id = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(
            this.line.id.as_str().as_bytes(),
        ));
        response.headers_mut().insert(REQUEST_ID, id.expect("its characters are visible"));
        Poll::Ready(Ok(response))
    }
}

/// The data for the log line.
struct Line {
    watch: Stopwatch,
    span: Span,
    id: RequestId,
    method: Method,
    client: Option<ClientAddr>,
    route: &'static str,
    is_always_written: bool,
}

impl Line {
    fn begin(request: &Request, is_always_written: bool) -> Self {
        let watch = Stopwatch::start();
        let context = RequestContext::of(request.extensions());
        let endpoint = context.and_then(|context| context.endpoint);
        let route = endpoint.map_or("unmatched", |endpoint| endpoint.pattern);
        let trusted = context.is_some_and(|context| context.is_from_proxy);
        let span = Span::request(request.method(), route, trusted.then_some(request.headers()));
        Self {
            watch,
            span,
            id: context.map_or_else(RequestId::next, |context| context.id),
            method: request.method().clone(),
            client: context.and_then(|context| context.client),
            route,
            is_always_written,
        }
    }

    fn write(&self, status: u16) {
        let Self { watch, span, id, method, client, route, is_always_written } = self;
        let elapsed = watch.elapsed();
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        metrics::answered(route, status, elapsed);
        span.set("http.response.status_code", i64::from(status));
        span.set_with("tracera.request_id", || id.as_str().to_owned());
        if status >= 500 {
            span.failed("status");
        }
        span.end();
        let client = client.map(ClientAddr::text);
        let (method, client) = (method.as_str(), client.as_deref());
        let _entered = id.enter();
        // 429 is excluded: a client over its limit could flood the log.
        let is_failure = status >= 400 && status != StatusCode::TOO_MANY_REQUESTS.as_u16();
        if *is_always_written || is_failure || elapsed >= LONG {
            tracing::info!(method, route, status, micros, client, "answered");
        } else {
            tracing::debug!(method, route, status, micros, client, "answered");
        }
    }
}
