//! Redis with automatic failover by Sentinel.

use std::sync::Arc;

use tempfile::TempDir;

use crate::process::wait_until;
use crate::redis::scheme;
use crate::{Certificate, RedisServer};

/// Periods of the Sentinels' checks and messages in milliseconds. The defaults are seconds.
const QUICK: &[&str] =
    &["SENTINEL", "DEBUG", "info-period", "200", "ask-period", "100", "publish-period", "200"];

/// One primary and two replicas, watched by three Sentinels with a quorum of two.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    tls: bool,
    /// The configuration files, in which Sentinels keep their state.
    _directory: TempDir,
}

impl RedisSentinel {
    /// Starts everything and waits until each Sentinel knows the replicas and the other Sentinels.
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    /// Like `start`, with TLS everywhere.
    pub async fn start_with_tls(certificate: &Arc<Certificate>) -> Self {
        Self::launch(Some(certificate)).await
    }

    async fn launch(tls: Option<&Arc<Certificate>>) -> Self {
        let primary = match tls {
            Some(certificate) => RedisServer::start_with_tls(certificate).await,
            None => RedisServer::start().await,
        };
        let port = primary.port().to_string();
        let replicas = [primary.start_replica().await, primary.start_replica().await];
        let servers = std::iter::once(primary).chain(replicas).collect::<Vec<_>>();

        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut sentinels = Vec::new();
        for index in 0..3 {
            let file = directory.path().join(format!("sentinel-{index}.conf"));
            let configuration = format!(
                "sentinel monitor tracera 127.0.0.1 {port} 2\nsentinel down-after-milliseconds \
                 tracera 500\nsentinel failover-timeout tracera 2000\n"
            );
            std::fs::write(&file, configuration).expect("a temporary file can be written");
            let file = file.to_str().expect("temporary paths are UTF-8");
            let sentinel =
                RedisServer::start_until(&[file, "--sentinel"], "+monitor master tracera", tls)
                    .await;
            sentinel.cli(QUICK).await;
            sentinels.push(sentinel);
        }
        for sentinel in &sentinels {
            let knows_all = async || {
                let known = sentinel.cli(&["SENTINEL", "MASTER", "tracera"]).await;
                known.contains("num-slaves\n2\n") && known.contains("num-other-sentinels\n2\n")
            };
            wait_until("the sentinels know each other", knows_all).await;
        }
        Self { servers, sentinels, tls: tls.is_some(), _directory: directory }
    }

    /// `redis+sentinel://127.0.0.1:{port},127.0.0.1:{port},127.0.0.1:{port}/tracera`, or
    /// `rediss+sentinel` with TLS.
    pub fn url(&self) -> String {
        let addresses: Vec<String> =
            self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        format!("{}+sentinel://{}/tracera", scheme(self.tls), addresses.join(","))
    }

    /// The servers that are watched, including killed ones.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The Sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The server that the Sentinels consider the primary.
    pub async fn primary(&self) -> &RedisServer {
        let sentinel = self
            .sentinels
            .iter()
            .find(|sentinel| sentinel.is_running())
            .expect("a sentinel is left");
        let address = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tracera"]).await;
        let port = address.lines().last().and_then(|port| port.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("not an address: {address:?}"));
        self.servers.iter().find(|server| server.port() == port).expect("all servers are ours")
    }

    /// Kills the primary. The Sentinels need about a second to notice.
    pub async fn kill_primary(&self) {
        self.primary().await.kill();
    }

    /// Waits until the Sentinels have made another server the primary.
    pub async fn wait_for_failover(&self) {
        wait_until("the sentinels name a living primary", async || {
            let primary = self.primary().await;
            let role = primary.ask(&["ROLE"]).await;
            role.is_some_and(|role| role.starts_with("master"))
        })
        .await;
    }
}
