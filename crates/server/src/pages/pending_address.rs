//! Remembers for the next page where and when a signed-out browser requested a link.
//!
//! The browser itself counts its requests and wrong codes. So a page can announce that no more
//! mails follow, without revealing anything about the address.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use time::OffsetDateTime;
use tracera_guard::HostCookie;

use crate::auth::mail_limits::{MAIL_WINDOW, MAILS_PER_NETWORK, MailDecision};
use crate::domain::email::Email;

/// How long a browser waits before it offers another mail, in seconds.
const RESEND_SECS: i64 = 30;
/// Mails per network in [`WINDOW_SECS`]; above that the page announces no mail.
const MAILS: usize = MAILS_PER_NETWORK as usize;
const WINDOW_SECS: i64 = MAIL_WINDOW.as_secs().cast_signed();
const COOKIE: HostCookie = HostCookie::new("asked", Duration::from_mins(10));

/// The address and times of this browser's requests for a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAddress {
    /// The address.
    pub email: Email,
    /// Wrong codes typed in this browser since. The count is independent of the server, so it does
    /// not reveal whether a mail was sent.
    pub wrong_codes: u32,
    /// The times of the requests, newest first: at most one more than the limit.
    asked_at_secs: Vec<i64>,
    /// When the address can get a mail again, if others have used up its limit; otherwise 0.
    full_until_secs: i64,
}

impl PendingAddress {
    /// Records a request now. `earlier` requests count if they are for the same address.
    pub fn new(email: Email, earlier: Option<Self>, now: OffsetDateTime) -> Self {
        let now = now.unix_timestamp();
        let earlier = earlier.filter(|earlier| earlier.email == email);
        let mut sent = earlier.map(|earlier| earlier.asked_at_secs).unwrap_or_default();
        // A request above the limit sent no mail, so it does not count for the next.
        if sent.len() > MAILS {
            sent.remove(0);
        }
        sent.retain(|at| now.saturating_sub(*at) < WINDOW_SECS);
        sent.insert(0, now);
        Self { email, wrong_codes: 0, asked_at_secs: sent, full_until_secs: 0 }
    }

    /// Adds the decision about the mail.
    #[must_use]
    pub fn decided(self, decision: MailDecision, now: OffsetDateTime) -> Self {
        let full_until_secs = match decision {
            MailDecision::Sent => 0,
            MailDecision::Later(wait) => (now + wait).unix_timestamp(),
        };
        Self { full_until_secs, ..self }
    }

    /// Parses the cookie of a request.
    pub fn from_headers(headers: &HeaderMap, https: bool) -> Option<Self> {
        COOKIE.secure(https).read_as(headers, Self::parse)
    }

    fn parse(value: &str) -> Option<Self> {
        let (times, rest) = value.split_once('.')?;
        let (wrong_codes, rest) = rest.split_once('.')?;
        let (full_until, email) = rest.split_once('.')?;
        let email = String::from_utf8(URL_SAFE_NO_PAD.decode(email).ok()?).ok()?;
        let asked_at_secs: Vec<i64> =
            times.split('-').take(MAILS + 1).map(|at| at.parse().ok()).collect::<Option<_>>()?;
        let (email, wrong_codes) = (Email::parse(&email).ok()?, wrong_codes.parse().ok()?);
        let full_until_secs = full_until.parse().ok()?;
        Some(Self { email, wrong_codes, asked_at_secs, full_until_secs })
    }

    /// The `Set-Cookie` that stores it for ten minutes.
    pub fn cookie(&self, https: bool) -> HeaderValue {
        let email = URL_SAFE_NO_PAD.encode(self.email.as_str());
        let times: Vec<_> = self.asked_at_secs.iter().map(ToString::to_string).collect();
        let (times, wrong_codes) = (times.join("-"), self.wrong_codes);
        let value = format!("{times}.{wrong_codes}.{}.{email}", self.full_until_secs);
        COOKIE.secure(https).set(&value)
    }

    /// Adds a wrong code.
    #[must_use]
    pub fn after_a_wrong_code(self) -> Self {
        Self { wrong_codes: self.wrong_codes.saturating_add(1), ..self }
    }

    /// Whether the newest request was at `at` or earlier, to the second.
    pub fn is_not_after(&self, at: OffsetDateTime) -> bool {
        self.newest() <= at.unix_timestamp()
    }

    fn newest(&self) -> i64 {
        self.asked_at_secs.first().copied().unwrap_or_default()
    }

    /// Minutes until the address can get a mail again; `None` if the last request was within the
    /// limits of this browser and of others.
    pub fn minutes_without_mail(&self, now: OffsetDateTime) -> Option<i64> {
        let own = self.own_wait_secs(now);
        let left = own.max(self.full_until_secs.saturating_sub(now.unix_timestamp()));
        (left > 0).then(|| (left + 59) / 60)
    }

    /// The number of mails this browser requested, if it exceeded its limit.
    pub fn times_asked(&self, now: OffsetDateTime) -> Option<usize> {
        (self.own_wait_secs(now) > 0).then_some(MAILS)
    }

    fn own_wait_secs(&self, now: OffsetDateTime) -> i64 {
        let oldest = self.asked_at_secs.last().filter(|_| self.asked_at_secs.len() > MAILS);
        oldest.map_or(0, |oldest| {
            oldest.saturating_add(WINDOW_SECS).saturating_sub(now.unix_timestamp())
        })
    }

    /// Seconds until the page offers another mail.
    pub fn wait_secs(&self, now: OffsetDateTime) -> i64 {
        (RESEND_SECS - now.unix_timestamp().saturating_sub(self.newest())).clamp(0, RESEND_SECS)
    }
}

/// The `Set-Cookie` that removes it.
pub fn forget(https: bool) -> HeaderValue {
    COOKIE.secure(https).clear()
}

#[cfg(test)]
mod tests {
    use http::header;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_was_asked_reads_back_and_the_wait_runs_out() {
        let now = datetime!(2026-11-23 20:00 UTC);
        let asked = PendingAddress::new(Email::parse("a@example.com").unwrap(), None, now)
            .after_a_wrong_code();
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
    fn the_seventh_request_in_ten_minutes_is_promised_nothing_and_does_not_count() {
        let email = Email::parse("a@example.com").unwrap();
        let at = |secs: u64| datetime!(2026-11-23 20:00 UTC) + Duration::from_secs(secs);
        let mut asked = None;
        for minute in 0..6 {
            let next = PendingAddress::new(email.clone(), asked, at(60 * minute));
            assert_eq!(next.minutes_without_mail(at(60 * minute)), None, "{minute}");
            asked = Some(next);
        }
        for minute in [6, 7, 8] {
            let next = PendingAddress::new(email.clone(), asked, at(60 * minute));
            let left = i64::try_from(10 - minute).unwrap();
            assert_eq!(next.minutes_without_mail(at(60 * minute)), Some(left), "{minute}");
            asked = Some(next);
        }
        let other = Email::parse("b@example.com").unwrap();
        let other = PendingAddress::new(other, asked.clone(), at(420));
        assert_eq!(other.minutes_without_mail(at(420)), None);
        let later = PendingAddress::new(email, asked, at(600));
        assert_eq!(later.minutes_without_mail(at(600)), None, "the first is ten minutes ago");
    }

    #[test]
    fn others_who_used_the_mails_up_are_not_counted_as_this_browser() {
        let now = datetime!(2026-11-23 20:00 UTC);
        let asked = PendingAddress::new(Email::parse("a@example.com").unwrap(), None, now);
        let sent = asked.clone().decided(MailDecision::Sent, now);
        assert_eq!((sent.minutes_without_mail(now), sent.times_asked(now)), (None, None));
        let later = asked.decided(MailDecision::Later(Duration::from_secs(61)), now);
        assert_eq!((later.minutes_without_mail(now), later.times_asked(now)), (Some(2), None));
        let headers = HeaderMap::from_iter([(
            header::COOKIE,
            later.cookie(false).to_str().unwrap().split(';').next().unwrap().parse().unwrap(),
        )]);
        assert_eq!(PendingAddress::from_headers(&headers, false), Some(later));
    }

    #[test]
    fn whoever_signs_in_within_the_same_second_has_not_done_so_before() {
        let now = datetime!(2026-11-23 20:00:00.9 UTC);
        let asked = PendingAddress::new(Email::parse("a@example.com").unwrap(), None, now);
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
            "asked=1.x.0.YUBiLmNv",
            "asked=1.0.0.PHNjcmlwdD4",
            "asked=1.0.YUBiLmNv",
            "asked=1.0.x.YUBiLmNv",
            "asked=1.0.0.!!",
        ] {
            let headers = HeaderMap::from_iter([(header::COOKIE, value.parse().unwrap())]);
            assert_eq!(PendingAddress::from_headers(&headers, false), None, "{value}");
            let both = format!("{value}; asked=1.0.0.YUBiLmNv").parse().unwrap();
            let headers = HeaderMap::from_iter([(header::COOKIE, both)]);
            assert!(PendingAddress::from_headers(&headers, false).is_some(), "{value}");
        }
    }
}
