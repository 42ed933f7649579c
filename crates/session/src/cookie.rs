//! Reading the session cookie strictly, and writing it (RFC 6265bis).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::token::CookieValue;

/// What a request presents under the cookie's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    Nothing,
    One(&'a [u8]),
    /// Two or more: a sibling host may have planted one, so none is believed.
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

/// Whether it is a token of RFC 2616, as RFC 6265 has names.
pub(crate) fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// Whether browsers keep a cookie of that name only if it is secure.
pub(crate) fn demands_secure(name: &str) -> bool {
    let begins = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|part| part.eq_ignore_ascii_case(prefix))
    };
    begins("__Host-") || begins("__Secure-")
}

/// `Set-Cookie` with the token, for the time the session has left.
pub(crate) fn set(name: &str, value: &CookieValue, left: Duration, secure: bool) -> HeaderValue {
    let max_age = left.as_secs() + u64::from(left.subsec_millis() >= 500);
    header_value(
        &format!("{name}={}; HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age}", value.0),
        secure,
    )
}

/// `Set-Cookie` that removes the cookie.
pub(crate) fn clear(name: &str, secure: bool) -> HeaderValue {
    header_value(&format!("{name}=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"), secure)
}

fn header_value(text: &str, secure: bool) -> HeaderValue {
    let text = if secure { format!("{text}; Secure") } else { text.to_owned() };
    let mut value = HeaderValue::try_from(text).expect("a checked name, base64url and fixed text");
    value.set_sensitive(true);
    value
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
    fn names_are_tokens_and_some_demand_to_be_secure() {
        for name in ["session", "__Host-session", "a.b_c-1!"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a;b", "a=b", "my session", "a\nb", "\"a\"", "ü", "a,b"] {
            assert!(!is_name(name), "{name:?}");
        }
        for (name, demands) in [
            ("__Host-a", true),
            ("__secure-a", true),
            ("__Hosta", false),
            ("session", false),
            ("__ü", false),
        ] {
            assert_eq!(demands_secure(name), demands, "{name}");
        }
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
        let value = CookieValue("v".into());
        assert_eq!(
            set("__Host-session", &value, Duration::from_hours(72), true),
            "__Host-session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=259200; Secure"
        );
        assert_eq!(
            set("session", &value, Duration::from_millis(1499), false),
            "session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=1"
        );
        assert_eq!(clear("session", false), "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
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
