//! Moves a slot of a cluster from one primary to another, step by step, as `redis-cli --cluster
//! reshard` does.

use crate::RedisServer;
use crate::redis_cluster::RedisCluster;

/// The number of keys listed at once.
const PAGE: &str = "100";

/// A migrating slot. Until [`finish`](Self::finish), the old primary answers for the keys it still
/// has and redirects others with ASK. Afterwards it redirects everything with MOVED.
#[derive(Debug)]
pub struct SlotMigration<'a> {
    slot: String,
    source: &'a RedisServer,
    target: &'a RedisServer,
    target_id: String,
    /// All other primaries.
    bystanders: Vec<&'a RedisServer>,
}

impl RedisCluster {
    /// Begins to move the slot of a key to `target`, a primary that does not have it.
    pub async fn migrate_slot_of<'a>(
        &'a self,
        key: &str,
        target: &'a RedisServer,
    ) -> SlotMigration<'a> {
        let source = self.primary_of(key).await;
        assert_ne!(source.port(), target.port(), "the slot is there already");
        let slot = source.cli(&["CLUSTER", "KEYSLOT", key]).await;
        let (source_id, target_id) =
            (source.cli(&["CLUSTER", "MYID"]).await, target.cli(&["CLUSTER", "MYID"]).await);
        let mut bystanders = Vec::new();
        for node in self.nodes() {
            let is_other = node.port() != source.port() && node.port() != target.port();
            if is_other && node.cli(&["ROLE"]).await.starts_with("master") {
                bystanders.push(node);
            }
        }
        target.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await;
        source.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await;
        SlotMigration { slot, source, target, target_id, bystanders }
    }
}

impl SlotMigration<'_> {
    /// Moves all keys that the old primary has.
    pub async fn move_keys(&self) {
        let port = self.target.port().to_string();
        loop {
            let keys = self.source.cli(&["CLUSTER", "GETKEYSINSLOT", &self.slot, PAGE]).await;
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                return;
            }
            let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            self.source.cli(&[&migrate[..], &keys].concat()).await;
        }
    }

    /// Makes the new primary answer for the slot. All keys must have been moved.
    pub async fn finish(self) {
        for node in [self.target, self.source].into_iter().chain(self.bystanders) {
            node.cli(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.target_id]).await;
        }
    }
}
