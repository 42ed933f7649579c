//! The store of the scale runs: one Redis, or a cluster of three primaries on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::redis::{Redis, free_port};

/// All slots of a cluster, in three parts.
const SLOTS: [&str; 3] = ["0 5460", "5461 10922", "10923 16383"];
/// The time limit for the nodes to find each other.
const PATIENCE: Duration = Duration::from_secs(20);

/// The nodes that share the sessions.
pub(crate) struct Stores {
    nodes: Vec<Redis>,
    url: String,
}

impl Stores {
    /// One Redis.
    pub(crate) fn one() -> anyhow::Result<Self> {
        let redis = Redis::start()?;
        let url = redis.url(0);
        Ok(Self { nodes: vec![redis], url })
    }

    /// Three primaries, no replicas.
    pub(crate) fn cluster(scratch: &Path) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for slots in SLOTS {
            let (port, bus) = (free_port()?, free_port()?.to_string());
            let file = scratch.join(format!("nodes-{port}.conf")).display().to_string();
            let options = [
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-config-file",
                &file,
                "--databases",
                "1",
            ];
            let mut node = Redis::start_with(port, &options)?;
            node.ask(&format!("CLUSTER ADDSLOTSRANGE {slots}"))?;
            if let Some(first) = nodes.first_mut() {
                let first: &mut Redis = first;
                first.ask(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"))?;
            }
            nodes.push(node);
        }
        let deadline = Instant::now() + PATIENCE;
        for node in &mut nodes {
            loop {
                let info = node.ask("CLUSTER INFO")?;
                if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                    break;
                }
                ensure!(Instant::now() < deadline, "the cluster does not form: {info}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let url = format!("redis+cluster://127.0.0.1:{}", nodes[0].port());
        Ok(Self { nodes, url })
    }

    /// The URL of all nodes.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Empties all nodes.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.nodes.iter_mut().try_for_each(Redis::flush)
    }

    /// The bytes allocated by all nodes.
    pub(crate) fn memory(&mut self) -> anyhow::Result<u64> {
        self.nodes.iter_mut().map(Redis::memory).sum()
    }
}
