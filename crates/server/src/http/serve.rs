//! The listener: accepts connections, bounds what a client may take, and ends gently.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracera_guard::SecurityHeaders;

use self::hyper_errors::Headed;

mod hyper_errors;

/// What one client, and all together, may take.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Open connections; further ones wait to be accepted. Default 20,000.
    pub connections: usize,
    /// From the first byte of a request to the end of its headers, and between requests. Default 15
    /// s.
    pub header_read: Duration,
    /// All headers of one request in bytes. Default 32 KiB.
    pub header_bytes: usize,
    /// Header lines of one request. Default 100.
    pub header_lines: usize,
    /// How long requests in flight may take to finish when the server is asked to stop. Default 10
    /// s.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            header_read: Duration::from_secs(15),
            header_bytes: 32 * 1024,
            header_lines: 100,
            drain: Duration::from_secs(10),
        }
    }
}

/// What answers requests: an axum router, or one inside layers. It is always ready, as a router is.
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

/// Serves until `stop` is cancelled, then lets requests in flight finish. The `headers` are those
/// `app` puts on its answers; what is no request gets them too.
pub async fn serve(
    listener: TcpListener,
    app: impl HttpService,
    headers: SecurityHeaders,
    limits: ServeLimits,
    stop: CancellationToken,
) {
    let headers = hyper_errors::lines(&headers);
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: existing connections free some.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (app, headers, stop) = (app.clone(), headers.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, peer, app, headers, limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "stopping with requests still in flight");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: impl HttpService,
    headers: Arc<[u8]>,
    limits: ServeLimits,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    // One request at a time: the whole stack is copied for each connection only.
    let app = RefCell::new(app);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(body);
        request.extensions_mut().insert(ConnectInfo(peer));
        app.borrow_mut().call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.header_lines)
        .serve_connection(TokioIo::new(Headed::new(stream, headers)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Most requests have none, which costs no allocation.
fn body(body: Incoming) -> Body {
    if body.is_end_stream() { Body::empty() } else { Body::new(body) }
}
