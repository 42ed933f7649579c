//! URLs of other services, with redaction.

use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::problem::Wrong;

/// A URL that may contain credentials. `Debug` and `Display` omit user, password and parameters.
#[derive(Clone)]
pub struct SecretUrl {
    url: SecretString,
    shown: String,
}

impl SecretUrl {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.into(), shown: redact_url(url) }
    }

    /// The whole URL.
    pub fn expose(&self) -> &str {
        self.url.expose_secret()
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({})", self.shown)
    }
}

/// The URL of an external service: `https`, or `http` on loopback, without credentials, parameters
/// and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// The URL exactly as configured, because an issuer is compared with it. GitHub's URL is
    /// normalised.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Normalises the URL: host in lower case, no default port, no trailing slash.
    pub(super) fn normalized(&self) -> Self {
        let url = Url::parse(&self.0).expect("it was parsed before");
        Self(url.as_str().trim_end_matches('/').to_owned())
    }

    /// The URL of a path below it; `path` starts with a slash.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }

    /// Scheme, host and port, for a content security policy.
    pub fn origin(&self) -> String {
        let url = Url::parse(&self.0).expect("it was parsed before");
        url.origin().ascii_serialization()
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        let url = Url::parse(&self.0).expect("it was parsed before");
        is_loopback(url.host_str().unwrap_or_default())
    }

    /// The host, as the default display name.
    pub(super) fn host(&self) -> String {
        let url = Url::parse(&self.0).expect("it was parsed before");
        url.host_str().unwrap_or_default().to_owned()
    }

    /// Whether a URL named by another service may be used: `https`, or `http` on loopback.
    pub fn is_acceptable(url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| require_https(&url).is_ok())
    }

    /// The URL of a test server.
    #[cfg(test)]
    pub(crate) fn loopback(url: &str) -> Self {
        Self::parse(url).expect("tests write URLs of loopback")
    }

    // Messages never contain the URL, because it may contain a password.
    pub(super) fn parse(value: &str) -> Result<Self, Wrong> {
        let url = Url::parse(value).map_err(not_a_url)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Wrong::new("holds credentials", "write it without user and password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Wrong::new("holds parameters", "write it without what follows ? or #"));
        }
        require_https(&url)?;
        Ok(Self(value.to_owned()))
    }
}

pub(super) fn not_a_url(error: url::ParseError) -> Wrong {
    Wrong::new(format!("is not a URL ({error})"), "write a whole URL, with its scheme and host")
}

/// Requires `https`, or `http` on loopback.
pub(super) fn require_https(url: &Url) -> Result<(), Wrong> {
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(host) => Ok(()),
        _ => Err(Wrong::new("is not https", "write an https URL; http is for loopback only")),
    }
}

/// Whether a host from a URL is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = bare.to_ascii_lowercase();
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Removes user, password and parameters from a URL.
pub(super) fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.split_once(['?', '#']) {
        // An `@` in the path suggests misplaced credentials.
        _ if path.contains('@') => "/***".to_owned(),
        Some((path, _)) => format!("{path}?***"),
        None => path.to_owned(),
    };
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_url_shows_neither_credentials_nor_parameters() {
        for (url, shown) in [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://:canary@h/0", "redis://***@h/0"),
            ("redis://canary:can@ary@h", "redis://***@h"),
            ("redis+sentinel://u:canary@a:1,b:2/main/3", "redis+sentinel://***@a:1,b:2/main/3"),
            ("postgres://h/db?password=canary", "postgres://h/db?***"),
            ("postgres://h/db?password=c@nary", "postgres://h/***"),
            ("smtps://u:canary@h:465", "smtps://***@h:465"),
            ("canary", "***"),
        ] {
            assert_eq!(redact_url(url), shown);
            let debug = format!("{:?}", SecretUrl::new(url));
            assert!(!debug.contains("canary") && !debug.contains("nary"), "{debug}");
        }
    }

    #[test]
    fn loopback_is_recognised_in_every_spelling() {
        for host in [
            "localhost",
            "LOCALHOST",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "::1",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "mylocalhost",
            "128.0.0.1",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_endpoint_has_one_slash_and_the_service_keeps_its_spelling() {
        for base in ["https://id.example/t", "https://id.example/t/"] {
            let service = ServiceUrl::parse(base).unwrap();
            assert_eq!(service.as_str(), base);
            assert_eq!(service.endpoint("/authorize"), "https://id.example/t/authorize");
        }
    }
}
