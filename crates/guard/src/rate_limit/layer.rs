//! The limit per client address as a layer.

use axum::extract::Request;
use http::HeaderMap;

use super::{Decision, RateLimitRejection, RateLimiter};
use crate::client_addr::{ClientAddr, ClientAddrMissing};
use crate::layer::{Guard, Settings, Verdict, guard_layer};

/// Lets a request pass only within the limit of its client, and tells the client where it stands; a
/// [`tower::Layer`] below [`TrustedProxies`](crate::TrustedProxies).
///
/// 1. A client is counted by [`ClientAddr::rate_key`].
/// 2. A request over the limit is answered 429 with `Retry-After`.
/// 3. While the limit's store does not answer, every request that would be counted is answered 503.
/// 4. An answer to a request that was counted carries `RateLimit-Policy` and `RateLimit`.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::post};
/// use tracera_guard::{ClientLimit, RateLimit, RateLimiter, TrustedProxies, path_is_under};
///
/// let limiter = RateLimiter::in_memory(RateLimit::new("auth", 20, Duration::from_secs(60)));
/// let app: Router = Router::new()
///     .route("/api/v1/auth/login", post(async || "welcome"))
///     .layer(ClientLimit::new(limiter).only(|request| path_is_under(request.uri().path(), "/api/v1/auth/")))
///     .layer(TrustedProxies::default());
/// ```
#[derive(Clone, Debug)]
pub struct ClientLimit {
    limiter: RateLimiter,
    settings: Settings<RateLimitRejection>,
}

impl ClientLimit {
    /// Counts every request.
    pub fn new(limiter: RateLimiter) -> Self {
        Self { limiter, settings: Settings::default() }
    }
}

guard_layer!(ClientLimit, RateLimitRejection);

impl Guard for ClientLimit {
    type Rejection = RateLimitRejection;
    type Awaited = Result<Decision, RateLimitRejection>;
    type Note = Decision;

    fn settings(&self) -> &Settings<RateLimitRejection> {
        &self.settings
    }

    fn check(&self, request: &mut Request) -> Verdict<Self> {
        let Some(client) = request.extensions().get::<ClientAddr>() else {
            return Verdict::Refuse(ClientAddrMissing.into());
        };
        let key = client.rate_key();
        if let Some(decided) = self.limiter.admit_now(&key) {
            return self.resume(request, decided).into();
        }
        let limiter = self.limiter.clone();
        Verdict::Wait(Box::pin(async move { limiter.admit(&key).await }))
    }

    fn resume(
        &self,
        request: &mut Request,
        decided: Result<Decision, RateLimitRejection>,
    ) -> Result<Decision, RateLimitRejection> {
        if let (Err(RateLimitRejection::Limited(_)), Some(client)) =
            (&decided, request.extensions().get::<ClientAddr>())
        {
            let client = client.ip();
            tracing::warn!(event = "rate_limited", %client, "a client is over its limit");
        }
        decided
    }

    fn finish(decision: Decision, headers: &mut HeaderMap) {
        decision.apply_headers(headers);
    }
}
