//! Cookies that both the API and the pages set.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tracera_guard::HostCookie;

use crate::auth::token::is_token;
use crate::auth::{passkeys, transaction};
use crate::store::events::KEPT;

const DEVICE: HostCookie = HostCookie::new("device", KEPT.unsigned_abs());
const TRANSACTION: HostCookie = HostCookie::new("transaction", transaction::LIFETIME);
const LAST_METHOD: HostCookie = HostCookie::new("last_used", Duration::from_hours(365 * 24));
const PASSKEY: HostCookie = HostCookie::new("passkey", passkeys::LIFETIME);

/// A [`HostCookie`] whose value is a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenCookie(HostCookie);

/// Identifies a browser that signed in before. `secure` if the public URL is `https`.
pub fn device(secure: bool) -> TokenCookie {
    TokenCookie(DEVICE.secure(secure))
}

/// The sign-in method last used in a browser. The sign-in page marks it.
pub fn last_method(secure: bool) -> HostCookie {
    LAST_METHOD.secure(secure)
}

/// Identifies a browser that returns from a provider.
pub fn transaction(secure: bool) -> TokenCookie {
    TokenCookie(TRANSACTION.secure(secure))
}

/// Identifies a browser that requested a passkey ceremony.
pub fn passkey(secure: bool) -> TokenCookie {
    TokenCookie(PASSKEY.secure(secure))
}

impl TokenCookie {
    /// The browser's token; `None` unless exactly one cookie with this name has a valid one.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.0.read_as(headers, |value| is_token(value).then_some(value))
    }

    /// The `Set-Cookie` that stores `token`.
    pub fn set(&self, token: &str) -> HeaderValue {
        self.0.set(token)
    }

    /// The `Set-Cookie` that removes the cookie.
    pub fn clear(&self) -> HeaderValue {
        self.0.clear()
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
    fn only_a_lone_token_of_the_exact_name_counts() {
        let (cookie, token) = (transaction(true), fresh_token());
        let good = format!("a=b; __Host-transaction={token}; c");
        for lines in [
            &[&*good][..],
            &["__Host-transaction=of another application", &good],
            &[&format!("__Host-transaction=\"{token}\"; __Host-transaction=")],
        ] {
            assert_eq!(cookie.read(&cookies(lines)), Some(&*token), "{lines:?}");
        }
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
