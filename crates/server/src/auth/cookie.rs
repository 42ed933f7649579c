//! Cookies that hold one random handle.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use crate::cookie::ServiceCookie;

/// 256 random bits as text.
const HANDLE_CHARS: usize = 43;

/// A [`ServiceCookie`] that holds a handle.
#[derive(Clone, Copy, Debug)]
pub struct HandleCookie {
    cookie: ServiceCookie,
    secure: bool,
}

impl HandleCookie {
    /// `secure` when the public address is https.
    pub const fn new(cookie: ServiceCookie, secure: bool) -> Self {
        Self { cookie, secure }
    }

    /// The handle the browser sent; `None` unless exactly one cookie has exactly this name and
    /// holds one.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut values = self.cookie.values(headers, self.secure);
        let (value, None) = (values.next()?, values.next()) else { return None };
        let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (value.len() == HANDLE_CHARS && value.bytes().all(base64url)).then_some(value)
    }

    /// The `Set-Cookie` that makes the browser keep `handle`.
    pub fn set(&self, handle: &str) -> HeaderValue {
        self.cookie.set(handle, self.secure)
    }

    /// The `Set-Cookie` that makes the browser forget it.
    pub fn clear(&self) -> HeaderValue {
        self.cookie.forget(self.secure)
    }
}

/// 256 random bits in base64url.
///
/// # Panics
/// If the operating system has no random bytes to give.
pub fn fresh_handle() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What is stored of a handle. A plain hash of 256 random bits is safe to keep.
pub fn handle_hash(handle: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(handle).into()
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    const COOKIE: HandleCookie =
        HandleCookie::new(ServiceCookie::new("__Host-transaction", 600), true);

    fn cookies(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, line.parse().unwrap())).collect()
    }

    #[test]
    fn only_a_lone_cookie_of_the_exact_name_counts() {
        let handle = fresh_handle();
        let good = format!("a=b; __Host-transaction={handle}; c");
        assert_eq!(COOKIE.read(&cookies(&[&good])), Some(&*handle));
        for bad in [
            String::new(),
            format!("transaction={handle}"),
            format!("__host-transaction={handle}"),
            format!("__%48ost-transaction={handle}"),
            format!("__Host-transaction={handle}; __Host-transaction={handle}"),
            format!("__Host-transaction={handle}x"),
            "__Host-transaction=".to_owned(),
            format!("__Host-transaction=\"{}\"", &handle[2..]),
        ] {
            assert_eq!(COOKIE.read(&cookies(&[&bad])), None, "{bad}");
        }
        assert_eq!(COOKIE.read(&cookies(&[&good, &good])), None);
    }
}
