//! How this browser signed in the last time, which the sign-in page marks.

use http::{HeaderMap, HeaderValue};

use crate::cookie::ServiceCookie;

/// A year. It tells nothing worth protecting and has the same name everywhere.
const COOKIE: ServiceCookie = ServiceCookie::new("last_used", 31_536_000);

/// The method's name.
pub fn read(headers: &HeaderMap) -> Option<&str> {
    COOKIE.read(headers, false)
}

/// The `Set-Cookie` that remembers a method.
pub fn remember(method: &str, https: bool) -> HeaderValue {
    COOKIE.set(method, https)
}
