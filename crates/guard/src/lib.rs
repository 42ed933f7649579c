#![doc = include_str!("../README.md")]
#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]

mod client_addr;
mod csrf;
mod headers;
mod name;
mod path;
mod rate_limit;
mod reply;

pub use client_addr::{
    ClientAddr, ClientAddrMissing, TrustedProxies, TrustedProxiesError, resolve_client_addr,
};
pub use csrf::{
    CSRF_HEADER, CsrfCheck, CsrfKeys, CsrfRejection, OriginPolicy, OriginPolicyError,
    OriginRejection, VisitorCookie, VisitorId, check_csrf_token, check_origin, is_safe_method,
    isolate_resources, issue_csrf_token, refuse_cross_site_loads, token_from_headers,
};
pub use headers::{
    SecurityHeaders, SecurityHeadersFuture, SecurityHeadersService, page_policy_with_images_of,
};
pub use path::path_is_under;
pub use rate_limit::{
    ClientLimit, ClientLimitFuture, ClientLimitService, Decision, RateLimit, RateLimitError,
    RateLimitRejection, RateLimiter,
};
