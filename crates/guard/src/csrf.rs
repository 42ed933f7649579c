//! Protection against cross-site request forgery: checks of the origin ([`OriginPolicy`]) and of
//! the token ([`CsrfGuard`]).

mod binding;
mod guard;
mod mac;
mod origin;
mod rejection;
mod token;
mod visitor;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use binding::CsrfBinding;
pub use guard::{CsrfGuard, RefusedForm, issue_csrf_token};
pub use origin::{OriginPolicy, OriginPolicyError, OriginRejection, ResourceIsolation};
pub use rejection::CsrfRejection;
pub use token::CsrfKeys;
pub use visitor::{VisitorCookie, VisitorId};

/// The header that carries the token: `X-CSRF-Token`.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// True for the methods without side effects: GET, HEAD and OPTIONS.
///
/// ```
/// use http::Method;
/// use tracera_guard::is_safe_method;
///
/// assert!(is_safe_method(&Method::GET));
/// assert!(!is_safe_method(&Method::POST));
/// ```
pub fn is_safe_method(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token in [`CSRF_HEADER`]; `None` unless there is exactly one such line.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use tracera_guard::{CSRF_HEADER, token_from_headers};
///
/// let headers = HeaderMap::from_iter([(CSRF_HEADER, HeaderValue::from_static("abc"))]);
/// assert_eq!(token_from_headers(&headers), Some("abc"));
/// ```
pub fn token_from_headers(headers: &HeaderMap) -> Option<&str> {
    match single_line(headers, &CSRF_HEADER) {
        Ok(line) => line?.to_str().ok(),
        Err(Repeated) => None,
    }
}

/// A header that may be sent once was sent twice.
struct Repeated;

fn single_line<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        _ => Err(Repeated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_exactly_one_header_line() {
        let mut headers = HeaderMap::new();
        assert_eq!(token_from_headers(&headers), None);
        headers.append("X-CSRF-Token", HeaderValue::from_static("abc"));
        assert_eq!(token_from_headers(&headers), Some("abc"));
        headers.append(CSRF_HEADER, HeaderValue::from_static("abc"));
        assert_eq!(token_from_headers(&headers), None);
        headers.insert(CSRF_HEADER, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(token_from_headers(&headers), None);
    }
}
