//! The cookie that identifies a signed-out browser, so that its CSRF tokens can be bound to it.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};

use super::mac::{MAC_BYTES, MacKeys, random};
use crate::cookie::HostCookie;

const PURPOSE: &str = "tracera-guard visitor 1";
const ID_BYTES: usize = 16;
/// Id and MAC in base64url; 48 bytes leave no stray bits.
const VALUE_CHARS: usize = 64;
const COOKIE: HostCookie = HostCookie::new("visitor", Duration::from_secs(600));

/// Issues and reads the visitor cookie: a random 128-bit id with its MAC.
///
/// 1. Nothing is stored on the server.
/// 2. The cookie is a [`HostCookie`] named `visitor` that lives 600 seconds.
/// 3. An id grants nothing and only separates visitors. So the MAC has no expiry.
/// 4. Cookies with a wrong MAC count as absent: on plain http another application of the host can
///    add one.
/// 5. Of two cookies with a valid MAC, neither counts.
///
/// For a deployment on plain http: another application of the host can plant a cookie that was
/// issued to an attacker. The `__Host-` prefix prevents that on https.
///
/// ```
/// use http::{HeaderMap, header::COOKIE};
/// use tracera_guard::VisitorCookie;
///
/// let visitors = VisitorCookie::new([8; 32], [], true);
/// let (id, set_cookie) = visitors.issue();
///
/// let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
/// let mut headers = HeaderMap::new();
/// headers.insert(COOKIE, pair.parse().unwrap());
/// assert_eq!(visitors.parse(&headers), Some(id));
/// ```
#[derive(Clone)]
pub struct VisitorCookie {
    keys: MacKeys,
    cookie: HostCookie,
}

/// The random id of one signed-out browser, whose MAC was verified.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VisitorId([u8; ID_BYTES]);

impl VisitorId {
    /// The bytes to bind a token to.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for VisitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorId(…)")
    }
}

impl VisitorCookie {
    /// Signs with `current`. Cookies signed with a `previous` key stay valid. Set `secure` when the
    /// public URL is https.
    pub fn new(
        current: [u8; 32],
        previous: impl IntoIterator<Item = [u8; 32]>,
        secure: bool,
    ) -> Self {
        Self { keys: MacKeys::new(current, previous), cookie: COOKIE.secure(secure) }
    }

    /// Replaces the name `visitor`; the prefix stays. Browsers keep the cookies of all ports and
    /// paths of a host together, so each application needs a different name.
    ///
    /// # Panics
    /// If the name is not a lower-case letter, followed by lower-case letters, digits, `-` and `_`.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        Self { cookie: self.cookie.named(name), ..self }
    }

    /// Whether the cookie is `Secure`.
    pub(super) fn secure(self, secure: bool) -> Self {
        Self { cookie: self.cookie.secure(secure), ..self }
    }

    /// The visitor whose cookie the request carries; `None` without a valid one.
    pub fn parse(&self, headers: &HeaderMap) -> Option<VisitorId> {
        self.cookie.read_as(headers, |value| self.parse_value(value))
    }

    /// A new visitor, and the `Set-Cookie` that stores its id in the browser.
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub fn issue(&self) -> (VisitorId, HeaderValue) {
        let id = VisitorId(random());
        let set_cookie = self.renew(&id);
        (id, set_cookie)
    }

    /// The `Set-Cookie` that gives a known visitor another 600 seconds, signed with the current
    /// key.
    pub fn renew(&self, id: &VisitorId) -> HeaderValue {
        let mac = self.keys.sign(PURPOSE, &id.0);
        let value = BASE64_URL_SAFE_NO_PAD.encode([&id.0[..], &mac].concat());
        self.cookie.set(&value)
    }

    /// The `Set-Cookie` that removes the cookie.
    pub fn clear(&self) -> HeaderValue {
        self.cookie.clear()
    }

    fn parse_value(&self, value: &str) -> Option<VisitorId> {
        if value.len() != VALUE_CHARS {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(value).ok()?;
        let (id, mac) = bytes.split_at_checked(ID_BYTES)?;
        let mac: [u8; MAC_BYTES] = mac.try_into().ok()?;
        let id = VisitorId(id.try_into().ok()?);
        self.keys.verify(PURPOSE, &id.0, &mac).then_some(id)
    }
}

impl fmt::Debug for VisitorCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VisitorCookie({:?}, {:?})", self.cookie, self.keys)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::header::COOKIE;
    use proptest::prelude::*;

    use super::*;

    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    fn secure() -> VisitorCookie {
        VisitorCookie::new(NEW, [], true)
    }

    fn cookies(lines: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    /// A visitor and the value of its cookie.
    fn visitor(cookie: &VisitorCookie) -> (VisitorId, String) {
        let (id, set_cookie) = cookie.issue();
        let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
        (id, pair.split_once('=').unwrap().1.to_owned())
    }

    #[test]
    fn the_cookie_has_exactly_these_attributes() {
        let (_, set_cookie) = secure().issue();
        let (pair, attributes) = set_cookie.to_str().unwrap().split_once("; ").unwrap();
        assert_eq!(pair.len(), "__Host-visitor=".len() + VALUE_CHARS);
        assert!(pair.starts_with("__Host-visitor="));
        let (before, expires) = attributes.split_once("; Expires=").unwrap();
        assert_eq!(before, "HttpOnly; SameSite=Lax; Path=/; Max-Age=600");
        assert!(expires.ends_with(" GMT; Secure"), "{expires}");

        let plain = VisitorCookie::new(NEW, [], false);
        let (_, set_cookie) = plain.issue();
        let (pair, attributes) = set_cookie.to_str().unwrap().split_once("; ").unwrap();
        assert!(pair.starts_with("visitor="));
        let (before, expires) = attributes.split_once("; Expires=").unwrap();
        assert_eq!(before, "HttpOnly; SameSite=Lax; Path=/; Max-Age=600");
        assert!(expires.ends_with(" GMT"), "{expires}");

        assert_eq!(
            secure().clear(),
            "__Host-visitor=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure"
        );
    }

    #[test]
    fn applications_of_one_host_keep_their_visitors_apart_by_name() {
        let (shop, forum) = (secure().name("shop-visitor"), secure().name("forum_2"));
        let (id, set_cookie) = shop.issue();
        let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
        assert!(pair.starts_with("__Host-shop-visitor="));
        let (_, of_forum) = forum.issue();
        let of_forum = of_forum.to_str().unwrap().split(';').next().unwrap();
        let headers = cookies(&[format!("{of_forum}; {pair}")]);
        assert_eq!(shop.parse(&headers), Some(id));
        assert_eq!(secure().parse(&headers), None);

        let (_, plain) = VisitorCookie::new(NEW, [], false).name("shop").issue();
        assert!(plain.to_str().unwrap().starts_with("shop="));
        for wrong in ["", "_visitor", "__host-visitor", "Visitor", "2nd", "a b", "a=b", "a;b", "ä"]
        {
            assert!(std::panic::catch_unwind(|| secure().name(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn one_good_cookie_among_others_is_found() {
        let cookie = secure();
        let (id, value) = visitor(&cookie);
        for lines in [
            vec![format!("__Host-visitor={value}")],
            vec![format!("a=b; __Host-visitor={value};c=d")],
            vec![format!("a=b;  __Host-visitor={value} ; c")],
            vec!["a=b".to_owned(), format!("__Host-visitor={value}")],
            vec![format!("__Host-visitor=\"{value}\"")],
            vec![format!("__Host-visitor=; __Host-visitor={value}; __Host-visitor=planted")],
            vec![format!("__Host-visitor={value}"), format!("__Host-visitor={}", "A".repeat(64))],
            vec![format!("visitor=x; __host-visitor=y; __Host-visitor={value}; \u{fffd}=\u{fffd}")],
        ] {
            assert_eq!(cookie.parse(&cookies(&lines)), Some(id.clone()), "{lines:?}");
        }
    }

    #[test]
    fn other_names_other_forms_and_two_visitors_at_once_are_nobody() {
        let cookie = secure();
        let (_, value) = visitor(&cookie);
        let (_, second) = visitor(&cookie);
        let last_flipped = if value.ends_with('A') { "B" } else { "A" };
        for lines in [
            vec![],
            vec![format!("visitor={value}")],
            vec![format!("__host-visitor={value}")],
            vec![format!("__%48ost-visitor={value}")],
            vec![format!("__Host-visitor2={value}")],
            vec![format!("__Host-visitor={value}; __Host-visitor={second}")],
            vec![format!("__Host-visitor={value}; __Host-visitor={value}")],
            vec![format!("__Host-visitor={value}"), format!("__Host-visitor={second}")],
            vec![format!("__Host-visitor={value}=")],
            vec![format!("__Host-visitor={}", &value[1..])],
            vec![format!("__Host-visitor={}{last_flipped}", &value[..VALUE_CHARS - 1])],
            vec!["__Host-visitor=".to_owned()],
            vec!["__Host-visitor".to_owned()],
        ] {
            assert_eq!(cookie.parse(&cookies(&lines)), None, "{lines:?}");
        }
    }

    #[test]
    fn ids_are_random_and_bound_to_the_keys() {
        let cookie = secure();
        let ids: HashSet<_> = (0..1_000).map(|_| cookie.issue().0).collect();
        assert_eq!(ids.len(), 1_000);

        let (id, value) = visitor(&VisitorCookie::new(OLD, [], true));
        let headers = cookies(&[format!("__Host-visitor={value}")]);
        let rotated = VisitorCookie::new(NEW, [OLD], true);
        assert_eq!(rotated.parse(&headers), Some(id.clone()));
        assert_eq!(cookie.parse(&headers), None);

        let renewed = rotated.renew(&id);
        let pair = renewed.to_str().unwrap().split(';').next().unwrap();
        assert_eq!(cookie.parse(&cookies(&[pair.to_owned()])), Some(id));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let (id, _) = secure().issue();
        assert_eq!(format!("{id:?}"), "VisitorId(…)");
        let shown = format!("{:?}", VisitorCookie::new(NEW, [OLD], true));
        assert!(shown.ends_with(", 2 keys)"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_made_up_cookie_is_a_visitor(value in "[A-Za-z0-9_-]{64}|[ -~]{0,100}") {
            let headers = cookies(&[format!("__Host-visitor={value}")]);
            prop_assert_eq!(secure().parse(&headers), None);
        }
    }
}
