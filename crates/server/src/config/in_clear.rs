//! Detects passwords of stores that would cross a foreign network unencrypted.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tracera_session::RedisUrl;
use url::Url;

use super::address::is_loopback;

/// Whether a Redis URL sends a password to a foreign host without TLS.
pub(super) fn redis(url: &RedisUrl) -> bool {
    url.has_password() && !url.is_tls() && url.hosts().any(is_foreign)
}

/// Whether a `PostgreSQL` URL does. If TLS is only preferred, an attacker on the network path can
/// suppress it.
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

/// Whether a host may be outside the operator's networks. A name without a dot resolves only
/// inside.
fn is_foreign(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_private = match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_unique_local(),
        Err(_) => !bare.contains('.'),
    };
    !is_private && !is_loopback(host)
}
