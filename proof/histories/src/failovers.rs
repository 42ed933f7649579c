//! Notes the failovers that no fault ordered. On a busy machine a primary may be found down while
//! it lives; then there are two, as after any other failover.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracera_session::redis::aio::MultiplexedConnection;
use tracera_session::redis::{Client, RedisResult, Value, cmd};

use crate::client::World;

/// How often every server is asked.
const PERIOD: Duration = Duration::from_millis(50);
/// How long an answer is waited for. A server that is frozen is what it was.
const PATIENCE: Duration = Duration::from_millis(100);

/// A server, and what it said last.
struct Watched {
    client: Client,
    connection: Option<MultiplexedConnection>,
    is_primary: bool,
}

/// Watches until `stop`. In order is a place with so many `primaries`, the same as before.
pub(crate) async fn note(
    world: Arc<World>,
    urls: Vec<String>,
    primaries: usize,
    mut stop: oneshot::Receiver<()>,
) -> Result<()> {
    let mut servers = Vec::new();
    for url in urls {
        servers.push(Watched { client: Client::open(url)?, connection: None, is_primary: false });
    }
    let mut in_order = Vec::new();
    let mut last_in_order = world.journal.now();
    let mut unordered_since = None;
    loop {
        let is_over = tokio::select! {
            _ = &mut stop => true,
            () = sleep(PERIOD) => false,
        };
        for server in &mut servers {
            server.ask().await;
        }
        let now: Vec<bool> = servers.iter().map(|server| server.is_primary).collect();
        let are_as_many = now.iter().filter(|is_primary| **is_primary).count() == primaries;
        let is_first = in_order.is_empty();
        if is_first && are_as_many {
            in_order.clone_from(&now);
        }
        let has_begun = !is_first && now != in_order && !world.is_failing();
        if has_begun && unordered_since.is_none() {
            unordered_since = Some(last_in_order);
        }
        if are_as_many || is_over {
            if let Some(since) = unordered_since.take() {
                world.record_fault(since, "failover")?;
            }
            in_order = now;
            last_in_order = world.journal.now();
        }
        if is_over {
            return Ok(());
        }
    }
}

impl Watched {
    async fn ask(&mut self) {
        if let Ok(answer) = timeout(PATIENCE, self.role()).await {
            self.is_primary = answer.is_ok_and(|is_primary| is_primary);
        }
    }

    async fn role(&mut self) -> RedisResult<bool> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.get_multiplexed_async_connection().await?,
        };
        let role: Vec<Value> = cmd("ROLE").query_async(&mut connection).await?;
        self.connection = Some(connection);
        Ok(matches!(role.first(), Some(Value::BulkString(name)) if name == b"master"))
    }
}
