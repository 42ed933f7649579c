//! Which Redis: one server, a primary behind Sentinels, or a cluster.

use std::sync::Arc;

use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisResult,
    TlsCertificates, TlsMode, parse_redis_url,
};
use rustls::crypto::CryptoProvider;

use super::authorities::RedisAuthorities;
use super::connection::RedisLimits;
use super::tracking::Tracking;

/// A Redis URL could not be understood. Never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// The scheme is none of those listed.
    #[error(
        "the scheme is not redis://, rediss://, redis+sentinel:// or redis+cluster:// (or valkey…)"
    )]
    Scheme,
    /// Host, port, credentials or database are malformed.
    #[error("host, port, credentials or database are malformed: {0}")]
    Malformed(#[source] redis::RedisError),
    /// There are [`RedisAuthorities`] for a connection without TLS.
    #[error("there are authorities for a connection without TLS")]
    NoTls,
}

/// Something to connect to.
pub(super) enum Target {
    Single(Box<Client>),
    Sentinel(Box<SentinelClient>),
    /// With how to connect to one of its nodes.
    Cluster(Box<ClusterClient>, Arc<ConnectionInfo>),
}

impl Target {
    /// With `tracking` everything speaks RESP3, and a cluster's connections give it what they are
    /// told.
    pub(super) fn parse(
        url: &str,
        limits: RedisLimits,
        authorities: Option<&RedisAuthorities>,
        tracking: Option<&Tracking>,
    ) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase().replacen("valkey", "redis", 1);
        let (kind, tls) = match &*scheme {
            "redis" => ("", false),
            "rediss" => ("", true),
            "redis+sentinel" => ("sentinel", false),
            "rediss+sentinel" => ("sentinel", true),
            "redis+cluster" => ("cluster", false),
            "rediss+cluster" => ("cluster", true),
            _ => return Err(RedisUrlError::Scheme),
        };
        if tls {
            have_tls_provider();
        } else if authorities.is_some() {
            return Err(RedisUrlError::NoTls);
        }
        let plain = if tls { "rediss" } else { "redis" };
        let certificates = authorities.map(RedisAuthorities::certificates);
        let protocol =
            if tracking.is_some() { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let built = match kind {
            "sentinel" => sentinel(plain, rest, certificates, protocol),
            "cluster" => cluster(plain, rest, limits, certificates, tracking),
            _ => single(&format!("{plain}://{rest}"), certificates, protocol),
        };
        built.map_err(RedisUrlError::Malformed)
    }
}

/// Without a provider of cryptography for the process rustls panics: ring is it unless the
/// application has chosen one.
fn have_tls_provider() {
    if CryptoProvider::get_default().is_none() {
        // It fails only if another thread has just chosen one, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn single(
    url: &str,
    certificates: Option<TlsCertificates>,
    protocol: ProtocolVersion,
) -> RedisResult<Target> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(protocol);
    client(info.set_redis_settings(settings), certificates)
        .map(|client| Target::Single(Box::new(client)))
}

fn client(info: ConnectionInfo, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

/// `[user:password@]host:port,…[/service[/database]][?sentinel_username=…&sentinel_password=…]`;
/// the credentials in front are the data servers'.
fn sentinel(
    plain: &str,
    rest: &str,
    certificates: Option<TlsCertificates>,
    protocol: ProtocolVersion,
) -> RedisResult<Target> {
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (credentials, hosts, path) = split(rest);
    let (service, database) = path.split_once('/').unwrap_or((path, "0"));
    let service = if service.is_empty() { "mymaster" } else { service };
    let sentinels = hosts
        .split(',')
        .map(|host| Ok(format!("{plain}://{host}").into_connection_info()?.addr().clone()))
        .collect::<RedisResult<Vec<_>>>()?;
    let node = format!("{plain}://{credentials}localhost/{database}").into_connection_info()?;
    let settings = node.redis_settings();
    let mut builder = SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)?
        .set_client_to_redis_db(settings.db())
        .set_client_to_redis_protocol(protocol);
    if let Some(user) = settings.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    let parameters = parse_redis_url(&format!("{plain}://localhost?{parameters}"));
    for (name, value) in parameters.iter().flat_map(|url| url.query_pairs()) {
        builder = match &*name {
            "sentinel_username" => builder.set_client_to_sentinel_username(value),
            "sentinel_password" => builder.set_client_to_sentinel_password(value),
            _ => {
                return Err(
                    (ErrorKind::InvalidClientConfig, "a parameter that is not known").into()
                );
            }
        };
    }
    if plain == "rediss" {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build().map(|client| Target::Sentinel(Box::new(client)))
}

/// `[user:password@]host:port,…`
fn cluster(
    plain: &str,
    rest: &str,
    limits: RedisLimits,
    certificates: Option<TlsCertificates>,
    tracking: Option<&Tracking>,
) -> RedisResult<Target> {
    let (credentials, hosts, _) = split(rest);
    let nodes = hosts
        .split(',')
        .map(|host| format!("{plain}://{credentials}{host}").into_connection_info())
        .collect::<RedisResult<Vec<_>>>()?;
    let node = client(nodes[0].clone(), certificates.clone())?.get_connection_info().clone();
    let mut builder = ClusterClient::builder(nodes);
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    if let Some(tracking) = tracking {
        builder = builder.use_protocol(ProtocolVersion::RESP3).push_sender(tracking.receiver());
    }
    builder
        .connection_timeout(limits.connect)
        .response_timeout(limits.response)
        .overall_response_timeout(Some(limits.total))
        .retries(0)
        .build()
        .map(|client| Target::Cluster(Box::new(client), Arc::new(node)))
}

fn split(rest: &str) -> (String, &str, &str) {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (format!("{credentials}@"), hosts, path),
        None => (String::new(), authority, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_understood_and_others_are_not() {
        let parse = |url| Target::parse(url, RedisLimits::default(), None, None);
        for url in [
            "redis://localhost",
            "redis://:p%40ss@127.0.0.1:6380/3",
            "rediss://user:secret@cache.example:6380",
            "valkey://127.0.0.1",
            "valkeys://127.0.0.1",
            "redis+sentinel://a:26379,b:26379/tracera",
            "redis+sentinel://user:secret@a:26379/tracera/2",
            "redis+sentinel://a:26379?sentinel_password=p@ss/w?rd",
            "redis+sentinel://user:secret@a:26379/tracera/2?sentinel_username=u&sentinel_password=p%26q",
            "redis+cluster://a:7000,b:7001",
            "rediss+cluster://user:secret@a:7000",
        ] {
            assert!(parse(url).is_ok(), "{url}");
        }
        for url in [
            "redis+sentinel://a/tracera?sentinel_pasword=p",
            "localhost:6379",
            "http://localhost",
            "redis+other://x",
            "redis://h:port",
            "unix:///x",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn tls_needs_nothing_of_the_application() {
        assert!(Target::parse("rediss://localhost", RedisLimits::default(), None, None).is_ok());
        assert!(CryptoProvider::get_default().is_some());
    }

    #[test]
    fn a_refused_url_is_not_repeated() {
        let error =
            Target::parse("redis://user:canary@host:port", RedisLimits::default(), None, None)
                .err()
                .unwrap();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
