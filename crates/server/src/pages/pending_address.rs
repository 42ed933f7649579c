//! Where a signed-out browser has asked a link to be sent, remembered for the page after.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use time::OffsetDateTime;

use crate::cookie::ServiceCookie;
use crate::domain::email::Email;

/// How long a browser waits before it offers to send another mail, in seconds.
const RESEND_SECS: i64 = 30;
const COOKIE: ServiceCookie = ServiceCookie::new("__Host-asked", 600);

/// Where and when a link was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAddress {
    /// The address.
    pub email: Email,
    /// How many wrong codes were typed here since. The browser counts, so that nobody learns from
    /// it what became of the mail.
    pub wrong_codes: u32,
    at_secs: i64,
}

impl PendingAddress {
    /// Asked for now.
    pub fn new(email: Email, now: OffsetDateTime) -> Self {
        Self { email, wrong_codes: 0, at_secs: now.unix_timestamp() }
    }

    /// Reads the cookie of a request.
    pub fn from_headers(headers: &HeaderMap, https: bool) -> Option<Self> {
        let value = COOKIE.read(headers, https)?;
        let (at_secs, rest) = value.split_once('.')?;
        let (wrong_codes, email) = rest.split_once('.')?;
        let email = String::from_utf8(URL_SAFE_NO_PAD.decode(email).ok()?).ok()?;
        let (at_secs, wrong_codes) = (at_secs.parse().ok()?, wrong_codes.parse().ok()?);
        Some(Self { email: Email::parse(&email).ok()?, wrong_codes, at_secs })
    }

    /// The `Set-Cookie` that remembers it for ten minutes.
    pub fn cookie(&self, https: bool) -> HeaderValue {
        let email = URL_SAFE_NO_PAD.encode(self.email.as_str());
        let value = format!("{}.{}.{email}", self.at_secs, self.wrong_codes);
        COOKIE.set(&value, https)
    }

    /// After one more wrong code.
    #[must_use]
    pub fn after_a_wrong_code(self) -> Self {
        Self { wrong_codes: self.wrong_codes.saturating_add(1), ..self }
    }

    /// Whether it was asked before `at` or in the same second.
    pub fn is_not_after(&self, at: OffsetDateTime) -> bool {
        self.at_secs <= at.unix_timestamp()
    }

    /// Seconds until another mail may be offered.
    pub fn wait_secs(&self, now: OffsetDateTime) -> i64 {
        (RESEND_SECS - now.unix_timestamp().saturating_sub(self.at_secs)).clamp(0, RESEND_SECS)
    }
}

/// The `Set-Cookie` that forgets it.
pub fn forget(https: bool) -> HeaderValue {
    COOKIE.forget(https)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_was_asked_reads_back_and_the_wait_runs_out() {
        let now = datetime!(2026-11-23 20:00 UTC);
        let asked =
            PendingAddress::new(Email::parse("a@example.com").unwrap(), now).after_a_wrong_code();
        for https in [true, false] {
            let line = asked.cookie(https);
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let headers =
                HeaderMap::from_iter([(header::COOKIE, format!("x=1; {pair}").parse().unwrap())]);
            assert_eq!(PendingAddress::from_headers(&headers, https), Some(asked.clone()));
            assert_eq!(PendingAddress::from_headers(&headers, !https), None);
        }
        assert_eq!(asked.wait_secs(now), 30);
        assert_eq!(asked.wait_secs(now + Duration::from_secs(29)), 1);
        assert_eq!(asked.wait_secs(now + Duration::from_secs(90)), 0);
        assert_eq!(asked.wait_secs(now - Duration::from_secs(90)), 30);
    }

    #[test]
    fn whoever_signs_in_within_the_same_second_has_not_done_so_before() {
        let now = datetime!(2026-11-23 20:00:00.9 UTC);
        let asked = PendingAddress::new(Email::parse("a@example.com").unwrap(), now);
        assert!(asked.is_not_after(now));
        assert!(asked.is_not_after(datetime!(2026-11-23 20:00 UTC)));
        assert!(!asked.is_not_after(datetime!(2026-11-23 19:59:59.9 UTC)));
    }

    #[test]
    fn a_made_up_cookie_is_none() {
        for value in [
            "asked=",
            "asked=1",
            "asked=1.0",
            "asked=x.0.YUBiLmNv",
            "asked=1.x.YUBiLmNv",
            "asked=1.0.PHNjcmlwdD4",
            "asked=1.0.!!",
        ] {
            let headers = HeaderMap::from_iter([(header::COOKIE, value.parse().unwrap())]);
            assert_eq!(PendingAddress::from_headers(&headers, false), None, "{value}");
        }
    }
}
