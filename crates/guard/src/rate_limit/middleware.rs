//! The limit per client address as a middleware.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{RateLimitRejection, RateLimiter};
use crate::{ClientAddr, path_is_under};

/// Which requests [`limit_clients`] counts, and against what.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, middleware, routing::post};
/// use tracera_guard::*;
///
/// let limiter = RateLimiter::in_memory(RateLimit::new("auth", 20, Duration::from_mins(1)));
/// let limit = ClientLimit::new(limiter).only_under("/api/v1/auth/");
/// let app: Router = Router::new()
///     .route("/api/v1/auth/login", post(async || "welcome"))
///     .layer(middleware::from_fn_with_state(limit, limit_clients))
///     .layer(middleware::from_fn_with_state(TrustedProxies::default(), resolve_client_addr));
/// ```
#[derive(Clone, Debug)]
pub struct ClientLimit {
    limiter: RateLimiter,
    prefix: &'static str,
}

impl ClientLimit {
    /// Counts every request, by [`ClientAddr::rate_key`].
    pub fn new(limiter: RateLimiter) -> Self {
        Self { limiter, prefix: "/" }
    }

    /// Counts only requests under `prefix`, in any spelling ([`path_is_under`]); also those no route answers.
    #[must_use]
    pub fn only_under(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }
}

/// Middleware that lets a request pass only within the limit of its client and tells the client where it stands; use
/// it with [`axum::middleware::from_fn_with_state`], below [`resolve_client_addr`](crate::resolve_client_addr).
pub async fn limit_clients(State(limit): State<ClientLimit>, request: Request, next: Next) -> Response {
    if !path_is_under(request.uri().path(), limit.prefix) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let client = match ClientAddr::from_request_parts(&mut parts, &()).await {
        Ok(client) => client,
        Err(missing) => return missing.into_response(),
    };
    let decision = match limit.limiter.admit(&client.rate_key()).await {
        Ok(decision) => decision,
        Err(rejection) => {
            if let RateLimitRejection::Limited(_) = rejection {
                tracing::warn!(event = "rate_limited", client = %client.ip(), "a client is over its limit");
            }
            return rejection.into_response();
        }
    };
    let mut response = next.run(Request::from_parts(parts, body)).await;
    decision.apply_headers(response.headers_mut());
    response
}
