//! Cookies that hold one random handle.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

/// 256 random bits as text.
const HANDLE_CHARS: usize = 43;

/// A cookie: `HttpOnly; SameSite=Lax; Path=/`, `Secure` with the `__Host-` prefix on https.
#[derive(Clone, Copy, Debug)]
pub struct HandleCookie {
    name: &'static str,
    secure: bool,
    max_age_secs: u32,
}

impl HandleCookie {
    /// `name` begins with `__Host-`, which is left out when not `secure`.
    pub const fn new(name: &'static str, secure: bool, max_age_secs: u32) -> Self {
        Self { name, secure, max_age_secs }
    }

    fn name(&self) -> &'static str {
        if self.secure { self.name } else { self.name.trim_start_matches("__Host-") }
    }

    /// The handle the browser sent; `None` unless exactly one cookie has exactly this name and holds one.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, value)| value);
        let (value, None) = (values.next()?, values.next()) else { return None };
        let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (value.len() == HANDLE_CHARS && value.bytes().all(base64url)).then_some(value)
    }

    /// The `Set-Cookie` that makes the browser keep `handle`.
    pub fn set(&self, handle: &str) -> HeaderValue {
        self.header(handle, self.max_age_secs)
    }

    /// The `Set-Cookie` that makes the browser forget it.
    pub fn clear(&self) -> HeaderValue {
        self.header("", 0)
    }

    fn header(&self, value: &str, max_age_secs: u32) -> HeaderValue {
        let (name, secure) = (self.name(), if self.secure { "; Secure" } else { "" });
        HeaderValue::try_from(format!(
            "{name}={value}; Max-Age={max_age_secs}; Path=/; HttpOnly; SameSite=Lax{secure}"
        ))
        .expect("names, base64url and numbers are visible ASCII")
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
    use super::*;

    const SECURE: HandleCookie = HandleCookie::new("__Host-transaction", true, 600);
    const PLAIN: HandleCookie = HandleCookie::new("__Host-transaction", false, 600);

    fn cookies(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, line.parse().unwrap())).collect()
    }

    #[test]
    fn attributes_are_strict() {
        let handle = fresh_handle();
        let expected =
            format!("__Host-transaction={handle}; Max-Age=600; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(SECURE.set(&handle), expected);
        assert_eq!(PLAIN.set(&handle), expected.replace("__Host-", "").replace("; Secure", ""));
        assert_eq!(SECURE.clear(), "__Host-transaction=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn only_a_lone_cookie_of_the_exact_name_counts() {
        let handle = fresh_handle();
        let good = format!("a=b; __Host-transaction={handle}; c");
        assert_eq!(SECURE.read(&cookies(&[&good])), Some(&*handle));
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
            assert_eq!(SECURE.read(&cookies(&[&bad])), None, "{bad}");
        }
        assert_eq!(SECURE.read(&cookies(&[&good, &good])), None);
    }
}
