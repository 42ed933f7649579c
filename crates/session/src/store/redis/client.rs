//! Clients of the redis crate for one server.

#[cfg(not(all(test, shuttle)))]
use redis::AsyncConnectionConfig;
#[cfg(feature = "redis-tls")]
pub(super) use redis::TlsCertificates;
#[cfg(not(all(test, shuttle)))]
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult};

#[cfg(all(test, shuttle))]
pub(super) use super::memory_server::connect;
#[cfg(not(feature = "redis-tls"))]
pub(super) use super::no_tls::TlsCertificates;

pub(super) fn client(
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Client> {
    match certificates {
        #[cfg(feature = "redis-tls")]
        Some(certificates) => Client::build_with_tls(info, certificates),
        #[cfg(not(feature = "redis-tls"))]
        Some(none) => match none {},
        None => Client::open(info),
    }
}

#[cfg(not(all(test, shuttle)))]
pub(super) async fn connect(
    client: &Client,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    client.get_multiplexed_async_connection_with_config(config).await
}

/// The same connection to another server.
pub(super) fn moved_to(server: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let addr = match server.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.into(), port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host.into(), port),
    };
    server.clone().set_addr(addr)
}
