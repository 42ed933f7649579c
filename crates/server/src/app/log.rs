//! One log line and one id per request. The line names the route's pattern, never the path or query as sent: those can
//! hold tokens.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use tracera_guard::TrustedProxies;

use crate::clock::Stopwatch;
use crate::metrics;
use crate::telemetry::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Outermost: gives the request an id and its client's address, logs how it was answered, returns the id in
/// `X-Request-Id`.
pub async fn log(State(proxies): State<TrustedProxies>, mut request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let id = RequestId::next();
    let method = request.method().clone();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let client = peer.map(|peer| proxies.client_addr(peer, request.headers()));
    if let Some(client) = client {
        request.extensions_mut().insert(client);
    }
    let route = Route::default();
    request.extensions_mut().insert(route.clone());
    let mut response = id.scope(next.run(request)).await;
    let route = route.0.get().map_or("unmatched", MatchedPath::as_str);
    let status = response.status().as_u16();
    let elapsed = watch.elapsed();
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    metrics::answered(route, status, elapsed);
    let client = client.map(|client| tracing::field::display(client.ip()));
    id.sync_scope(|| tracing::info!(%method, route, status, micros, client, "answered"));
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The pattern that matched, known to the log when there is an answer.
#[derive(Clone, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

/// Inside the router: notes which route answers.
///
/// # Errors
/// Never.
pub fn note_route((): &(), request: &mut Request) -> Result<(), Infallible> {
    let extensions = request.extensions();
    if let (Some(route), Some(path)) = (extensions.get::<Route>(), extensions.get::<MatchedPath>()) {
        route.0.get_or_init(|| path.clone());
    }
    Ok(())
}
