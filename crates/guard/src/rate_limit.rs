//! An exact sliding-window rate limit: [`RateLimiter`] has the rules.

mod decision;
mod layer;
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "redis")]
use ::redis::{Cmd, RedisResult, Value, aio::ConnectionLike};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

pub use decision::{Decision, RateLimitRejection};
pub use layer::ClientLimit;
use memory::Memory;

use crate::name::is_name;

/// Longer keys are replaced by their SHA-256, so that nobody's input sets how much a key costs.
const MAX_KEY_BYTES: usize = 128;

/// How many requests a key is granted within any window of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    name: &'static str,
    limit: u32,
    window: Duration,
}

impl RateLimit {
    /// `limit` requests within any span of `window`. The name tells limits apart in Redis and in
    /// the response headers.
    ///
    /// # Panics
    /// If the name is empty or has anything but lower-case letters, digits, `-` and `_`; if the
    /// limit is zero; if the window is under a millisecond or over a year. In a `const` this is an
    /// error of the compiler.
    pub const fn new(name: &'static str, limit: u32, window: Duration) -> Self {
        assert!(is_name(name), "a limit's name is made of a-z, 0-9, - and _");
        assert!(limit > 0, "a limit of zero would refuse everything");
        assert!(
            window.as_millis() >= 1 && window.as_secs() <= 366 * 24 * 3600,
            "a window is between a millisecond and a year long"
        );
        Self { name, limit, window }
    }

    fn window_micros(&self) -> u64 {
        micros(self.window)
    }
}

/// Whole microseconds, saturating after half a million years.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A check could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RateLimitError {
    /// The store did not answer, or not in time. Nothing is known about the key; treat it as
    /// refused.
    #[error("the rate limit store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// An exact sliding-window rate limit, in memory or shared through Redis. Cheap to clone; clones
/// share the store.
///
/// 1. Per key, the times of the admitted requests are kept. A request is admitted if fewer than
///    `limit` admitted ones are at most `window` old. The interval is closed: with 20 per 60 s, no
///    60 seconds ever admit 21, wherever they begin. (A fixed window admits up to 40 across its
///    edge, a token bucket up to 39.)
/// 2. A refused request leaves no trace; knocking does not extend the wait.
/// 3. Whoever waits `Retry-After` seconds and comes alone is admitted.
/// 4. When the store does not answer, nothing is admitted: [`RateLimitError::Unavailable`],
///    answered with 503.
/// 5. In Redis, one script on one key decides, so any number of instances share the limit; its
///    clock is Redis' own, and every key carries a time to live. If the clock is set back, requests
///    from the "future" count as made just now.
///
/// [`ClientLimit`] is the ready layer per client address. Where a limit depends on something else,
/// ask
/// [`RateLimiter::admit`]:
///
/// ```
/// use std::time::Duration;
/// use axum::{extract::{Path, State}, response::{IntoResponse, Response}};
/// use tracera_guard::{RateLimit, RateLimitRejection, RateLimiter};
///
/// const MAILS: RateLimit = RateLimit::new("mail", 3, Duration::from_secs(900));
///
/// async fn send_mail(State(limiter): State<RateLimiter>, Path(account): Path<String>) -> Result<Response, RateLimitRejection> {
///     let decision = limiter.admit(&account).await?;
///     let mut response = "sent".into_response();
///     decision.apply_headers(response.headers_mut());
///     Ok(response)
/// }
/// # let limiter = RateLimiter::in_memory(MAILS);
/// # let _ = axum::Router::new().route("/{account}", axum::routing::post(send_mail)).with_state::<()>(limiter);
/// ```
#[derive(Clone)]
pub struct RateLimiter(Arc<Inner>);

struct Inner {
    limit: RateLimit,
    policy: HeaderValue,
    store: Store,
}

enum Store {
    Memory(Memory),
    #[cfg(feature = "redis")]
    Redis(redis::Log),
}

impl RateLimiter {
    /// A limit kept in this process, for at most 100 000 keys at once.
    ///
    /// A key costs about 100 bytes and 8 per admitted request. Expired keys are cleared away in
    /// passing. Once the table is full of live keys, a new key takes the place of one with few
    /// admitted requests (the fewest, and then the longest quiet, of the 16 next in turn). So a
    /// flood of addresses locks nobody out, and it cannot reset a key that is at its limit unless
    /// it brings practically every other key to its limit first; addresses that push each other out
    /// gain nothing, because each of them had its own allowance anyway.
    pub fn in_memory(limit: RateLimit) -> Self {
        Self::in_memory_short(limit, 100_000)
    }

    /// [`RateLimiter::in_memory`] with another bound (at least 1) on the number of keys.
    pub fn in_memory_short(limit: RateLimit, max_keys: usize) -> Self {
        Self::new(limit, Store::Memory(Memory::new(limit, max_keys.max(1))))
    }

    /// A limit shared by everybody who uses the same Redis (5 or later) or Valkey, under the keys
    /// `ratelimit:<name>:<key>`. Who gets no answer is told so within 2 seconds.
    ///
    /// Redis reads and writes a key's log as one string of 8 bytes per request that counts: made
    /// for limits up to a few thousand.
    ///
    /// A Redis user needs these rights, and those for what the connection sends by itself:
    ///
    /// ```text
    /// ACL SETUSER limits on >password resetkeys resetchannels ~ratelimit:* -@all +evalsha +eval +del
    ///     +time +get +set
    /// ```
    ///
    /// The user of a `RedisStore` of `tracera-session` that shares its connection lacks
    /// `~ratelimit:*` and `+time +get +set`.
    #[cfg(feature = "redis")]
    pub fn redis<C>(limit: RateLimit, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::redis_with(limit, move |command| {
            let mut connection = connection.clone();
            async move { redis::within(redis::TIMEOUT, connection.req_packed_command(&command)).await }
        })
    }

    /// The same by `ask`, which sends a command to Redis and gives the answer. How long that may
    /// take is for `ask` to say: it has to give up at some time. For a client that does, and takes
    /// commands by value; what a `ConnectionLike` is lent it has to copy.
    #[cfg(feature = "redis")]
    pub fn redis_with<F>(limit: RateLimit, ask: impl Fn(Cmd) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = RedisResult<Value>> + Send + 'static,
    {
        Self::new(limit, Store::Redis(redis::Log::new(limit, ask)))
    }

    fn new(limit: RateLimit, store: Store) -> Self {
        Self(Arc::new(Inner { limit, policy: decision::policy(limit), store }))
    }

    /// The limit this limiter keeps.
    pub fn limit(&self) -> RateLimit {
        self.0.limit
    }

    /// Asks for one request under `key`, now by the store's clock.
    ///
    /// The key is visible in the store: hash what nobody else should read there.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn check(&self, key: &str) -> Result<Decision, RateLimitError> {
        self.decide(&[(key, 1)], None).await
    }

    /// [`RateLimiter::check`] under several keys at once, each with the number of times the limit it
    /// is granted; the first is the request's own and is granted the limit once, whatever stands
    /// beside it. The request is admitted if every key grants it, and a refused one is counted under
    /// none. The decision speaks of the first key or, when refused, of the key that refuses for
    /// longest.
    ///
    /// Redis is asked once. In a cluster all the keys must lie in one slot: give them one `{tag}`.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn check_all(&self, keys: &[(&str, u32)]) -> Result<Decision, RateLimitError> {
        self.decide(keys, None).await
    }

    /// [`RateLimiter::check_all`] at a time of the caller's, as in [`RateLimiter::check_at`].
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn check_all_at(
        &self,
        keys: &[(&str, u32)],
        now: Duration,
    ) -> Result<Decision, RateLimitError> {
        self.decide(keys, Some(micros(now))).await
    }

    /// [`RateLimiter::check`] at a time of the caller's, given as the distance from any fixed
    /// origin. For tests and simulations: do not mix it with `check` under one key.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn check_at(&self, key: &str, now: Duration) -> Result<Decision, RateLimitError> {
        self.decide(&[(key, 1)], Some(micros(now))).await
    }

    /// Forgets what was admitted under `key`, as after a proof that its owner is behind the
    /// requests.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "only Redis has to be waited for")
    )]
    pub async fn forget(&self, key: &str) -> Result<(), RateLimitError> {
        match &self.0.store {
            Store::Memory(memory) => memory.forget(key),
            #[cfg(feature = "redis")]
            Store::Redis(log) => log.forget(key).await?,
        }
        Ok(())
    }

    /// [`RateLimiter::check_all`] of a limit in memory, which needs no wait.
    pub(crate) fn check_all_now(&self, keys: &[(&str, u32)]) -> Option<Decision> {
        match &self.0.store {
            Store::Memory(memory) => Some(self.decision(memory.request(keys, None))),
            #[cfg(feature = "redis")]
            Store::Redis(_) => None,
        }
    }

    fn decision(&self, usage: Usage) -> Decision {
        Decision::new(self.0.limit, self.0.policy.clone(), usage)
    }

    /// [`RateLimiter::check`] whose refusal is an HTTP response.
    ///
    /// # Errors
    /// [`RateLimitRejection`] when the request is over the limit or the store does not answer.
    pub async fn admit(&self, key: &str) -> Result<Decision, RateLimitRejection> {
        self.check(key).await?.admitted()
    }

    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "only Redis has to be waited for")
    )]
    async fn decide(
        &self,
        keys: &[(&str, u32)],
        now: Option<u64>,
    ) -> Result<Decision, RateLimitError> {
        let usage = match &self.0.store {
            Store::Memory(memory) => memory.request(keys, now),
            #[cfg(feature = "redis")]
            Store::Redis(log) => log.request(keys, now).await?,
        };
        Ok(self.decision(usage))
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match &self.0.store {
            Store::Memory(_) => "memory",
            #[cfg(feature = "redis")]
            Store::Redis(_) => "redis",
        };
        write!(f, "RateLimiter({:?} in {store})", self.0.limit)
    }
}

/// What a store says after one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    allowed: bool,
    /// Admitted requests within the window, this one included.
    used: u32,
    /// Microseconds since the oldest of them; if the limit was lowered, since the one after which
    /// it grants one more.
    oldest_age: u64,
}

/// The key, or its digest where it is long.
fn short(key: &str) -> Cow<'_, str> {
    if key.len() <= MAX_KEY_BYTES {
        return Cow::Borrowed(key);
    }
    let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(key));
    Cow::Owned(format!("sha256:{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_are_replaced_by_a_digest_of_their_own() {
        let long = |end: &str| "x".repeat(MAX_KEY_BYTES) + end;
        assert_eq!(short(&long("")), long(""));
        assert_eq!(short(&long("a")).len(), 50);
        assert_ne!(short(&long("a")), short(&long("b")));
    }
}
