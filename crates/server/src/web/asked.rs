//! A cookie by which a signed-out browser remembers where it has asked a link to be sent, for the page after. It proves
//! nothing: whoever makes it up sees their own words.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use time::OffsetDateTime;

use crate::auth::email::Email;

/// How long a browser waits before it offers to send another mail, in seconds.
const RESEND_SECS: i64 = 30;
const MAX_AGE_SECS: u32 = 600;

/// Where and when a link was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The address.
    pub email: Email,
    at_secs: i64,
}

impl Asked {
    /// Asked for now.
    pub fn new(email: Email, now: OffsetDateTime) -> Self {
        Self { email, at_secs: now.unix_timestamp() }
    }

    /// Reads the cookie of a request.
    pub fn from_headers(headers: &HeaderMap, secure: bool) -> Option<Self> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let value = cookies
            .flat_map(|line| line.split(';'))
            .find_map(|pair| pair.trim().strip_prefix(name(secure))?.strip_prefix('='))?;
        let (at_secs, email) = value.split_once('.')?;
        let email = String::from_utf8(URL_SAFE_NO_PAD.decode(email).ok()?).ok()?;
        Some(Self { email: Email::parse(&email).ok()?, at_secs: at_secs.parse().ok()? })
    }

    /// The `Set-Cookie` that remembers it for ten minutes.
    pub fn cookie(&self, secure: bool) -> HeaderValue {
        let value = format!("{}.{}", self.at_secs, URL_SAFE_NO_PAD.encode(self.email.as_str()));
        set_cookie(&value, MAX_AGE_SECS, secure)
    }

    /// Seconds until another mail may be offered.
    pub fn wait_secs(&self, now: OffsetDateTime) -> i64 {
        (RESEND_SECS - now.unix_timestamp().saturating_sub(self.at_secs)).clamp(0, RESEND_SECS)
    }
}

/// The `Set-Cookie` that forgets it.
pub fn forget(secure: bool) -> HeaderValue {
    set_cookie("", 0, secure)
}

fn name(secure: bool) -> &'static str {
    if secure { "__Host-asked" } else { "asked" }
}

fn set_cookie(value: &str, max_age_secs: u32, secure: bool) -> HeaderValue {
    let secure_attribute = if secure { "; Secure" } else { "" };
    let line = format!(
        "{}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age_secs}{secure_attribute}",
        name(secure)
    );
    HeaderValue::try_from(line).expect("base64url and attributes are visible ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_was_asked_reads_back_and_the_wait_runs_out() {
        let now = datetime!(2026-11-23 20:00 UTC);
        let asked = Asked::new(Email::parse("a@example.com").unwrap(), now);
        for secure in [true, false] {
            let line = asked.cookie(secure);
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let headers = HeaderMap::from_iter([(header::COOKIE, format!("x=1; {pair}").parse().unwrap())]);
            assert_eq!(Asked::from_headers(&headers, secure), Some(asked.clone()));
            assert_eq!(Asked::from_headers(&headers, !secure), None);
        }
        assert_eq!(asked.wait_secs(now), 30);
        assert_eq!(asked.wait_secs(now + Duration::from_secs(29)), 1);
        assert_eq!(asked.wait_secs(now + Duration::from_secs(90)), 0);
        assert_eq!(asked.wait_secs(now - Duration::from_secs(90)), 30);
    }

    #[test]
    fn a_made_up_cookie_is_none() {
        for value in ["asked=", "asked=1", "asked=x.YUBiLmNv", "asked=1.PHNjcmlwdD4", "asked=1.!!"] {
            let headers = HeaderMap::from_iter([(header::COOKIE, value.parse().unwrap())]);
            assert_eq!(Asked::from_headers(&headers, false), None, "{value}");
        }
    }
}
