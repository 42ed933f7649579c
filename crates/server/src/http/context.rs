//! The context of a request for all inner layers, determined once on arrival.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use http::{Extensions, HeaderMap, HeaderName};
use tracera_guard::ClientAddr;

use crate::http::App;
use crate::http::endpoint::Endpoint;
use crate::telemetry::RequestId;

/// The header with the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id, client and route of a request. In the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext {
    /// The request's id, as in the log and in `X-Request-Id`.
    pub id: RequestId,
    /// The client's address; `None` if no listener has set it.
    pub client: Option<ClientAddr>,
    /// The row of the URL table for the path; `None` for an unknown path.
    pub endpoint: Option<Endpoint>,
    /// Whether it comes from a trusted proxy, whose request id and trace are accepted.
    pub is_from_proxy: bool,
    is_method_taken: bool,
}

impl RequestContext {
    /// The context of a request with these extensions; `None` before [`arrive`].
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// The row of the URL table that will answer: it has the path and accepts the method.
    pub fn answering(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref().filter(|_| self.is_method_taken)
    }
}

/// The id that the proxy sent; none if it sent two.
fn id_of_proxy(headers: &HeaderMap) -> Option<RequestId> {
    let mut named = headers.get_all(&REQUEST_ID).iter();
    let (id, None) = (named.next()?, named.next()) else { return None };
    RequestId::parse(id.as_bytes())
}

/// Adds the context to a request.
pub fn arrive(app: &App, mut request: Request) -> Request {
    let endpoint = app.endpoints.find(request.uri().path());
    let peer = request.extensions().get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip());
    let is_from_proxy = peer.is_some_and(|peer| app.proxies.contains(peer));
    let id = if is_from_proxy { id_of_proxy(request.headers()) } else { None };
    let context = RequestContext {
        id: id.unwrap_or_else(RequestId::next),
        client: request.extensions().get().copied(),
        endpoint,
        is_from_proxy,
        is_method_taken: endpoint.is_some_and(|endpoint| endpoint.takes(request.method())),
    };
    request.extensions_mut().insert(context);
    request
}
