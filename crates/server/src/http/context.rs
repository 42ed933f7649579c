//! The context of a request for all inner layers, determined once on arrival.

use axum::extract::Request;
use http::Extensions;
use tracera_guard::ClientAddr;

use crate::http::App;
use crate::http::endpoint::Endpoint;
use crate::telemetry::RequestId;

/// The id, client and route of a request. In the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext {
    /// The request's id, as in the log and in `X-Request-Id`.
    pub id: RequestId,
    /// The client's address; `None` if no listener has set it.
    pub client: Option<ClientAddr>,
    /// The row of the URL table for the path; `None` for an unknown path.
    pub endpoint: Option<Endpoint>,
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

/// Adds the context to a request.
pub fn arrive(app: &App, mut request: Request) -> Request {
    let endpoint = app.endpoints.find(request.uri().path());
    let context = RequestContext {
        id: RequestId::next(),
        client: request.extensions().get().copied(),
        endpoint,
        is_method_taken: endpoint.is_some_and(|endpoint| endpoint.takes(request.method())),
    };
    request.extensions_mut().insert(context);
    request
}
