//! The cookies both faces set that hold a random token.

use http::{HeaderMap, HeaderValue};

use crate::auth::token::is_token;
use crate::auth::{passkeys, transaction};
use crate::cookie::ServiceCookie;
use crate::store::events::KEPT;

/// A [`ServiceCookie`] that holds a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenCookie {
    cookie: ServiceCookie,
    secure: bool,
}

/// By it a browser is known that was used to sign in before. `secure` when the public address is
/// https.
pub fn device(secure: bool) -> TokenCookie {
    TokenCookie::new("__Host-device", KEPT.whole_seconds().unsigned_abs(), secure)
}

/// By it a browser is known that comes back from a provider.
pub fn transaction(secure: bool) -> TokenCookie {
    TokenCookie::new("__Host-transaction", transaction::LIFETIME.as_secs(), secure)
}

/// By it a browser is known that asked for a passkey.
pub fn passkey(secure: bool) -> TokenCookie {
    TokenCookie::new("__Host-passkey", passkeys::LIFETIME.as_secs(), secure)
}

impl TokenCookie {
    fn new(name: &'static str, max_age_secs: u64, secure: bool) -> Self {
        let max_age_secs = u32::try_from(max_age_secs).unwrap_or(u32::MAX);
        Self { cookie: ServiceCookie::new(name, max_age_secs), secure }
    }

    /// The token the browser sent; `None` unless exactly one cookie has exactly this name and holds
    /// one.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut values = self.cookie.values(headers, self.secure);
        let (value, None) = (values.next()?, values.next()) else { return None };
        is_token(value).then_some(value)
    }

    /// The `Set-Cookie` that makes the browser keep `token`.
    pub fn set(&self, token: &str) -> HeaderValue {
        self.cookie.set(token, self.secure)
    }

    /// The `Set-Cookie` that makes the browser forget it.
    pub fn clear(&self) -> HeaderValue {
        self.cookie.forget(self.secure)
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::auth::token::fresh_token;

    fn cookies(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, line.parse().unwrap())).collect()
    }

    #[test]
    fn only_a_lone_cookie_of_the_exact_name_counts() {
        let (cookie, token) = (transaction(true), fresh_token());
        let good = format!("a=b; __Host-transaction={token}; c");
        assert_eq!(cookie.read(&cookies(&[&good])), Some(&*token));
        for bad in [
            String::new(),
            format!("transaction={token}"),
            format!("__host-transaction={token}"),
            format!("__%48ost-transaction={token}"),
            format!("__Host-transaction={token}; __Host-transaction={token}"),
            format!("__Host-transaction={token}x"),
            "__Host-transaction=".to_owned(),
            format!("__Host-transaction=\"{}\"", &token[2..]),
        ] {
            assert_eq!(cookie.read(&cookies(&[&bad])), None, "{bad}");
        }
        assert_eq!(cookie.read(&cookies(&[&good, &good])), None);
    }
}
