//! The result of a check, and its HTTP headers.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{RateLimit, RateLimitError, RateLimitUsage};
use crate::client_addr::ClientAddrMissing;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The decision about one request.
///
/// ```
/// use std::time::Duration;
/// use tracera_guard::{RateLimit, RateLimiter};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = RateLimiter::in_memory(RateLimit::new("mails", 1, Duration::from_secs(60)));
/// assert!(limiter.check("ada@example.org").await?.allowed);
/// let second = limiter.check("ada@example.org").await?;
/// assert!(!second.allowed && second.retry_after_secs() > 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Requests granted per window.
    pub limit: u32,
    /// Requests still granted right now, after this one.
    pub remaining: u32,
    /// The time until the oldest counted request is exactly one window old. Right after that, one
    /// more request is granted.
    pub reset_after: Duration,
    name: &'static str,
    policy: HeaderValue,
}

impl Decision {
    pub(super) fn new(limit: RateLimit, policy: HeaderValue, usage: RateLimitUsage) -> Self {
        Self {
            allowed: usage.allowed,
            limit: limit.limit,
            remaining: limit.limit.saturating_sub(usage.used),
            reset_after: limit.window.saturating_sub(usage.oldest_age),
            name: limit.name,
            policy,
        }
    }

    /// The decision, or a rejection if the request was refused.
    pub(super) fn admitted(self) -> Result<Self, RateLimitRejection> {
        if self.allowed { Ok(self) } else { Err(RateLimitRejection::Limited(self)) }
    }

    /// Whole seconds after which a request is certainly granted: 0 while some are left, else more
    /// than [`Decision::reset_after`]. A request that is exactly one window old still counts.
    pub fn retry_after_secs(&self) -> u64 {
        if self.remaining > 0 { 0 } else { self.reset_after.as_secs() + 1 }
    }

    /// Sets `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers, and
    /// `Retry-After` if the request was refused.
    pub fn apply_headers(&self, headers: &mut HeaderMap) {
        let Self { name, remaining, .. } = self;
        // `"name";r=1;t=60`. Not by `format!`, whose cost would show, because every limited request
        // does this.
        let (mut left, mut secs) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (left, secs) = (left.format(*remaining), secs.format(ceil_secs(self.reset_after)));
        let state = ["\"", name, "\";r=", left, ";t=", secs].concat();
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
        headers.insert(RATE_LIMIT, ascii(state));
        if !self.allowed {
            headers.insert(RETRY_AFTER, self.retry_after_secs().into());
        }
    }
}

/// The `RateLimit-Policy` of a limit.
pub(super) fn policy(limit: RateLimit) -> HeaderValue {
    let RateLimit { name, limit, window } = limit;
    ascii(format!(r#""{name}";q={limit};w={}"#, ceil_secs(window)))
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("names of limits and numbers are visible ASCII")
}

fn ceil_secs(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// A request was not admitted. As a response it is JSON `{"error", "code"}` with `Retry-After`: 429
/// `rate_limited` or 503 `unavailable`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RateLimitRejection {
    /// The request is over the limit.
    #[error("over the rate limit, free again in {} s", .0.retry_after_secs())]
    Limited(Decision),
    /// The store did not answer, so nothing is admitted.
    #[error(transparent)]
    Unavailable(#[from] RateLimitError),
    /// The client's address is not known: a layer is missing. As a response: 500.
    #[error(transparent)]
    ClientUnknown(#[from] ClientAddrMissing),
}

impl IntoResponse for RateLimitRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Limited(decision) => {
                let mut response = crate::reply::error(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    "too many requests, please wait a moment and try again",
                );
                decision.apply_headers(response.headers_mut());
                response
            }
            Self::Unavailable(RateLimitError::Unavailable(source)) => {
                tracing::error!(error = %source, "the rate limit store is unavailable");
                let mut response = crate::reply::error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    "the service is briefly unavailable, please try again",
                );
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            Self::ClientUnknown(missing) => missing.into_response(),
        }
    }
}
