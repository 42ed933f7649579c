#![doc = include_str!("../README.md")]
#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]

mod client_addr;
mod cookie;
mod csrf;
mod headers;
mod layer;
mod media_type;
mod name;
mod path;
mod rate_limit;
mod reply;

pub use client_addr::{
    ClientAddr, ClientAddrMissing, ProxyHeader, ProxyHeaderError, TrustedProxies,
    TrustedProxiesError,
};
pub use cookie::HostCookie;
pub use csrf::{
    CSRF_HEADER, CsrfBinding, CsrfGuard, CsrfKeys, CsrfRejection, OriginPolicy, OriginPolicyError,
    OriginRejection, RefusedForm, ResourceIsolation, VisitorCookie, VisitorId, is_safe_method,
    issue_csrf_token, token_from_headers,
};
pub use headers::SecurityHeaders;
pub use path::path_is_under;
pub use rate_limit::{
    ClientLimit, Decision, RateLimit, RateLimitError, RateLimitRejection, RateLimitRequest,
    RateLimitStore, RateLimitUsage, RateLimiter, StoreAnswer,
};
