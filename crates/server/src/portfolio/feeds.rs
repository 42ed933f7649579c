//! Reads a price feed as it arrives, whichever of the known shapes it has.
//!
//! | shape | known by | prices |
//! |---|---|---|
//! | Skinport | rows with `currency` | decimal units: least, else median, else suggested (an estimate) |
//! | CSFloat | rows with `min_price` alone | whole US cents; fewer than three offers are ignored |
//! | market.csgo.com | rows with `price` | decimal units |
//! | plain | one object `{name: price}` | decimal units |
//!
//! A row that makes no sense is left out and counted; it takes no other row with it.

use std::io::Read;
use std::time::Duration;

use serde::Deserializer as _;

mod document;
mod row;

use super::price_list::PriceList;
pub use row::{Offer, Skipped};

/// Why a feed is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file or connection failed, or there was more than is read.
    #[error("cannot read the feed: {0}")]
    Io(String),
    /// An answer other than 200.
    #[error("the feed answered {0}")]
    Status(u16),
    /// Its limit on requests.
    #[error("the feed wants fewer requests")]
    Throttled(Option<Duration>),
    /// No JSON, or of no known shape.
    #[error("the feed is unreadable at line {line}, column {column}")]
    Unreadable {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
    },
    /// It says that something went wrong.
    #[error("the feed reports an error")]
    Reported,
    /// No row had a price.
    #[error("the feed has no prices")]
    Empty,
    /// Far fewer prices than before.
    #[error("the feed shrank from {had} prices to {has}")]
    Shrunk {
        /// How many there were.
        had: usize,
        /// How many there are.
        has: usize,
    },
    /// A row in another currency than the configured one.
    #[error("the feed is in another currency")]
    Currency,
}

impl FeedError {
    /// How long the feed wants to be left alone, if it said so; an hour at most.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled(wait) => wait.map(|wait| wait.min(Duration::from_hours(1))),
            _ => None,
        }
    }
}

/// Reads a whole feed. Holds one row at a time besides the list it makes.
///
/// # Errors
/// [`FeedError`], when nothing of it can be used.
pub fn read(from: impl Read, currency: &str) -> Result<(PriceList, usize), FeedError> {
    let mut found = document::Found::new(currency);
    let mut json = serde_json::Deserializer::from_reader(from);
    let read = json.deserialize_any(document::Feed(&mut found)).and_then(|()| json.end());
    // What stopped the reading counts before the complaint that it stopped.
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
