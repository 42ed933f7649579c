//! The locks and orders of the near-cache, the batches and the supervised connection, in very many
//! orders of their tasks. Run by `script/prove orders`.
//!
//! It is the real code up to the socket: the store, the connection and the client library, over a
//! [server in memory](server). Of the library's and tokio's own parts one step is indivisible here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

mod batches;
mod near_cache;
pub(crate) mod server;
mod sessions;

/// How many orders of each kind, unless the variable `ORDERS` says how many.
const ORDERS: usize = 300;
/// How many times a priority changes in an order of the second kind.
const CHANGES: usize = 3;
/// Of a task, in bytes.
const STACK: usize = 1 << 20;

/// Runs the scenario in orders chosen by chance, and in orders by priorities that change a few
/// times (Burckhardt et al., A randomized scheduler with probabilistic guarantees of finding bugs,
/// 2010).
fn in_many_orders(scenario: impl Fn() + Clone + Send + Sync + 'static) {
    let orders = std::env::var("ORDERS").map_or(ORDERS, |orders| orders.parse().unwrap());
    // The client library needs it for time limits, which never run out here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    let mut config = Config::new();
    config.stack_size = STACK;
    Runner::new(RandomScheduler::new(orders), config.clone()).run(scenario.clone());
    Runner::new(PctScheduler::new(CHANGES, orders), config).run(scenario);
}

/// How often something happened in all orders together. What never happened was not tried.
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
