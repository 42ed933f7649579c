//! The one reader and the one writer of the session cookie (RFC 6265bis).
//!
//! 1. Names are compared byte by byte, neither decoded nor folded. Quotes are part of the value.
//! 2. If two cookies have the name, neither is accepted: a sibling host may have planted one.
//! 3. Attributes that no browser would keep together are refused when the application starts.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::{SameSite, SessionConfig};
use crate::cookie_rules;
use crate::token::CookieValue;

/// What a request presents under the cookie's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    Nothing,
    One(&'a [u8]),
    /// Two or more, of which none is accepted: a sibling host may have planted one.
    Several,
}

/// Finds the cookie by its exact name. Names are not decoded or folded; quotes are part of the
/// value.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Presented<'a> {
    let mut found = Presented::Nothing;
    for line in headers.get_all(header::COOKIE) {
        let line = line.as_bytes();
        let ends = memchr::memchr_iter(b';', line).chain([line.len()]);
        let mut begin = 0;
        for end in ends {
            let pair = &line[begin..end];
            begin = end + 1;
            let Some(value) = pair
                .trim_ascii_start()
                .strip_prefix(name.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="))
            else {
                continue;
            };
            if found != Presented::Nothing {
                return Presented::Several;
            }
            found = Presented::One(value.trim_ascii_end());
        }
    }
    found
}

/// How the session cookie is written: its name and its attributes.
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

    /// `Set-Cookie` with the token for the time the session has `left`; without it until the
    /// browser closes.
    pub(crate) fn set(&self, value: &CookieValue, left: Option<Duration>) -> HeaderValue {
        let Self { name, before, after } = self;
        let max_age = left.map(|left| left.as_secs() + u64::from(left.subsec_millis() >= 500));
        let max_age = max_age.map_or(String::new(), |max_age| format!("; Max-Age={max_age}"));
        header_value(format!("{name}={}{before}{max_age}{after}", value.0))
    }

    /// `Set-Cookie` that removes the cookie.
    pub(crate) fn clear(&self) -> HeaderValue {
        let Self { name, before, after } = self;
        header_value(format!("{name}={before}; Max-Age=0{after}"))
    }
}

fn header_value(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("checked names and attributes, base64url");
    value.set_sensitive(true);
    value
}

/// The token in a header for clients without cookies.
pub(crate) fn find_in_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Presented<'a> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Presented::Nothing };
    if values.next().is_some() {
        return Presented::Several;
    }
    let value = value.as_bytes().trim_ascii();
    if *name != header::AUTHORIZATION {
        return Presented::One(value);
    }
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
            Presented::One(token.trim_ascii())
        }
        // Another scheme is for another layer to read.
        _ => Presented::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap()))
            .collect()
    }

    #[test]
    fn only_the_exact_name_counts_and_only_once() {
        for (lines, expected) in [
            (&[][..], Presented::Nothing),
            (&["__Host-session=abc"], Presented::One(b"abc")),
            (&["a=1; __Host-session=abc; b=2"], Presented::One(b"abc")),
            (&["a=1;__Host-session=abc"], Presented::One(b"abc")),
            (&["a=1", "__Host-session=abc"], Presented::One(b"abc")),
            (&["__Host-session=abc; __Host-session=def"], Presented::Several),
            (&["__Host-session=abc", "__Host-session=abc"], Presented::Several),
            (&["__host-session=abc"], Presented::Nothing),
            (&["__%48ost-session=abc"], Presented::Nothing),
            (&["x__Host-session=abc"], Presented::Nothing),
            (&["__Host-session2=abc"], Presented::Nothing),
            (&["__Host-session = abc"], Presented::Nothing),
            (&["__Host-session=\"abc\""], Presented::One(b"\"abc\"")),
            (&["__Host-session"], Presented::Nothing),
            (&["__Host-session=ü"], Presented::One("ü".as_bytes())),
        ] {
            assert_eq!(find(&headers(lines), "__Host-session"), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_attributes_are_as_promised() {
        let (value, plain) = (CookieValue("v".into()), SessionConfig::default().secure(false));
        let hours = Some(Duration::from_hours(72));
        for (config, left, written) in [
            (
                SessionConfig::default(),
                hours,
                "__Host-session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=259200; Secure",
            ),
            (
                plain.clone(),
                Some(Duration::from_millis(1499)),
                "session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=1",
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
                 Max-Age=259200; Secure; Partitioned",
            ),
        ] {
            assert_eq!(CookieWriter::new(&config).set(&value, left), written);
        }
        let cleared = "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0";
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
    fn a_token_in_a_header_is_taken_once_and_of_its_scheme() {
        let own = HeaderName::from_static("x-session");
        for (name, lines, expected) in [
            (header::AUTHORIZATION, &["Bearer abc"][..], Presented::One(b"abc")),
            (header::AUTHORIZATION, &["bearer  abc "], Presented::One(b"abc")),
            (header::AUTHORIZATION, &["Basic abc"], Presented::Nothing),
            (header::AUTHORIZATION, &["Bearer"], Presented::Nothing),
            (header::AUTHORIZATION, &["Bearer a", "Bearer b"], Presented::Several),
            (own.clone(), &["abc"], Presented::One(b"abc")),
            (own.clone(), &[], Presented::Nothing),
        ] {
            let lines = lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line)));
            assert_eq!(find_in_header(&lines.collect(), &name), expected);
        }
    }

    proptest! {
        #[test]
        fn finding_never_panics(line in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.insert(header::COOKIE, value);
                find(&headers, "s");
            }
        }
    }
}
