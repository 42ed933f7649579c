//! The time limits of a connection to Redis.

use std::time::Duration;

/// The time limits of a connection to Redis.
///
/// ```
/// use std::time::Duration;
/// use tracera_session::{RedisConnection, RedisLimits};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = RedisLimits { total: Duration::from_secs(1), ..RedisLimits::default() };
/// let redis = RedisConnection::open_with("redis://127.0.0.1", limits).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisLimits {
    /// For one reply, and never longer than `total`. Default 800 ms.
    pub response: Duration,
    /// For a new connection, handshake included. Default 800 ms.
    pub connect: Duration,
    /// For a reconnection before a request fails. Default 250 ms.
    pub grace: Duration,
    /// Between two checks of the connection. Default 500 ms. A much longer interval pauses the
    /// near-cache between checks: see [`MAX_STALENESS`](crate::MAX_STALENESS).
    pub heartbeat: Duration,
    /// For one operation in total. Default 1500 ms.
    pub total: Duration,
}

impl Default for RedisLimits {
    fn default() -> Self {
        Self {
            response: Duration::from_millis(800),
            connect: Duration::from_millis(800),
            grace: Duration::from_millis(250),
            heartbeat: Duration::from_millis(500),
            total: Duration::from_millis(1500),
        }
    }
}
