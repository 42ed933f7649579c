//! Parses a price feed as a stream, in any of the known formats.
//!
//! | shape | known by | prices |
//! |---|---|---|
//! | Skinport | rows with `currency` | decimal units: least, else median, else suggested (an estimate) |
//! | CSFloat | rows with `min_price` alone | whole US cents; fewer than three offers are ignored |
//! | market.csgo.com | rows with `price` | decimal units |
//! | plain | one object `{name: price}` | decimal units |
//!
//! An unusable row is skipped and counted; other rows are not affected.

use std::io::Read;
use std::time::Duration;

use serde::Deserializer as _;

mod document;
mod row;

use super::price_list::PriceList;
pub use row::{Offer, Skipped};

/// Why a feed is rejected.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Reading the file or connection failed, or the feed is too large.
    #[error("cannot read the feed: {0}")]
    Io(String),
    /// The status code is not 200.
    #[error("the feed answered {0}")]
    Status(u16),
    /// The feed limits requests; the time to wait, if it says so.
    #[error("the feed wants fewer requests")]
    Throttled(Option<Duration>),
    /// The content is not JSON, or has no known format.
    #[error("the feed is unreadable at line {line}, column {column}")]
    Unreadable {
        /// Starts at one.
        line: usize,
        /// Starts at one.
        column: usize,
    },
    /// The feed reports an error.
    #[error("the feed reports an error")]
    Reported,
    /// No row has a price.
    #[error("the feed has no prices")]
    Empty,
    /// The feed has far fewer prices than before.
    #[error("the feed shrank from {had} prices to {has}")]
    Shrunk {
        /// The previous number of prices.
        had: usize,
        /// The current number of prices.
        has: usize,
    },
    /// A row has another currency than the configured one.
    #[error("the feed is in another currency")]
    Currency,
}

impl FeedError {
    /// How long to wait before the next request, if the feed says so; an hour at most.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled(wait) => wait.map(|wait| wait.min(Duration::from_hours(1))),
            _ => None,
        }
    }
}

/// Parses a whole feed. It holds only one row in memory besides the resulting list.
///
/// # Errors
/// [`FeedError`] when the feed is unusable.
pub fn read(from: impl Read, currency: &str) -> Result<(PriceList, usize), FeedError> {
    let mut found = document::Found::new(currency);
    let mut json = serde_json::Deserializer::from_reader(from);
    let read = json.deserialize_any(document::Feed(&mut found)).and_then(|()| json.end());
    // This failure caused the parser to stop, so it comes before the parser's own error.
    if let Some(error) = found.failure {
        return Err(error);
    }
    read.map_err(|error| match error.io_error_kind() {
        Some(_) => FeedError::Io(error.to_string()),
        None => FeedError::Unreadable { line: error.line(), column: error.column() },
    })?;
    if found.list.is_empty() { Err(FeedError::Empty) } else { Ok((found.list, found.skipped)) }
}

#[cfg(test)]
mod tests;
