//! Cookies that only this host can set and read: [`HostCookie`] has the rules.

use std::time::{Duration, SystemTime};

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::name::is_name;

const PREFIX: &str = "__Host-";

/// Browsers keep no cookie longer than 400 days. A century keeps the year in `Expires` valid.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads and writes one cookie of this host.
///
/// 1. A secure cookie has the prefix `__Host-`, which browsers accept only from the host itself,
///    over https, for all its paths ([RFC 6265bis, section 4.1.3.2]).
/// 2. Every cookie is `HttpOnly`, `SameSite=Lax` and `Path=/`.
/// 3. A name is compared byte by byte; nothing is decoded or folded.
/// 4. A value that this application cannot have set counts as absent. If two values can be its own,
///    neither counts.
/// 5. Double quotes around a value are removed: Java's `HttpClient` adds them.
/// 6. `Expires` repeats `Max-Age`, for clients that know only `Expires`.
///
/// A deployment on plain http has no prefix. There, another port or path of the host, or anybody on
/// the network path, can set the cookie.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue, header::COOKIE};
/// use tracera_guard::HostCookie;
///
/// const THEME: HostCookie = HostCookie::new("theme", Duration::from_secs(86_400));
///
/// let set_cookie = THEME.set("dark");
/// let attributes = "__Host-theme=dark; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400; Expires=";
/// assert!(set_cookie.to_str().unwrap().starts_with(attributes));
/// let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("__Host-theme=dark"))]);
/// assert_eq!(THEME.read(&headers), Some("dark"));
/// ```
///
/// [RFC 6265bis, section 4.1.3.2]: https://httpwg.org/http-extensions/draft-ietf-httpbis-rfc6265bis.html#name-the-__host-prefix
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCookie {
    name: &'static str,
    max_age: Duration,
    secure: bool,
}

impl HostCookie {
    /// A secure cookie. `name` is without the prefix. The browser keeps the cookie for `max_age`,
    /// in whole seconds.
    ///
    /// # Panics
    /// If the name is not a lower-case letter, followed by lower-case letters, digits, `-` and `_`.
    /// In a `const` this is a compile error.
    pub const fn new(name: &'static str, max_age: Duration) -> Self {
        assert!(
            is_name(name) && name.as_bytes()[0].is_ascii_lowercase(),
            "the name of a cookie is made of a-z, 0-9, - and _, a letter first"
        );
        Self { name, max_age, secure: true }
    }

    /// Whether the cookie is `Secure` and has the prefix. Default: true; use false for plain http.
    #[must_use]
    pub const fn secure(self, secure: bool) -> Self {
        Self { secure, ..self }
    }

    /// The same cookie under another name.
    #[must_use]
    pub(crate) const fn named(self, name: &'static str) -> Self {
        Self::new(name, self.max_age).secure(self.secure)
    }

    /// The value that the browser sent. `None` unless exactly one value under this name consists of
    /// characters that RFC 6265 allows.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.read_as(headers, Some)
    }

    /// The parsed value that the browser sent. `None` unless `parse` accepts exactly one of the
    /// values under this name; the others belong to other applications.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{HeaderMap, HeaderValue, header::COOKIE};
    /// use tracera_guard::HostCookie;
    ///
    /// const PAGE: HostCookie = HostCookie::new("page", Duration::from_secs(600)).secure(false);
    ///
    /// let read = |cookies| {
    ///     let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(cookies))]);
    ///     PAGE.read_as(&headers, |value| value.parse::<u32>().ok())
    /// };
    /// assert_eq!(read("page=home; page=7"), Some(7));
    /// assert_eq!(read("page=8; page=7"), None);
    /// ```
    pub fn read_as<'a, T>(
        &self,
        headers: &'a HeaderMap,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Option<T> {
        let mut own = self.values(headers).filter_map(parse);
        own.next().filter(|_| own.next().is_none())
    }

    /// Every well-formed value the browser sent under this name.
    fn values<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let Self { name: own, secure, .. } = *self;
        let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(move |pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            let name = if secure { name.strip_prefix(PREFIX.as_bytes())? } else { name };
            if name == own.as_bytes() { unquoted(value) } else { None }
        })
    }

    /// The `Set-Cookie` header that stores `value`. `Expires` is by the system's clock.
    ///
    /// # Panics
    /// If the value is empty or has a character that RFC 6265 forbids. These are control
    /// characters, spaces, double quotes, commas, semicolons, backslashes and non-ASCII characters.
    pub fn set(&self, value: &str) -> HeaderValue {
        assert!(
            !value.is_empty() && value.bytes().all(is_cookie_octet),
            "the value of a cookie is visible ASCII without `\"`, `,`, `;` and `\\`"
        );
        #[expect(clippy::disallowed_methods, reason = "browsers compare it with their own clock")]
        let now = SystemTime::now();
        self.kept(value, now)
    }

    /// The `Set-Cookie` header that removes the cookie.
    pub fn clear(&self) -> HeaderValue {
        self.line("", 0, SystemTime::UNIX_EPOCH)
    }

    fn kept(&self, value: &str, now: SystemTime) -> HeaderValue {
        let max_age = self.max_age.min(LONGEST);
        self.line(value, max_age.as_secs(), now + max_age)
    }

    fn line(&self, value: &str, max_age_secs: u64, end: SystemTime) -> HeaderValue {
        let name = self.name;
        let (prefix, secure) = if self.secure { (PREFIX, "; Secure") } else { ("", "") };
        let expires = httpdate::fmt_http_date(end);
        let line = format!(
            "{prefix}{name}={value}; HttpOnly; SameSite=Lax; Path=/; \
             Max-Age={max_age_secs}; Expires={expires}{secure}"
        );
        HeaderValue::try_from(line).expect("names, values and numbers are visible ASCII")
    }
}

fn unquoted(value: &[u8]) -> Option<&str> {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let value = inner.unwrap_or(value);
    value.iter().copied().all(is_cookie_octet).then(|| str::from_utf8(value).ok())?
}

/// `cookie-octet` of RFC 6265, section 4.1.1.
const fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOKIE_S: HostCookie = HostCookie::new("a_cookie", Duration::from_secs(600));
    const PLAIN: HostCookie = COOKIE_S.secure(false);

    fn cookies(lines: &[&str]) -> HeaderMap {
        let line = |line: &&str| (COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        lines.iter().map(line).collect()
    }

    #[test]
    fn attributes_are_strict() {
        // Saturday, 28 November 2026, 10:00 UTC.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_860_000);
        assert_eq!(
            COOKIE_S.kept("x", now),
            "__Host-a_cookie=x; HttpOnly; SameSite=Lax; Path=/; Max-Age=600; \
             Expires=Sat, 28 Nov 2026 10:10:00 GMT; Secure"
        );
        assert_eq!(
            PLAIN.kept("x", now),
            "a_cookie=x; HttpOnly; SameSite=Lax; Path=/; Max-Age=600; \
             Expires=Sat, 28 Nov 2026 10:10:00 GMT"
        );
        assert_eq!(
            COOKIE_S.clear(),
            "__Host-a_cookie=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure"
        );
        assert_eq!(
            PLAIN.clear(),
            "a_cookie=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
        let forever = HostCookie::new("forever", Duration::MAX);
        assert!(forever.set("x").to_str().unwrap().contains("; Max-Age=3153600000; Expires="));
    }

    #[test]
    fn exactly_one_cookie_of_exactly_this_name_is_read() {
        for (lines, value) in [
            (&["__Host-a_cookie=x"][..], Some("x")),
            (&["a=b;  __Host-a_cookie=x ; c"], Some("x")),
            (&["a=b", "__Host-a_cookie=x"], Some("x")),
            (&["__Host-a_cookie=x=y"], Some("x=y")),
            (&["__Host-a_cookie=\"x\""], Some("x")),
            (&["__Host-a_cookie="], Some("")),
            (&["a_cookie=1; __host-a_cookie=2; __Host-a_cookie=x"], Some("x")),
            (&[], None),
            (&["a_cookie=x"], None),
            (&["__host-a_cookie=x"], None),
            (&["__%48ost-a_cookie=x"], None),
            (&["__Host-a_cookie2=x"], None),
            (&["__Host-__Host-a_cookie=x"], None),
            (&["__Host-a_cookie"], None),
            (&["__Host-a_cookie=x; __Host-a_cookie=x"], None),
            (&["__Host-a_cookie=x", "__Host-a_cookie=y"], None),
            (&["__Host-a_cookie=x; __Host-a_cookie=\u{fffd}"], Some("x")),
            (&["$Version=\"1\"; __Host-a_cookie=\"x\";$Path=\"/\""], Some("x")),
            (&["__Host-a_cookie=\"x"], None),
            (&["__Host-a_cookie=\"\"x\"\""], None),
            (&["__Host-a_cookie=x y"], None),
            (&["__Host-a_cookie=x,y"], None),
            (&["__Host-a_cookie=ü"], None),
        ] {
            assert_eq!(COOKIE_S.read(&cookies(lines)), value, "{lines:?}");
        }
        let both = cookies(&["a_cookie=plain; __Host-a_cookie=secure"]);
        assert_eq!((PLAIN.read(&both), COOKIE_S.read(&both)), (Some("plain"), Some("secure")));
    }

    #[test]
    fn names_and_values_that_would_break_the_header_are_refused() {
        for name in ["", "_a", "__Host-a", "A", "2nd", "a b", "a=b", "a;b", "ä"] {
            let made = std::panic::catch_unwind(|| HostCookie::new(name, Duration::ZERO));
            assert!(made.is_err(), "{name:?}");
        }
        for value in ["", "a b", "a;b", "a,b", "\"a\"", "a\\b", "ä", "a\n"] {
            assert!(std::panic::catch_unwind(|| PLAIN.set(value)).is_err(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_set_is_read(value in "[!#-+\\--:<-\\[\\]-~]{1,40}", secure: bool) {
            let cookie = COOKIE_S.secure(secure);
            let line = cookie.set(&value);
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let headers = cookies(&[pair]);
            prop_assert_eq!(cookie.read(&headers), Some(&*value));
        }

        #[test]
        fn any_header_is_read_without_panic(line in "[ -~\u{e9}]{0,80}") {
            let headers = cookies(&[&line]);
            let _ = (COOKIE_S.read(&headers), PLAIN.read(&headers));
        }
    }
}
