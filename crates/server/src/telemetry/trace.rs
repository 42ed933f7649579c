//! Traces: spans of requests and of what they wait for, sent to a collector if there is one.
//!
//! 1. Without a collector a [`Span`] is nothing. To find that out is one load of an atomic, and no
//!    attribute is made.
//! 2. A span holds names, numbers and outcomes: no address, path, query, value of a statement or
//!    text of a client.
//! 3. The trace of a caller is continued only if a trusted proxy brings it. Services that are asked
//!    meanwhile learn it by `traceparent` (W3C Trace Context).
//! 4. Spans do not depend on `RUST_LOG`: they are made by OpenTelemetry's interface, not out of the
//!    log.
//!
//! ```
//! # async fn example() {
//! use tracera::telemetry::trace::{Kind, Span};
//!
//! let span = Span::child("import", Kind::Internal);
//! let pages = span.clone().around(async { 3 }).await;
//! span.set("tracera.import.pages", pages);
//! # }
//! ```

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context as TaskContext, Poll};

use http::{HeaderMap, Method};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanBuilder, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, ContextGuard, KeyValue, Value};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use pin_project_lite::pin_project;

mod export;

pub use export::{Exporting, InstallError, install};
pub use opentelemetry::trace::SpanKind as Kind;

/// Set once, if there is a collector.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Work under way and its place in a trace; nothing without a collector. Cheap to clone. It ends
/// with [`Span::end`] or its last clone.
#[derive(Clone, Debug, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// The span of a request, with the trace that `headers` continue if they are a trusted
    /// proxy's.
    pub fn request(method: &Method, route: &'static str, headers: Option<&HeaderMap>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let parent = match headers {
            Some(headers) => TraceContextPropagator::new()
                .extract_with_context(&Context::new(), &HeaderExtractor(headers)),
            None => Context::new(),
        };
        let span = Self::start(tracer, &parent, format!("{method} {route}"), Kind::Server);
        span.set("http.request.method", method.as_str().to_owned());
        span.set("http.route", route);
        span
    }

    /// A part of what is under way here, or the first of a trace.
    pub fn child(name: &'static str, kind: Kind) -> Self {
        Self::child_with(|| name, kind)
    }

    /// The same with a name that is made only if there is a collector.
    pub fn child_with<N: Into<Cow<'static, str>>>(name: impl FnOnce() -> N, kind: Kind) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        Context::map_current(|parent| Self::start(tracer, parent, name(), kind))
    }

    fn start(
        tracer: &SdkTracer,
        parent: &Context,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Self {
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), parent);
        Self(Some(parent.with_span(span)))
    }

    /// Whether there is no collector.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// What is under way here.
    pub fn current() -> Self {
        Self(TRACER.get().map(|_| Context::current()))
    }

    /// Notes a fact. Names are those of OpenTelemetry's semantic conventions where they have one.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// The same for a value that is made only if there is a span.
    pub fn set_with<V: Into<Value>>(&self, name: &'static str, value: impl FnOnce() -> V) {
        if self.0.is_some() {
            self.set(name, value());
        }
    }

    /// Notes that it failed, and the kind of failure in a word.
    pub fn failed(&self, kind: &'static str) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", kind));
            context.span().set_status(Status::error(""));
        }
    }

    /// Ends it, although tasks it began may go on.
    pub fn end(&self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }

    /// As long as the guard lives, spans begun by this thread are parts of this one.
    pub fn enter(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }

    /// The future, as what this span is about.
    pub fn around<F: Future>(self, future: F) -> InSpan<F> {
        InSpan { span: self, future }
    }

    /// Adds the headers by which another service continues the trace.
    fn inject(&self, headers: &mut HeaderMap) {
        if let Some(context) = &self.0 {
            TraceContextPropagator::new().inject_context(context, &mut HeaderInjector(headers));
        }
    }
}

pin_project! {
    /// A future that a [`Span`] is about.
    #[derive(Debug)]
    pub struct InSpan<F> {
        span: Span,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        this.future.poll(context)
    }
}

/// Sends a request to another service, as a span of its own that the service may continue.
///
/// # Errors
/// As for [`reqwest::Client::execute`].
pub async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<reqwest::Response> {
    if TRACER.get().is_none() {
        return request.send().await;
    }
    let (client, request) = request.build_split();
    let mut request = request?;
    let span = Span::child_with(|| request.method().as_str().to_owned(), Kind::Client);
    span.set("http.request.method", request.method().as_str().to_owned());
    span.set("server.address", request.url().host_str().unwrap_or_default().to_owned());
    if let Some(port) = request.url().port_or_known_default() {
        span.set("server.port", i64::from(port));
    }
    span.inject(request.headers_mut());
    let answered = span.clone().around(client.execute(request)).await;
    match &answered {
        Ok(response) => {
            let status = response.status();
            span.set("http.response.status_code", i64::from(status.as_u16()));
            if status.is_client_error() || status.is_server_error() {
                span.failed("status");
            }
        }
        Err(error) if error.is_timeout() => span.failed("timeout"),
        Err(error) if error.is_connect() => span.failed("connect"),
        Err(_) => span.failed("broken"),
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_collector_a_span_is_nothing_and_leaves_what_it_surrounds_alone() {
        assert!(TRACER.get().is_none(), "unit tests install no collector");
        let span = Span::request(&Method::GET, "/", Some(&HeaderMap::new()));
        assert!(span.0.is_none() && Span::child("x", Kind::Internal).0.is_none());
        assert!(Span::current().0.is_none() && span.enter().is_none());
        assert_eq!(span.around(async { 7 }).await, 7);
    }
}
