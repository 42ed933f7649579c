//! The log says why Redis cannot be reached.

use std::time::Duration;

use tokio::time::Instant;
use tracera_session::RedisStore;
use tracera_testkit::{CapturedLog, RedisCluster, RedisServer};
use tracing::level_filters::LevelFilter;

const PASSWORD: &str = "canary-password";

/// The time within which every event is noticed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Captures the log of this thread at the default level.
struct Log(CapturedLog);

impl Log {
    fn capture() -> Self {
        Self(CapturedLog::at(LevelFilter::INFO))
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let text = self.0.text();
        assert!(!text.contains("canary"), "{text}");
        text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }

    async fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.lines(text).is_empty() {
            assert!(Instant::now() < deadline, "no {text:?} in {:#?}", self.lines(""));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Runs a command as an operator who knows the password.
async fn operate(server: &RedisServer, command: &[&str]) {
    server.cli(&[&["-a", PASSWORD, "--no-auth-warning"], command].concat()).await;
}

/// Requires a password from now on, and disconnects all clients.
async fn lock(server: &RedisServer) {
    server.cli(&["CONFIG", "SET", "requirepass", PASSWORD]).await;
    operate(server, &["CLIENT", "KILL", "TYPE", "normal"]).await;
}

#[tokio::test]
async fn a_server_that_refuses_us_is_quoted_once_for_each_reason() {
    let log = Log::capture();
    let server = RedisServer::start().await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    lock(&server).await;
    log.wait_for("NOAUTH").await;
    server.kill();
    log.wait_for("Connection refused").await;
    server.restart().await;
    log.wait_for("connected to redis again").await;
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]).await;
    log.wait_for("the server is a replica").await;
    for (line, times) in [("lost the connection", 2), ("NOAUTH", 1), ("Connection refused", 1)] {
        assert_eq!(log.lines(line).len(), times, "{line} in {:#?}", log.lines(""));
    }
    assert!(log.lines("NOAUTH")[0].contains("WARN"));
    drop(store);
}

#[tokio::test]
async fn a_cluster_that_refuses_us_is_quoted_and_its_return_is_told() {
    let log = Log::capture();
    let cluster = RedisCluster::start().await;
    let hosts: Vec<_> = cluster.urls().iter().map(|url| url.replace("redis://", "")).collect();
    let store = RedisStore::connect(&format!("redis+cluster://{}", hosts.join(","))).await.unwrap();
    for node in cluster.nodes() {
        lock(node).await;
    }
    log.wait_for("NOAUTH").await;
    assert!(log.lines("NOAUTH")[0].contains("WARN"));
    for node in cluster.nodes() {
        operate(node, &["CONFIG", "SET", "requirepass", ""]).await;
    }
    log.wait_for("cluster again").await;
    drop(store);
}
