//! The service's cookies beside the session's. One proves nothing by itself: whoever makes one up
//! sees their own words.

use http::{HeaderMap, HeaderValue, header};

/// A cookie: `HttpOnly; SameSite=Lax; Path=/`, `Secure` with the `__Host-` prefix on https.
#[derive(Clone, Copy, Debug)]
pub struct ServiceCookie {
    name: &'static str,
    max_age_secs: u32,
}

impl ServiceCookie {
    /// `name` begins with `__Host-`, which is left out without https.
    pub const fn new(name: &'static str, max_age_secs: u32) -> Self {
        Self { name, max_age_secs }
    }

    fn name(self, https: bool) -> &'static str {
        if https { self.name } else { self.name.strip_prefix("__Host-").unwrap_or(self.name) }
    }

    /// All that the browser sent by exactly this name.
    pub fn values(self, headers: &HeaderMap, https: bool) -> impl Iterator<Item = &str> {
        let lines = headers.get_all(header::COOKIE).iter();
        let lines = lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok());
        let pairs = lines.flat_map(|line| line.split(';')).map(str::trim_ascii);
        pairs.filter_map(move |pair| pair.strip_prefix(self.name(https))?.strip_prefix('='))
    }

    /// The first of them.
    pub fn read(self, headers: &HeaderMap, https: bool) -> Option<&str> {
        self.values(headers, https).next()
    }

    /// The `Set-Cookie` that makes the browser keep `value`, which is visible ASCII without
    /// semicolons.
    ///
    /// # Panics
    /// If it is not.
    pub fn set(self, value: &str, https: bool) -> HeaderValue {
        self.line(value, self.max_age_secs, https)
    }

    /// The `Set-Cookie` that makes the browser forget it.
    pub fn forget(self, https: bool) -> HeaderValue {
        self.line("", 0, https)
    }

    fn line(self, value: &str, max_age_secs: u32, https: bool) -> HeaderValue {
        let (name, secure) = (self.name(https), if https { "; Secure" } else { "" });
        let line = format!(
            "{name}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age_secs}{secure}"
        );
        HeaderValue::try_from(line).expect("callers write base64url or names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: ServiceCookie = ServiceCookie::new("__Host-asked", 600);

    #[test]
    fn attributes_are_strict_and_only_the_exact_name_is_read() {
        assert_eq!(
            COOKIE.set("x", true),
            "__Host-asked=x; HttpOnly; SameSite=Lax; Path=/; Max-Age=600; Secure"
        );
        assert_eq!(COOKIE.forget(false), "asked=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
        let headers = HeaderMap::from_iter([(
            header::COOKIE,
            "unasked=1; asked=2; __Host-asked=3".parse().unwrap(),
        )]);
        assert_eq!(
            (COOKIE.read(&headers, false), COOKIE.read(&headers, true)),
            (Some("2"), Some("3"))
        );
        assert_eq!(COOKIE.read(&HeaderMap::new(), true), None);
    }
}
