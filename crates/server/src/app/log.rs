//! One log line and one id per request. The line names the route's pattern, never the path or query as sent: those can
//! hold tokens.

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use std::net::SocketAddr;
use tracera_guard::TrustedProxies;
use tracing::Instrument;

use crate::clock::Stopwatch;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Outermost: gives the request an id, logs how it was answered, returns the id in `X-Request-Id`.
pub async fn log(State(proxies): State<TrustedProxies>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let id = uuid::Uuid::new_v4().simple().to_string();
    let method = request.method().clone();
    let client = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(peer)| proxies.client_addr(peer.ip(), request.headers()).ip());
    let span = tracing::info_span!("request", id = %&id[..16]);
    let mut response = next.run(request).instrument(span.clone()).await;
    let route = response.extensions().get::<Route>().map_or("unmatched", |route| route.0.as_str());
    let status = response.status().as_u16();
    let elapsed = watch.elapsed();
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let labels = [("route", route.to_owned()), ("status", status.to_string())];
    metrics::counter!("tracera_http_requests_total", &labels).increment(1);
    metrics::histogram!("tracera_http_request_seconds", "route" => route.to_owned()).record(elapsed);
    let client = client.map(tracing::field::display);
    span.in_scope(|| tracing::info!(%method, route, status, micros, client, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id[..16]) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The pattern that matched, carried outwards with the response for the log.
#[derive(Clone)]
struct Route(MatchedPath);

/// Inside the router: notes which route answered.
pub async fn note_route(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(path) = path {
        response.extensions_mut().insert(Route(path));
    }
    response
}
