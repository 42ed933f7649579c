//! Reads and writes the session cookie (RFC 6265bis).
//!
//! 1. Names are compared byte by byte, neither decoded nor folded.
//! 2. A value may stand in double quotes, which do not belong to it: Java's `HttpClient` adds them.
//! 3. Attributes that no browser would keep together are refused when the application starts.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::clock::Timestamp;
use crate::config::{SameSite, SessionConfig};
use crate::cookie_rules;
use crate::token::CookieValue;

/// Every value that a request presents under exactly this name. Another application of the same
/// host may have set some of them.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    lines.flat_map(move |line| {
        let mut begin = 0;
        memchr::memchr_iter(b';', line).chain([line.len()]).filter_map(move |end| {
            let pair = &line[begin..end];
            begin = end + 1;
            let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
            Some(unquoted(rest.strip_prefix(b"=")?.trim_ascii_end()))
        })
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// The only item, if there is exactly one. Two cookies of one name are both refused, because a
/// sibling host may have planted one.
#[cfg(feature = "device-binding")]
pub(crate) fn lone<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

/// Writes the session cookie: its name and its attributes.
#[derive(Debug, Clone)]
pub(crate) struct CookieWriter {
    name: Box<str>,
    /// The attributes before `Max-Age`.
    before: Box<str>,
    /// The attributes after it.
    after: Box<str>,
}

impl CookieWriter {
    /// # Panics
    /// If no browser would keep such a cookie.
    pub(crate) fn new(config: &SessionConfig) -> Self {
        let name = config.effective_cookie_name();
        let (secure, path) = (config.secure, config.path.as_deref().unwrap_or("/"));
        if let Some(prefix) = cookie_rules::prefix(name) {
            assert!(secure, "a cookie named {name} has to be secure");
            if prefix.starts_with("__Host-") {
                assert!(path == "/", "a cookie named {name} has to have the path /");
                assert!(config.domain.is_none(), "a cookie named {name} must not have a domain");
            }
        }
        let same_site = match config.same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => {
                assert!(secure, "a cookie with SameSite=None has to be secure");
                "None"
            }
        };
        assert!(secure || !config.partitioned, "a partitioned cookie has to be secure");
        let domain =
            config.domain.as_ref().map_or(String::new(), |host| format!("; Domain={host}"));
        let secure = if secure { "; Secure" } else { "" };
        let partitioned = if config.partitioned { "; Partitioned" } else { "" };
        Self {
            name: name.into(),
            before: format!("; HttpOnly; SameSite={same_site}; Path={path}{domain}").into(),
            after: format!("{secure}{partitioned}").into(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `Set-Cookie` with the token, kept from `now` until the session ends; without an `end` until
    /// the browser closes.
    pub(crate) fn set(
        &self,
        value: &CookieValue,
        now: Timestamp,
        end: Option<Timestamp>,
    ) -> HeaderValue {
        let Self { name, before, after } = self;
        let lasting = end.map_or(String::new(), |end| {
            let left = end.since(now);
            let max_age = left.as_secs() + u64::from(left.subsec_millis() >= 500);
            let expires = httpdate::fmt_http_date(end.min(LAST_DATE).into());
            format!("; Max-Age={max_age}; Expires={expires}")
        });
        header_value(format!("{name}={}{before}{lasting}{after}", value.0))
    }

    /// `Set-Cookie` that removes the cookie.
    pub(crate) fn clear(&self) -> HeaderValue {
        let Self { name, before, after } = self;
        header_value(format!(
            "{name}={before}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{after}"
        ))
    }
}

/// The end of the year 9999, the last one that `Expires` can express.
const LAST_DATE: Timestamp = Timestamp::from_millis(253_402_300_799_000);

fn header_value(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("checked names and attributes, base64url");
    value.set_sensitive(true);
    value
}

/// Every value of a header for clients without cookies.
pub(crate) fn header_values<'a>(
    headers: &'a HeaderMap,
    name: &'a HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().filter_map(move |value| {
        let value = value.as_bytes().trim_ascii();
        if *name != header::AUTHORIZATION {
            return Some(value);
        }
        // Another layer may read another scheme.
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap()))
            .collect()
    }

    #[test]
    fn only_the_exact_name_counts() {
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&["__Host-session=abc"], &["abc"]),
            (&["a=1; __Host-session=abc; b=2"], &["abc"]),
            (&["a=1;__Host-session=abc"], &["abc"]),
            (&["a=1", "__Host-session=abc "], &["abc"]),
            (&["__Host-session=abc; __Host-session=def"], &["abc", "def"]),
            (&["__Host-session=abc", "__Host-session=abc"], &["abc", "abc"]),
            (&["__host-session=abc"], &[]),
            (&["__%48ost-session=abc"], &[]),
            (&["x__Host-session=abc"], &[]),
            (&["__Host-session2=abc"], &[]),
            (&["__Host-session = abc"], &[]),
            (&["$Version=\"1\"; __Host-session=\"abc\";$Path=\"/\""], &["abc"]),
            (&["__Host-session=\"abc"], &["\"abc"]),
            (&["__Host-session=\""], &["\""]),
            (&["__Host-session=\"\"abc\"\""], &["\"abc\""]),
            (&["__Host-session"], &[]),
            (&["__Host-session="], &[""]),
            (&["__Host-session=ü"], &["ü"]),
        ] {
            let headers = headers(lines);
            let found: Vec<_> = values(&headers, "__Host-session").collect();
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(found, expected, "{lines:?}");
        }
        let numbers = [7, 7];
        assert_eq!([2, 1, 0].map(|count| lone(numbers.iter().take(count))), [None, Some(&7), None]);
    }

    #[test]
    fn the_attributes_are_as_promised() {
        let (value, plain) = (CookieValue("v".into()), SessionConfig::default().secure(false));
        // Saturday, 28 November 2026, 10:00 UTC.
        let now = Timestamp::from_millis(1_795_860_000_000);
        let hours = Some(now.plus(Duration::from_secs(72 * 3600)));
        for (config, end, written) in [
            (
                SessionConfig::default(),
                hours,
                "__Host-session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=259200; \
                 Expires=Tue, 01 Dec 2026 10:00:00 GMT; Secure",
            ),
            (
                plain.clone(),
                Some(now.plus(Duration::from_millis(1499))),
                "session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=1; \
                 Expires=Sat, 28 Nov 2026 10:00:01 GMT",
            ),
            (
                plain.clone(),
                Some(Timestamp::from_millis(u64::MAX)),
                "session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=18446742277849552; \
                 Expires=Fri, 31 Dec 9999 23:59:59 GMT",
            ),
            (plain.clone(), None, "session=v; HttpOnly; SameSite=Lax; Path=/"),
            (
                SessionConfig::default()
                    .cookie_name("__Secure-sid")
                    .same_site(SameSite::None)
                    .domain("example.org")
                    .path("/app")
                    .partitioned(true),
                hours,
                "__Secure-sid=v; HttpOnly; SameSite=None; Path=/app; Domain=example.org; \
                 Max-Age=259200; Expires=Tue, 01 Dec 2026 10:00:00 GMT; Secure; Partitioned",
            ),
        ] {
            assert_eq!(CookieWriter::new(&config).set(&value, now, end), written);
        }
        let cleared = "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; \
                       Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(CookieWriter::new(&plain).clear(), cleared);
    }

    #[test]
    fn attributes_that_no_browser_keeps_together_are_refused() {
        let secure = SessionConfig::default;
        let plain = || secure().secure(false);
        for (number, config) in [
            plain().cookie_name("__Host-sid"),
            plain().cookie_name("__secure-sid"),
            plain().cookie_name("__Http-sid"),
            plain().same_site(SameSite::None),
            plain().partitioned(true),
            secure().domain("example.org"),
            secure().path("/app"),
            secure().cookie_name("__Host-Http-sid").path("/app"),
        ]
        .into_iter()
        .enumerate()
        {
            let refused = std::panic::catch_unwind(|| CookieWriter::new(&config)).is_err();
            assert!(refused, "{number}: {config:?}");
        }
        CookieWriter::new(&secure().cookie_name("__Host-Http-sid").same_site(SameSite::Strict));
    }

    #[test]
    fn a_token_in_a_header_is_of_its_scheme() {
        let own = HeaderName::from_static("x-session");
        for (name, lines, expected) in [
            (header::AUTHORIZATION, &["Bearer abc"][..], &["abc"][..]),
            (header::AUTHORIZATION, &["bearer  abc "], &["abc"]),
            (header::AUTHORIZATION, &["Basic abc"], &[]),
            (header::AUTHORIZATION, &["Bearer"], &[]),
            (header::AUTHORIZATION, &["Bearer a", "Basic b", "Bearer c"], &["a", "c"]),
            (own.clone(), &["abc"], &["abc"]),
            (own.clone(), &[], &[]),
        ] {
            let lines = lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line)));
            let headers: HeaderMap = lines.collect();
            let found: Vec<_> = header_values(&headers, &name).collect();
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(found, expected);
        }
    }

    proptest! {
        #[test]
        fn finding_never_panics(line in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.insert(header::COOKIE, value);
                values(&headers, "s").for_each(drop);
            }
        }
    }
}
