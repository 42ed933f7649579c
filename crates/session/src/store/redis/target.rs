//! Clients of the redis crate for a [`RedisUrl`].

#[cfg(feature = "redis-cluster")]
use std::sync::Arc;

#[cfg(feature = "redis-cluster")]
use redis::ConnectionInfo;
#[cfg(feature = "redis-cluster")]
use redis::cluster::ClusterClient;
use redis::{Client, ProtocolVersion, RedisResult};
#[cfg(feature = "redis-tls")]
use rustls::crypto::CryptoProvider;

#[cfg(feature = "redis-tls")]
use super::authorities::RedisAuthorities;
use super::client::{TlsCertificates, client};
use super::error::ConnectError;
use super::limits::RedisLimits;
#[cfg(not(feature = "redis-tls"))]
use super::no_tls::RedisAuthorities;
use super::sentinels::Sentinels;
use super::tracking::Tracking;
use super::url::{RedisKind, RedisUrl, RedisUrlError};

/// The client of one deployment.
pub(super) enum Target {
    Server(Box<Client>),
    Sentinel(Box<Sentinels>),
    #[cfg(feature = "redis-cluster")]
    /// A cluster, and how to connect to one of its nodes.
    Cluster(Box<ClusterClient>, Arc<ConnectionInfo>),
}

impl Target {
    /// With `tracking`, all connections use RESP3, and a cluster's connections pass the pushes of
    /// the servers to `tracking`.
    pub(super) fn new(
        url: &RedisUrl,
        limits: RedisLimits,
        authorities: Option<&RedisAuthorities>,
        tracking: Option<&Tracking>,
    ) -> Result<Self, ConnectError> {
        if url.is_tls() {
            have_tls_provider()?;
        } else if authorities.is_some() {
            return Err(RedisUrlError::NoTls.into());
        }
        let certificates = authorities.map(RedisAuthorities::certificates);
        let protocol =
            if tracking.is_some() { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let target = match url.kind() {
            RedisKind::Server => server(url, certificates, protocol),
            RedisKind::Sentinel => Sentinels::new(url, certificates.as_ref(), protocol, limits)
                .map(|sentinels| Target::Sentinel(Box::new(sentinels))),
            #[cfg(not(feature = "redis-cluster"))]
            RedisKind::Cluster => return Err(RedisUrlError::NotBuiltIn("redis-cluster").into()),
            #[cfg(feature = "redis-cluster")]
            RedisKind::Cluster => cluster(url, limits, certificates, tracking),
        };
        target.map_err(ConnectError::Refused)
    }
}

/// Rustls panics without a process-wide provider of cryptography. Installs ring unless the
/// application has chosen one.
#[cfg(feature = "redis-tls")]
#[expect(clippy::unnecessary_wraps, reason = "a build without TLS has none")]
fn have_tls_provider() -> Result<(), RedisUrlError> {
    if CryptoProvider::get_default().is_none() {
        // Fails only if another thread has just installed a provider, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Ok(())
}

#[cfg(not(feature = "redis-tls"))]
fn have_tls_provider() -> Result<(), RedisUrlError> {
    Err(RedisUrlError::NotBuiltIn("redis-tls"))
}

fn server(
    url: &RedisUrl,
    certificates: Option<TlsCertificates>,
    protocol: ProtocolVersion,
) -> RedisResult<Target> {
    let info = url.servers[0].clone();
    let settings = info.redis_settings().clone().set_protocol(protocol);
    client(info.set_redis_settings(settings), certificates)
        .map(|client| Target::Server(Box::new(client)))
}

#[cfg(feature = "redis-cluster")]
fn cluster(
    url: &RedisUrl,
    limits: RedisLimits,
    certificates: Option<TlsCertificates>,
    tracking: Option<&Tracking>,
) -> RedisResult<Target> {
    let nodes = url.servers.clone();
    let node = client(nodes[0].clone(), certificates.clone())?.get_connection_info().clone();
    let mut builder = ClusterClient::builder(nodes);
    match certificates {
        #[cfg(feature = "redis-tls")]
        Some(certificates) => builder = builder.certs(certificates),
        #[cfg(not(feature = "redis-tls"))]
        Some(none) => match none {},
        None => {}
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

#[cfg(all(test, feature = "redis-tls"))]
mod tests {
    use super::*;

    #[test]
    fn tls_needs_nothing_of_the_application() {
        let url = RedisUrl::parse("rediss://localhost").unwrap();
        assert!(Target::new(&url, RedisLimits::default(), None, None).is_ok());
        assert!(CryptoProvider::get_default().is_some());
    }
}
