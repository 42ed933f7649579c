//! The trait for other stores of rate limits.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::{RateLimit, RateLimitError, short};

/// The future that a [`RateLimitStore`] returns.
pub type StoreAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RateLimitError>> + Send + 'a>>;

/// Keeps the windows of limits, for [`RateLimiter::in_store`](super::RateLimiter::in_store).
///
/// One store may serve several limits. It keeps the rules of
/// [`RateLimiter`](super::RateLimiter) and of
/// [`RateLimiter::check_all`](super::RateLimiter::check_all):
///
/// 1. It keeps the times of admitted requests for each name of a limit and key.
/// 2. Before it counts, times in the future become the present: the clock was set back.
/// 3. A time that is at most a window old counts. A key is full when its count reaches its limit.
/// 4. A request with a full key is refused and stored under no key. Every other request is admitted
///    and stored under each key. All of that is one atomic step.
/// 5. Without [`RateLimitRequest::now`] the time is the store's own, the same for all instances.
/// 6. An answer comes within about two seconds, if only an error.
/// 7. Expired times are removed eventually.
pub trait RateLimitStore: fmt::Debug + Send + Sync + 'static {
    /// Admits or refuses one request.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the decision is not known.
    fn request<'a>(&'a self, request: &'a RateLimitRequest<'a>) -> StoreAnswer<'a, RateLimitUsage>;

    /// Forgets the admitted requests of a key.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when they may not have been forgotten.
    fn forget<'a>(&'a self, limit: RateLimit, key: &'a str) -> StoreAnswer<'a, ()>;
}

/// One request for a store to decide.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitRequest<'a> {
    pub(super) limit: RateLimit,
    pub(super) keys: &'a [(&'a str, u32)],
    pub(super) now: Option<u64>,
}

impl<'a> RateLimitRequest<'a> {
    /// The limit to enforce.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Each key, of at most 128 bytes, with the number of requests granted per window. The first is
    /// the client's own key.
    pub fn keys(&self) -> impl Iterator<Item = (Cow<'a, str>, u64)> {
        let requests = u64::from(self.limit.limit);
        self.keys.iter().map(move |(key, times)| (short(key), requests * u64::from(*times)))
    }

    /// The time, where the caller chooses it, counted from an origin that only the caller knows.
    /// Whole microseconds.
    pub fn now(&self) -> Option<Duration> {
        self.now.map(Duration::from_micros)
    }
}

/// A store's decision. It describes the first key or, when refused, the key that stays full for
/// longest, among equals the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimitUsage {
    /// Whether the request was admitted.
    pub allowed: bool,
    /// Requests that count under the key, this one included if it was admitted.
    pub used: u32,
    /// The age of the oldest request that counts; zero if it is this one. In a full window it is
    /// the age of the request whose expiry makes room, which is another one if the limit was
    /// lowered.
    pub oldest_age: Duration,
}
