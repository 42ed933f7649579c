//! The synchronisation of tasks: locks, atomics, and in the Redis store new tasks and limited
//! waits.
//!
//! They are those of std and tokio. `script/prove orders` compiles with `--cfg shuttle` and uses
//! those of [shuttle](https://docs.rs/shuttle) instead. Shuttle runs one task at a time, and at
//! each of these points chooses which one runs next.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(all(feature = "redis", not(shuttle)))]
pub(crate) use tokio::{
    spawn,
    time::{error::Elapsed, sleep, timeout, timeout_at},
};

#[cfg(all(feature = "redis", shuttle))]
pub(crate) use self::any_order::{Elapsed, sleep, spawn, timeout, timeout_at};

/// Time that passes in turns: a wait may end at any turn, whatever its length.
#[cfg(all(feature = "redis", shuttle))]
mod any_order {
    use std::time::Duration;

    pub(crate) use shuttle::future::spawn;
    use shuttle::future::yield_now;
    use shuttle::rand::{Rng, thread_rng};
    use tokio::time::Instant;

    /// The maximum number of other tasks' turns that a wait takes.
    const LONG: u32 = 200;

    #[derive(Debug)]
    pub(crate) struct Elapsed;

    pub(crate) async fn sleep(_: Duration) {
        for _ in 0..thread_rng().gen_range(1..LONG) {
            yield_now().await;
        }
    }

    pub(crate) async fn timeout<F: Future>(limit: Duration, work: F) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = sleep(limit) => Err(Elapsed),
        }
    }

    pub(crate) async fn timeout_at<F: Future>(_: Instant, work: F) -> Result<F::Output, Elapsed> {
        timeout(Duration::ZERO, work).await
    }
}
