//! A Redis Cluster of six nodes.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::process::{run, wait_until};
use crate::redis::{READY, cli_options};
use crate::{Certificate, RedisServer};

/// Options for a failover within about two seconds and immediate replication.
const OPTIONS: &[&str] = &[
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    "--cluster-replica-validity-factor",
    "0",
    "--cluster-announce-ip",
    "127.0.0.1",
    "--repl-diskless-sync-delay",
    "0",
];

/// Three primaries with one replica each.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    tls: Option<Arc<Certificate>>,
}

impl RedisCluster {
    /// Starts the nodes, joins them, and waits until each of them reports the cluster as healthy.
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    /// Like `start`, with TLS everywhere.
    pub async fn start_with_tls(certificate: &Arc<Certificate>) -> Self {
        Self::launch(Some(certificate)).await
    }

    async fn launch(tls: Option<&Arc<Certificate>>) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            nodes.push(RedisServer::start_until(OPTIONS, READY, tls).await);
        }
        let addresses: Vec<String> =
            nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let mut create = vec!["--cluster", "create", "--cluster-yes", "--cluster-replicas", "1"];
        let options = tls.map(|certificate| cli_options(certificate));
        create.extend(options.iter().flatten().chain(&addresses).map(String::as_str));
        run("redis-cli", &create).await;
        let cluster = Self { nodes, tls: tls.cloned() };
        cluster.wait_until_whole().await;
        cluster
    }

    /// Adds a primary without slots as the last node, and waits until each node knows it.
    pub async fn add_primary(&mut self) {
        let new = RedisServer::start_until(OPTIONS, READY, self.tls.as_ref()).await;
        let id = new.cli(&["CLUSTER", "MYID"]).await;
        new.cli(&["CLUSTER", "MEET", "127.0.0.1", &self.nodes[0].port().to_string()]).await;
        self.nodes.push(new);
        for node in &self.nodes {
            let knows = async || node.cli(&["CLUSTER", "NODES"]).await.contains(&id);
            wait_until("every node knows the new one", knows).await;
        }
        self.wait_until_whole().await;
    }

    /// The URL of each node, in the form `redis://127.0.0.1:{port}`, or `rediss` with TLS.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }

    /// The nodes, including killed ones.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The node that currently owns the slot of a key.
    pub async fn primary_of(&self, key: &str) -> &RedisServer {
        let living = self.living().next().expect("a node is left");
        let slot =
            living.cli(&["CLUSTER", "KEYSLOT", key]).await.parse().expect("a slot is a number");
        let port = primary_of_slot(&living.cli(&["CLUSTER", "NODES"]).await, slot);
        let port = port.unwrap_or_else(|| panic!("nobody serves slot {slot}"));
        self.nodes.iter().find(|node| node.port() == port).expect("all nodes are ours")
    }

    /// Kills the primary of a key. The cluster needs a moment to notice.
    pub async fn kill_primary_of(&self, key: &str) {
        self.primary_of(key).await.kill();
    }

    /// Waits until a living node has taken over the key and all living nodes report the cluster as
    /// healthy.
    pub async fn wait_for_failover_of(&self, key: &str) {
        wait_until("a replica takes over", async || self.primary_of(key).await.is_running()).await;
        self.wait_until_ok().await;
    }

    /// Makes a replica take over a key from its primary. The primary is cut off from all other
    /// nodes for a minute: it still answers clients, but reports the cluster as down. Returns the
    /// new primary.
    pub async fn cut_off_primary_of(&self, key: &str) -> &RedisServer {
        let old = self.primary_of(key).await;
        let id = old.cli(&["CLUSTER", "MYID"]).await;
        let mut new = None;
        for node in self.nodes.iter().filter(|node| node.port() != old.port()) {
            if node.cli(&["CLUSTER", "NODES"]).await.contains(&format!("myself,slave {id}")) {
                new = Some(node);
            }
            old.cli(&["CLUSTER", "FORGET", &node.cli(&["CLUSTER", "MYID"]).await]).await;
        }
        let new = new.expect("each primary has a replica");
        new.cli(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await;
        let slot = old.cli(&["CLUSTER", "KEYSLOT", key]).await.parse().expect("a slot is a number");
        for node in self.nodes.iter().filter(|node| node.port() != old.port()) {
            let follows = async || {
                primary_of_slot(&node.cli(&["CLUSTER", "NODES"]).await, slot) == Some(new.port())
            };
            wait_until("the others follow the replica", follows).await;
        }
        let is_down = async || old.cli(&["CLUSTER", "INFO"]).await.contains("cluster_state:fail");
        wait_until("the old primary finds the cluster down", is_down).await;
        new
    }

    async fn wait_until_ok(&self) {
        for node in self.living() {
            let ok = async || node.cli(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok");
            wait_until("the cluster is in order", ok).await;
        }
    }

    async fn wait_until_whole(&self) {
        self.wait_until_ok().await;
        for node in &self.nodes {
            let replicas =
                async || node.cli(&["CLUSTER", "NODES"]).await.matches("slave ").count() == 3;
            wait_until("every node knows every replica", replicas).await;
            let synchronised = async || {
                let info = node.cli(&["INFO", "replication"]).await;
                info.contains("role:master") || info.contains("master_link_status:up")
            };
            wait_until("the replicas have copied their primaries", synchronised).await;
        }
    }

    fn living(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter().filter(|node| node.is_running())
    }
}

/// Finds the port of a slot's primary in the answer to `CLUSTER NODES`, whose lines are
/// `id ip:port@bus flags primary ping pong epoch link slot-range…`.
fn primary_of_slot(nodes: &str, slot: u16) -> Option<u16> {
    nodes.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_primary = words[2].split(',').any(|flag| flag == "master");
        let serves =
            words[8..].iter().any(|range| slots(range).is_some_and(|slots| slots.contains(&slot)));
        let port = words[1].split(['@', ':']).nth(1)?.parse().ok()?;
        (is_primary && serves).then_some(port)
    })
}

/// Parses `0-5460`, or `7` for a single slot.
fn slots(range: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some(first.parse().ok()?..=last.parse().ok()?)
}
