//! The listener: accepts connections, bounds each client's resources, and shuts down gracefully.
//!
//! 1. A connection may wait [`ServeLimits::idle`] for the next request. Once a request begins, its
//!    headers must arrive within [`ServeLimits::header_read`].
//! 2. A client that does not read responses, or opens too many connections, is disconnected.
//!    Trusted proxies may have any number of connections.
//! 3. A trusted proxy can name the client in a PROXY protocol header, which then counts as the
//!    peer. HTTP/2 without TLS is accepted from trusted proxies only.
//! 4. While draining, requests are answered as before, but responses close their connections.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracera_guard::{SecurityHeaders, TrustedProxies};

use self::beginning::{Beginning, Protocol};
use self::hyper_errors::Headed;
use self::paced::{Paced, Phase, Tracked};
use self::places::{PerClient, Ticket};

mod beginning;
mod hyper_errors;
pub mod listener;
mod paced;
mod places;
pub mod proxy_protocol;

pub use listener::Listener;
use listener::Socket;

/// How long to accept connections that were established before listening stopped.
const LAST_CALL: Duration = Duration::from_millis(10);
/// How long an idle connection stays open after listening stopped, so that a request in transit is
/// answered.
const LAST_REQUEST: Duration = Duration::from_millis(500);
/// Concurrent requests on an HTTP/2 connection.
const STREAMS: u32 = 128;
/// Interval of HTTP/2 pings, and the timeout for their response.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// Limits per client and in total.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Open connections; further ones wait to be accepted. Default 20,000.
    pub connections: usize,
    /// Open connections per IPv4 address or IPv6 /64; further ones are closed. Default 200.
    pub connections_per_client: usize,
    /// Time between two requests. Default 130 s.
    pub idle: Duration,
    /// Time from the first byte of a request to the end of its headers. Default 15 s.
    pub header_read: Duration,
    /// Size of all headers of a request, in bytes. Default 24 KiB, for which at most 32 KiB are
    /// buffered.
    pub header_bytes: usize,
    /// Header lines per request. Default 100.
    pub header_lines: usize,
    /// How long a client may read nothing of a pending response. Default 30 s.
    pub stall: Duration,
    /// How long running requests may take after the server is asked to stop. Default 10 s.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_client: 200,
            idle: Duration::from_secs(130),
            header_read: Duration::from_secs(15),
            header_bytes: 24 * 1024,
            header_lines: 100,
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// The configuration of the server.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The application's security headers, also added to responses that the HTTP library generates
    /// itself.
    pub headers: SecurityHeaders,
    /// The limits.
    pub limits: ServeLimits,
    /// Proxies that may have any number of connections and use HTTP/2. Default none.
    pub proxies: TrustedProxies,
    /// Whether connections of trusted proxies begin with the PROXY protocol. Default no.
    pub proxy_protocol: bool,
    /// Once cancelled, responses close their connections.
    pub draining: CancellationToken,
    /// Once cancelled, the listener stops.
    pub stop: CancellationToken,
}

impl Serving {
    /// The default limits, until `stop`.
    pub fn new(headers: SecurityHeaders, stop: CancellationToken) -> Self {
        Self {
            headers,
            limits: ServeLimits::default(),
            proxies: TrustedProxies::default(),
            proxy_protocol: false,
            draining: stop.clone(),
            stop,
        }
    }
}

/// The application: an axum router, possibly inside layers. Like a router, it must always be ready.
pub trait HttpService:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// The state shared by all connections.
struct Shared {
    serving: Serving,
    /// The security headers, serialised.
    lines: Arc<[u8]>,
    per_client: PerClient,
}

/// Serves until `stop`, then lets running requests finish.
pub async fn serve(listener: impl Into<Listener>, app: impl HttpService, serving: Serving) {
    let listener = listener.into();
    let (limits, stop) = (serving.limits, serving.stop.clone());
    let places = Arc::new(Semaphore::new(limits.connections));
    let shared = Arc::new(Shared {
        lines: hyper_errors::lines(&serving.headers),
        per_client: PerClient::new(limits.connections_per_client),
        serving,
    });
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let (socket, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Usually the process is out of file descriptors. Connections that close will
                    // free some.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (app, shared) = (app.clone(), shared.clone());
        connections.spawn(async move {
            connection(socket, peer, app, &shared).await;
            drop(place);
        });
    }
    // Closing the socket now would reset connections that were established but not yet accepted.
    let last_call = tokio::time::sleep(LAST_CALL);
    tokio::pin!(last_call);
    loop {
        let (socket, peer) = tokio::select! {
            () = last_call.as_mut() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => break,
            },
        };
        let (app, shared) = (app.clone(), shared.clone());
        connections.spawn(async move { connection(socket, peer, app, &shared).await });
    }
    drop(listener);
    connections.close();
    if timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "stopping with requests still in flight");
    }
}

/// Admits a connection: reads the proxy's PROXY header, and counts the connection for its client.
/// `None` for a refused one.
async fn admit(
    socket: &mut Socket,
    peer: SocketAddr,
    shared: &Shared,
) -> Option<(Beginning, Option<Ticket>)> {
    let Shared { serving, per_client, .. } = shared;
    let trusted = serving.proxies.contains(peer.ip());
    let enter = |peer: SocketAddr| {
        let ticket = per_client.enter(peer.ip());
        if ticket.is_none() {
            tracing::debug!(%peer, "too many connections of one client");
        }
        ticket
    };
    if !trusted {
        return Some((Beginning::of_stranger(peer), Some(enter(peer)?)));
    }
    let beginning = Beginning::read(socket, peer, serving)
        .await
        .inspect_err(|error| {
            tracing::debug!(%peer, %error, "a proxy's connection ended before a request");
        })
        .ok()?;
    let speaks_for_another =
        beginning.peer.ip() != peer.ip() && !serving.proxies.contains(beginning.peer.ip());
    let ticket = if speaks_for_another { Some(enter(beginning.peer)?) } else { None };
    Some((beginning, ticket))
}

async fn connection(mut socket: Socket, peer: SocketAddr, app: impl HttpService, shared: &Shared) {
    let Shared { serving, lines, .. } = shared;
    let limits = &serving.limits;
    let Some((beginning, ticket)) = admit(&mut socket, peer, shared).await else { return };
    let phase = Phase::default();
    let protocol = beginning.protocol;
    if protocol == Protocol::Http2 {
        // For HTTP/2, the library itself limits headers and idle time.
        phase.answering();
    }
    let peer = beginning.peer;
    let paced = Paced::new(socket, beginning.early, phase.clone(), limits);
    let io = TokioIo::new(Headed::new(paced, lines.clone()));
    // HTTP/1 has one request at a time, so cloning the stack once per connection is enough.
    let app = RefCell::new(app);
    let draining = serving.draining.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let version = request.version();
        if version != Version::HTTP_2 {
            phase.answering();
        }
        let mut request = request.map(body);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = match version {
            Version::HTTP_2 => app.borrow().clone().call(request),
            _ => app.borrow_mut().call(request),
        };
        let (draining, phase) = (draining.clone(), phase.clone());
        async move {
            let mut answer = answer.await?;
            if draining.is_cancelled() && version != Version::HTTP_2 {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            let phase = (version != Version::HTTP_2).then_some(phase);
            Ok::<_, Infallible>(answer.map(|body| Tracked::new(body, phase)))
        }
    });
    let ended = match protocol {
        Protocol::Http1 => {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.idle)
                .max_header_size(limits.header_bytes)
                .max_headers(limits.header_lines)
                .serve_connection(io, service);
            tokio::pin!(connection);
            let last_request = async {
                serving.stop.cancelled().await;
                tokio::time::sleep(LAST_REQUEST).await;
            };
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = last_request => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Protocol::Http2 => {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
                .max_concurrent_streams(STREAMS)
                .keep_alive_interval(HTTP2_PING)
                .keep_alive_timeout(HTTP2_PING)
                .serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = serving.draining.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
    drop(ticket);
}

/// Most requests have no body; an empty one needs no allocation.
fn body(body: Incoming) -> Body {
    if body.is_end_stream() { Body::empty() } else { Body::new(body) }
}
