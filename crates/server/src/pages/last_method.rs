//! How this browser signed in the last time, which the sign-in page marks.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tracera_guard::HostCookie;

const COOKIE: HostCookie = HostCookie::new("last_used", Duration::from_hours(365 * 24));

/// The method's name.
pub fn read(headers: &HeaderMap, https: bool) -> Option<&str> {
    COOKIE.secure(https).read(headers)
}

/// The `Set-Cookie` that remembers a method.
pub fn remember(method: &str, https: bool) -> HeaderValue {
    COOKIE.secure(https).set(method)
}
