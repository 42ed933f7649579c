//! Passwords of stores that would cross a network of others unencrypted.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Url, form_urlencoded};

use super::address::is_loopback;
use super::store::is_tls;

/// Whether a password in a URL of Redis that was accepted goes to a foreign host without TLS.
pub(super) fn redis(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let of_servers = credentials.split_once(':').is_some_and(|(_, password)| !password.is_empty());
    let of_sentinels = form_urlencoded::parse(parameters.as_bytes())
        .any(|(name, value)| name == "sentinel_password" && !value.is_empty());
    (of_servers || of_sentinels)
        && !is_tls(url)
        && hosts.split(',').any(|host| is_foreign(without_port(host)))
}

/// The same for `PostgreSQL`. Where TLS is only preferred, whoever is in between can say that there
/// is none.
pub(super) fn postgres(url: &str) -> bool {
    let (Ok(parsed), Ok(options)) = (Url::parse(url), url.parse::<PgConnectOptions>()) else {
        return false;
    };
    let has_password =
        parsed.password().is_some() || parsed.query_pairs().any(|(name, _)| name == "password");
    let may_do_without_tls =
        matches!(options.get_ssl_mode(), PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer);
    has_password
        && may_do_without_tls
        && options.get_socket().is_none()
        && is_foreign(options.get_host())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if !host.ends_with(']') => name,
        _ => host,
    }
}

/// Whether a host, as it stands in a URL, may be outside of one's own networks. A name without a
/// dot means something in one of them only.
fn is_foreign(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_private = match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_unique_local(),
        Err(_) => !bare.contains('.'),
    };
    !is_private && !is_loopback(host)
}
