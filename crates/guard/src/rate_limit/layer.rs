//! The limit per client address as a layer.

use axum::extract::Request;
use http::HeaderMap;

use super::{Decision, RateLimitError, RateLimitRejection, RateLimiter};
use crate::client_addr::{ClientAddr, ClientAddrMissing};
use crate::layer::{Guard, Settings, Verdict, guard_layer};

/// Limits the requests of each client, and reports the client's usage in headers; a
/// [`tower::Layer`] behind [`TrustedProxies`](crate::TrustedProxies).
///
/// 1. A client is counted by [`ClientAddr::rate_key`]: an IPv4 address, or an IPv6 /64.
/// 2. With [`ClientLimit::wide`] the client's networks are counted too: an IPv4 /24, or an IPv6 /56
///    and /48, each with a multiple of the limit. So changing addresses within a network gains
///    nothing.
/// 3. A request over any of these limits is answered 429 with `Retry-After`, and is not counted.
/// 4. While the limit's store does not answer, every request that would be counted is answered 503.
/// 5. The answer to a counted request carries `RateLimit-Policy` and `RateLimit`, which describe
///    the client's own limit.
///
/// For a deployment: people behind one carrier's NAT share an IPv4 /24, so choose its multiple with
/// them in mind.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::post};
/// use tracera_guard::{ClientLimit, RateLimit, RateLimiter, TrustedProxies, path_is_under};
///
/// let limiter = RateLimiter::in_memory(RateLimit::new("auth", 20, Duration::from_secs(60)));
/// let limit = ClientLimit::new(limiter)
///     .only(|request| path_is_under(request.uri().path(), "/api/v1/auth/"))
///     .wide(10, 50);
/// let app: Router = Router::new()
///     .route("/api/v1/auth/login", post(async || "welcome"))
///     .layer(limit)
///     .layer(TrustedProxies::default());
/// ```
#[derive(Clone, Debug)]
pub struct ClientLimit {
    limiter: RateLimiter,
    wide: Option<Multiples>,
    settings: Settings<RateLimitRejection>,
}

/// The multiples of the limit that networks are granted.
#[derive(Clone, Copy, Debug)]
struct Multiples {
    /// An IPv4 /24 or an IPv6 /56.
    wide: u32,
    /// An IPv6 /48.
    widest: u32,
}

impl ClientLimit {
    /// A layer that counts every request.
    pub fn new(limiter: RateLimiter) -> Self {
        Self { limiter, wide: None, settings: Settings::default() }
    }

    /// Also counts the networks of clients: an IPv4 /24 and an IPv6 /56 are granted the limit
    /// `wide` times, an IPv6 /48 `widest` times. Default: not counted. Ten and fifty are usual.
    ///
    /// In Redis the keys of one client then share the tag of its widest network, so that a cluster
    /// keeps them in one slot. An example is `ratelimit:auth:{203.0.113.0/24}203.0.113.9`.
    ///
    /// # Panics
    /// If a multiple is zero.
    #[must_use]
    pub fn wide(self, wide: u32, widest: u32) -> Self {
        assert!(wide > 0 && widest > 0, "a network is granted the limit at least once");
        Self { wide: Some(Multiples { wide, widest }), ..self }
    }
}

guard_layer!(ClientLimit, RateLimitRejection);

impl Guard for ClientLimit {
    type Rejection = RateLimitRejection;
    type Awaited = Result<Decision, RateLimitError>;
    type Note = Decision;

    fn settings(&self) -> &Settings<RateLimitRejection> {
        &self.settings
    }

    fn check(&self, request: &mut Request) -> Verdict<Self> {
        let Some(client) = request.extensions().get::<ClientAddr>() else {
            return Verdict::Reject(ClientAddrMissing.into());
        };
        let keys = Keys::of(*client, self.wide);
        if let Some(decision) = self.limiter.check_all_now(&keys.borrowed()) {
            return self.resume(request, Ok(decision)).into();
        }
        let limiter = self.limiter.clone();
        Verdict::Wait(Box::pin(async move { limiter.check_all(&keys.borrowed()).await }))
    }

    fn resume(
        &self,
        request: &mut Request,
        decided: Result<Decision, RateLimitError>,
    ) -> Result<Decision, RateLimitRejection> {
        let admitted = decided?.admitted();
        if let (Err(_), Some(client)) = (&admitted, request.extensions().get::<ClientAddr>()) {
            let client = client.ip();
            tracing::warn!(event = "rate_limited", %client, "a client is over its limit");
        }
        admitted
    }

    fn finish(decision: Decision, headers: &mut HeaderMap) {
        decision.apply_headers(headers);
    }
}

/// The keys of a client, each with its multiple of the limit.
struct Keys([Option<(String, u32)>; 3]);

impl Keys {
    fn of(client: ClientAddr, multiples: Option<Multiples>) -> Self {
        let own = client.rate_key();
        let Some(Multiples { wide, widest }) = multiples else {
            return Self([Some((own, 1)), None, None]);
        };
        if client.ip().is_ipv4() {
            let tag = client.network(24, 0);
            Self([Some((format!("{{{tag}}}{own}"), 1)), Some((format!("{{{tag}}}"), wide)), None])
        } else {
            let (tag, middle) = (client.network(0, 48), client.network(0, 56));
            Self([
                Some((format!("{{{tag}}}{own}"), 1)),
                Some((format!("{{{tag}}}{middle}"), wide)),
                Some((format!("{{{tag}}}"), widest)),
            ])
        }
    }

    fn borrowed(&self) -> Vec<(&str, u32)> {
        self.0.iter().flatten().map(|(key, times)| (&**key, *times)).collect()
    }
}
