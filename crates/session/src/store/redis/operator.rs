//! Options and warnings for operators: waiting for replicas, and eviction.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::RedisConnection;
use super::error::flatten;
use super::scripts::Call;
use crate::sync::{spawn, timeout_at};

/// Makes operations that a failover must not undo wait for replicas.
///
/// While Redis waits for replicas it answers nothing else on that connection. So one `WAIT` is
/// under way at a time, and later callers share the next one. No command is then queued behind more
/// than one `WAIT`.
#[derive(Clone)]
pub(super) struct ReplicaAck {
    connection: RedisConnection,
    replicas: usize,
    within: Duration,
    /// The number of callers that have asked for a `WAIT` so far.
    asked: Arc<AtomicU64>,
    last: Arc<Mutex<Wait>>,
}

/// The latest `WAIT`, and the number of callers that had asked for one before it was sent.
struct Wait {
    asked: u64,
    outcome: Result<(), NotReplicated>,
}

/// The primary has done the operation, but replicas have not confirmed it. A source of
/// [`SessionError`](crate::SessionError).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NotReplicated {
    /// Too few replicas confirmed in time.
    #[error("only {confirmed} of {demanded} replicas confirmed in time")]
    TooFew {
        /// The number of replicas that confirmed.
        confirmed: i64,
        /// The number of replicas demanded.
        demanded: usize,
    },
    /// Redis did not say how many replicas confirmed.
    #[error("it is not known whether replicas have it: {0}")]
    NotAsked(#[source] RedisError),
}

impl ReplicaAck {
    pub(super) fn new(connection: RedisConnection, replicas: usize, within: Duration) -> Self {
        let last = Arc::new(Mutex::new(Wait { asked: 0, outcome: Ok(()) }));
        Self { connection, replicas, within, asked: Arc::default(), last }
    }

    /// Runs the call and waits for replicas. Fails only with the call. A `WAIT` counts only on the
    /// connection that carried the call, in a cluster on those to every primary. A new connection
    /// may lead to another primary, whose `WAIT` does not cover earlier writes.
    pub(super) async fn run(&self, call: Call) -> RedisResult<(Value, Result<(), NotReplicated>)> {
        let deadline = Instant::now() + self.connection.limits().total;
        let identity = || timeout_at(deadline, self.connection.identity());
        let before = flatten(identity().await);
        let answer = flatten(timeout_at(deadline, call.run(&self.connection)).await)?;
        let waiting = timeout_at(deadline, self.wait()).await;
        let mut replicated =
            flatten(waiting.map(Ok)).unwrap_or_else(|late| Err(NotReplicated::NotAsked(late)));
        let after = flatten(identity().await);
        if !before.is_ok_and(|before| after.is_ok_and(|after| before == after)) {
            let replaced = io::Error::from(io::ErrorKind::ConnectionReset);
            replicated = replicated.and(Err(NotReplicated::NotAsked(replaced.into())));
        }
        Ok((answer, replicated))
    }

    /// Waits for the writes answered on this connection so far.
    async fn wait(&self) -> Result<(), NotReplicated> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.clone().lock_owned().await;
        if last.asked >= turn {
            return last.outcome.clone();
        }
        let ack = self.clone();
        // In a separate task: if this caller is dropped, the next one must not send a second `WAIT`
        // behind this one.
        let waiting = spawn(async move {
            last.asked = ack.asked.load(Ordering::SeqCst);
            last.outcome = ack.wait_now().await;
            last.outcome.clone()
        });
        waiting
            .await
            .unwrap_or_else(|gone| Err(NotReplicated::NotAsked(io::Error::other(gone).into())))
    }

    async fn wait_now(&self) -> Result<(), NotReplicated> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas).arg(crate::clock::millis(self.within));
        let confirmed = match self.connection.ask(wait).await {
            Ok(Value::Int(confirmed)) => confirmed,
            Ok(_) => 0,
            Err(error) => return Err(NotReplicated::NotAsked(error)),
        };
        let enough = usize::try_from(confirmed).is_ok_and(|confirmed| confirmed >= self.replicas);
        enough.then_some(()).ok_or(NotReplicated::TooFew { confirmed, demanded: self.replicas })
    }
}

/// How many keys are asked for to find out whether a node has all. The chance that one of two nodes
/// has them all is 1 in 65,536.
const SPREAD: u8 = 16;

/// Whether other nodes of a cluster have some of the keys.
pub(super) async fn is_part_of_cluster(
    connection: &RedisConnection,
    prefix: &str,
) -> RedisResult<bool> {
    if connection.is_cluster() {
        return Ok(false);
    }
    let mut info = redis::cmd("INFO");
    info.arg("cluster");
    if !says_cluster(&connection.read(|| info.clone()).await?) {
        return Ok(false);
    }
    for place in 0..SPREAD {
        let mut read = redis::cmd("HGET");
        read.arg(format!("{prefix}:{{{place}}}")).arg("p");
        match connection.read(|| read.clone()).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                return Ok(true);
            }
            answer => answer?,
        };
    }
    Ok(false)
}

fn says_cluster(info: &Value) -> bool {
    let text = match info {
        Value::BulkString(text) => String::from_utf8_lossy(text),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.into(),
        _ => return false,
    };
    text.lines().any(|line| line.trim() == "cluster_enabled:1")
}

/// The policy by which the server would evict keys when memory is short; `None` when it evicts
/// none. From `INFO memory`; in a cluster, of the first node that evicts.
pub(super) async fn evicting_policy(connection: &RedisConnection) -> RedisResult<Option<Box<str>>> {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    Ok(find_policy(&connection.read(|| info.clone()).await?))
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
