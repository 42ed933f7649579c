//! What an operator chooses and is warned about: waiting for replicas, and eviction.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{RedisResult, Value};

use super::connection::RedisConnection;

/// Waits for replicas after what must not come undone.
#[derive(Clone)]
pub(super) struct ReplicaAck {
    pub(super) connection: RedisConnection,
    pub(super) replicas: usize,
    pub(super) within: Duration,
}

/// Fewer replicas than demanded have confirmed. The primary has done it.
#[derive(Debug, thiserror::Error)]
#[error("done, but only {confirmed} of {demanded} replicas confirmed in time")]
pub(super) struct NotReplicated {
    confirmed: i64,
    demanded: usize,
}

impl ReplicaAck {
    /// Waits for what was sent over this connection before.
    pub(super) async fn wait(&self) -> RedisResult<Result<(), NotReplicated>> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas).arg(crate::clock::millis(self.within));
        let confirmed = match self.connection.clone().req_packed_command(&wait).await? {
            Value::Int(confirmed) => confirmed,
            _ => 0,
        };
        let enough = usize::try_from(confirmed).is_ok_and(|confirmed| confirmed >= self.replicas);
        Ok(enough.then_some(()).ok_or(NotReplicated { confirmed, demanded: self.replicas }))
    }
}

/// The policy by which the server would drop keys when memory is short; `None` when it drops none. From `INFO memory`,
/// of a cluster the first node's that drops some.
pub(super) async fn evicting_policy(connection: &RedisConnection) -> RedisResult<Option<Box<str>>> {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    Ok(find_policy(&connection.read(&info).await?))
}

fn find_policy(info: &Value) -> Option<Box<str>> {
    match info {
        Value::BulkString(text) => policy_in(&String::from_utf8_lossy(text)),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => policy_in(text),
        Value::Array(nodes) => nodes.iter().find_map(find_policy),
        Value::Map(nodes) => nodes.iter().find_map(|(_, info)| find_policy(info)),
        _ => None,
    }
}

fn policy_in(info: &str) -> Option<Box<str>> {
    let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?.trim();
    (policy != "noeviction").then(|| policy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_policy_that_evicts_is_found_on_one_server_and_on_many() {
        let info = |policy: &str| {
            Value::BulkString(format!("# Memory\r\nmaxmemory_policy:{policy}\r\nx:1\r\n").into())
        };
        assert_eq!(find_policy(&info("noeviction")), None);
        assert_eq!(find_policy(&info("volatile-lru")).as_deref(), Some("volatile-lru"));
        let nodes = ["noeviction", "allkeys-lfu"].map(|policy| (Value::Nil, info(policy)));
        assert_eq!(find_policy(&Value::Map(nodes.into())).as_deref(), Some("allkeys-lfu"));
    }
}
