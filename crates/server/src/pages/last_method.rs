//! Remembers the sign-in method last used in this browser. The sign-in page marks it.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tracera_guard::HostCookie;

const COOKIE: HostCookie = HostCookie::new("last_used", Duration::from_hours(365 * 24));

/// The name of the method.
pub fn read(headers: &HeaderMap, https: bool) -> Option<&str> {
    COOKIE.secure(https).read(headers)
}

/// The `Set-Cookie` that stores a method.
pub fn remember(method: &str, https: bool) -> HeaderValue {
    COOKIE.secure(https).set(method)
}
