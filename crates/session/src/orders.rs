//! Runs the near-cache, the batches and the supervised connection in very many orders of their
//! tasks. Used by `script/prove orders`.
//!
//! Everything down to the socket is the real code: the store, the connection and the client
//! library, over a [server in memory](crate::store::redis::memory_server). Steps inside tokio and
//! the client library are indivisible here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use crate::store::redis::connection::RedisConnection;
use crate::store::redis::memory_server::Server;

mod batches;
mod near_cache;
mod sessions;

/// The number of orders of each kind. The variable `ORDERS` overrides it.
const ORDERS: usize = 300;
/// The number of changes of priority in an order of the second kind.
const CHANGES: usize = 3;
/// The stack of a task, in bytes.
const STACK: usize = 1 << 20;

/// Runs the scenario in random orders, and in orders by priorities that change a few times
/// (Burckhardt et al., A randomized scheduler with probabilistic guarantees of finding bugs, 2010).
fn in_many_orders(scenario: impl Fn() + Clone + Send + Sync + 'static) {
    let orders = std::env::var("ORDERS").map_or(ORDERS, |orders| orders.parse().unwrap());
    // The client library needs a runtime for its time limits, which never expire here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    let mut config = Config::new();
    config.stack_size = STACK;
    Runner::new(RandomScheduler::new(orders), config.clone()).run(scenario.clone());
    Runner::new(PctScheduler::new(CHANGES, orders), config).run(scenario);
}

/// Counts an event over all orders. An event that never happened was not tested.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<AtomicU64>);

impl Seen {
    fn count(&self, times: impl TryInto<u64>) {
        self.0.fetch_add(times.try_into().unwrap_or(u64::MAX), SeqCst);
    }

    fn is_some(&self) -> bool {
        self.0.load(SeqCst) > 0
    }
}

/// Opens a first connection. Repeats the attempt, because a wait may end before anything else has
/// happened.
async fn first_connection(server: &Server) -> RedisConnection {
    loop {
        if let Ok(connection) = RedisConnection::open("redis://memory").await {
            server.forget_connections();
            return connection;
        }
    }
}
