//! URLs of other services, and what of them may be shown.

use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::problem::Wrong;

/// A URL that may hold credentials. `Debug` and `Display` leave out user, password and parameters.
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

/// A service of somebody else: https, or http to loopback, without credentials, parameters and
/// fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// Exactly as configured, except for GitHub, whose address has one spelling; an issuer is
    /// compared with this.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one spelling of all that mean the same: host in lower case, no usual port, no slash at
    /// the end.
    pub(super) fn normalized(&self) -> Self {
        let url = Url::parse(&self.0).expect("it was parsed before");
        Self(url.as_str().trim_end_matches('/').to_owned())
    }

    /// The address of something below it; `path` begins with a slash.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }

    /// Scheme, host and port, as a content security policy names them.
    pub fn origin(&self) -> String {
        let url = Url::parse(&self.0).expect("it was parsed before");
        url.origin().ascii_serialization()
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        let url = Url::parse(&self.0).expect("it was parsed before");
        is_loopback(url.host_str().unwrap_or_default())
    }

    /// Whether an address that another service named may be used: https, or http to this machine.
    pub fn is_acceptable(url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| require_https(&url).is_ok())
    }

    /// A server of a test.
    #[cfg(test)]
    pub(crate) fn loopback(url: &str) -> Self {
        Self::parse(url).expect("tests write URLs of loopback")
    }

    // A message about a URL never repeats it, because it may hold a password.
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

/// https, or http to this machine.
pub(super) fn require_https(url: &Url) -> Result<(), Wrong> {
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(host) => Ok(()),
        _ => Err(Wrong::new("is not https", "write an https URL; http is for loopback only")),
    }
}

/// Whether a host name or address, as it stands in a URL, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = bare.to_ascii_lowercase();
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// A URL without user, password and parameters.
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
        // An @ this late means that the credentials were not where they belong.
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
