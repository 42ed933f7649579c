//! The application: what handlers share, and the one list of layers every request passes, in this
//! order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use http::{HeaderMap, HeaderValue};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tracera_guard::{
    ClientLimit, CsrfKeys, OriginPolicy, RateLimiter, SecurityHeaders, TrustedProxies,
    VisitorCookie, VisitorId,
};
use tracera_session::{Clock, PrefetchLayer, SessionLayer, Sessions};
use url::Url;

use crate::app::endpoint::Endpoints;
use crate::app::gate::{around, gate, when};
use crate::app::limits::TimeLimit;
use crate::app::log::LogLayer;
use crate::auth::events::SecurityEvents;
use crate::auth::magic_link::MagicLinks;
use crate::auth::providers::Providers;
use crate::event_stream::Streams;
use crate::mail::dev::Mailbox;
use crate::portfolio::Portfolio;
use crate::routes;
use crate::serve::HttpService;
use crate::store::Database;
use crate::web::{again, failure};

mod body;
pub mod csrf;
pub mod endpoint;
pub mod gate;
pub mod limits;
pub mod log;
pub mod require_auth;

/// What all handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    /// The public origin, source of every absolute link.
    pub base_url: Url,
    /// The longest a request may take.
    pub request_timeout: Duration,
    /// The wall clock.
    pub clock: Clock,
    /// Users and magic links.
    pub database: Database,
    /// Whether sessions and limits live in Redis rather than in this process.
    pub redis: bool,
    /// Everybody's sessions.
    pub sessions: Sessions,
    /// Sign-in by e-mail; `None` when no mail can be sent.
    pub magic_links: Option<MagicLinks>,
    /// Google, GitHub and Steam.
    pub providers: Providers,
    /// What the owners of accounts are told.
    pub events: SecurityEvents,
    /// The mails of `dev`, readable at `/dev/mailbox`.
    pub mailbox: Option<Mailbox>,
    /// Imports and prices.
    pub portfolio: Portfolio,
    /// Whose forwarding headers are believed.
    pub proxies: TrustedProxies,
    /// How often one client may call the authentication endpoints.
    pub auth_limit: RateLimiter,
    /// Where unsafe requests may come from.
    pub origin: OriginPolicy,
    /// Issues and checks CSRF tokens.
    pub csrf: CsrfKeys,
    /// The cookie that tells signed-out browsers apart.
    pub visitor: VisitorCookie,
    /// The open event streams.
    pub streams: Streams,
    /// The URL table as the layers know it.
    pub endpoints: Endpoints,
    /// Cancelled when the service is asked to stop.
    pub stopping: CancellationToken,
}

impl App {
    /// The visitor cookie for another ten minutes: the known one, or a new one.
    pub fn visitor(&self, headers: &HeaderMap) -> (VisitorId, HeaderValue) {
        match self.visitor.parse(headers) {
            Some(visitor) => {
                let cookie = self.visitor.renew(&visitor);
                (visitor, cookie)
            }
            None => self.visitor.issue(),
        }
    }

    /// Whether the public origin is https.
    pub fn is_https(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// What every answer carries.
    pub fn security_headers(&self) -> SecurityHeaders {
        SecurityHeaders::new().https(self.is_https())
    }

    /// An application of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The whole service: the URL table inside its layers.
pub fn build(app: &App) -> impl HttpService {
    layered(app, routes::table())
}

/// These routes inside the layers every request passes. The first layer listed is the outermost.
pub fn layered(app: &App, routes: Router<App>) -> impl HttpService {
    let limited = ServiceBuilder::new()
        .layer(PrefetchLayer::new(app.sessions.clone(), |_| true))
        .layer(ClientLimit::new(app.auth_limit.clone()));
    ServiceBuilder::new()
        .layer(LogLayer::new(app.clone()))
        .layer(app.security_headers())
        .layer(around(app.clone(), failure::wanted, failure::as_page))
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .layer(CatchPanicLayer::custom(limits::after_panic))
        .layer(around((), limits::check_framing, limits::close_after_chunks))
        .layer(TimeLimit::new(app.request_timeout))
        // Before the limit: what a page of another site makes a browser load does not use up its
        // visitor's.
        .layer(gate((), csrf::isolate))
        .layer(when(again::holds_a_link, from_fn_with_state(app.clone(), again::keep)))
        .layer(when(limits::is_limited, limited))
        .layer(gate(app.clone(), csrf::check_origin))
        .layer(when(require_auth::is_personal, SessionLayer::new(app.sessions.clone())))
        .layer(around((), failure::session, failure::note_person))
        // RequireAuth before the CSRF token, so that a dead session is 401 whatever the token.
        .layer(gate((), require_auth::require_auth))
        .layer(gate(app.clone(), csrf::require_token))
        .layer(when(csrf::is_form, from_fn_with_state(app.clone(), csrf::require_form_token)))
        .service(routes.with_state(app.clone()))
}
