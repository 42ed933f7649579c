//! Why Redis could not be reached.

use std::io;

use redis::{RedisError, RedisResult};

use super::url::RedisUrlError;
use crate::sync::Elapsed;

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not understood.
    #[error(transparent)]
    Url(#[from] RedisUrlError),
    /// The server did not answer, or refused.
    #[error("cannot connect to redis: {0}")]
    Refused(#[source] RedisError),
}

pub(super) fn not_connected() -> RedisError {
    io::Error::new(io::ErrorKind::NotConnected, "not connected to redis").into()
}

/// A wait that reached its limit is an error of the connection.
pub(super) fn flatten<T>(answer: Result<RedisResult<T>, Elapsed>) -> RedisResult<T> {
    answer.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "redis did not answer in time").into())
    })
}
