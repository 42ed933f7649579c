//! The context of a request for all inner layers, determined once on arrival.

use axum::extract::Request;
use http::Extensions;
use tracera_guard::ClientAddr;

use crate::http::App;
use crate::http::endpoint::Endpoint;
use crate::telemetry::RequestId;

/// Who asks, for what, under which id. In the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext {
    /// The id in the log and in `X-Request-Id`.
    pub id: RequestId,
    /// The address the request comes from; `None` where no listener has said it.
    pub client: Option<ClientAddr>,
    /// The row of the URL table its path is in; `None` when it is in none.
    pub endpoint: Option<Endpoint>,
    is_method_taken: bool,
}

impl RequestContext {
    /// The context of a request with these extensions; `None` before [`arrive`].
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// The row of the URL table that answers: the path is in it, and it takes the method.
    pub fn answering(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref().filter(|_| self.is_method_taken)
    }
}

/// Gives a request its context.
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
