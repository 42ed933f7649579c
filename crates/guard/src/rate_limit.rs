//! An exact sliding-window rate limit: [`RateLimiter`] has the rules.

mod decision;
mod layer;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod store;

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
pub use store::{RateLimitRequest, RateLimitStore, RateLimitUsage, StoreAnswer};

use crate::name::is_name;

/// A longer key is replaced by its SHA-256, so that the memory of a key is bounded.
const MAX_KEY_BYTES: usize = 128;

/// The number of requests that a key is granted within any window.
///
/// ```
/// use std::time::Duration;
/// use tracera_guard::RateLimit;
///
/// const SIGN_INS: RateLimit = RateLimit::new("sign-in", 20, Duration::from_secs(60));
/// assert_eq!(SIGN_INS.requests(), 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    name: &'static str,
    limit: u32,
    window: Duration,
}

impl RateLimit {
    /// `limit` requests within any span of `window`. The name separates limits in Redis and in the
    /// response headers.
    ///
    /// # Panics
    /// If the name is empty or has anything but lower-case letters, digits, `-` and `_`. If the
    /// limit is zero, or the window under a millisecond or over a year. In a `const` this is a
    /// compile error.
    pub const fn new(name: &'static str, limit: u32, window: Duration) -> Self {
        assert!(is_name(name), "a limit's name is made of a-z, 0-9, - and _");
        assert!(limit > 0, "a limit of zero would refuse everything");
        assert!(
            window.as_millis() >= 1 && window.as_secs() <= 366 * 24 * 3600,
            "a window is between a millisecond and a year long"
        );
        Self { name, limit, window }
    }

    /// The name that distinguishes this limit from others in one store.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of requests granted per window.
    pub fn requests(&self) -> u32 {
        self.limit
    }

    /// The length of the window.
    pub fn window(&self) -> Duration {
        self.window
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
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use tracera_guard::RateLimiter;
///
/// async fn send_mail(limiter: RateLimiter, address: &str) -> Response {
///     match limiter.admit(address).await {
///         Ok(_) => "sent".into_response(),
///         Err(refused) => refused.into_response(), // 429, or 503 when nobody counts
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RateLimitError {
    /// The store did not answer in time. Treat the request as refused.
    #[error("the rate limit store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// An exact sliding-window rate limit: in memory, shared through Redis, or in a [`RateLimitStore`].
/// Cheap to clone; clones share the store.
///
/// 1. A request is admitted if fewer than `limit` admitted requests of its key are at most `window`
///    old. With 20 per 60 s, no span of 60 seconds ever admits 21. (A fixed window admits up to 40
///    across its edge, a token bucket up to 39.)
/// 2. A refused request is not counted, so trying again does not extend the wait.
/// 3. A client that waits `Retry-After` seconds and then sends one request is admitted.
/// 4. While the store does not answer, nothing is admitted. The answer is 503.
/// 5. In Redis one script decides by Redis' clock, so any number of instances share the limit.
/// 6. Every key in Redis has a time to live.
/// 7. When Redis' clock is set back, times in the future become the present.
///
/// The algorithm is the sliding window log. [`ClientLimit`] is the layer that limits clients by
/// address. To limit by any other key, call [`RateLimiter::admit`]:
///
/// ```
/// use std::time::Duration;
/// use axum::{extract::{Path, State}, response::{IntoResponse, Response}};
/// use tracera_guard::{RateLimit, RateLimitRejection, RateLimiter};
///
/// const MAILS: RateLimit = RateLimit::new("mail", 3, Duration::from_secs(900));
///
/// async fn send_mail(
///     State(limiter): State<RateLimiter>,
///     Path(account): Path<String>,
/// ) -> Result<Response, RateLimitRejection> {
///     let decision = limiter.admit(&account).await?;
///     let mut response = "sent".into_response();
///     decision.apply_headers(response.headers_mut());
///     Ok(response)
/// }
/// # let limiter = RateLimiter::in_memory(MAILS);
/// # let route = axum::routing::post(send_mail);
/// # let _ = axum::Router::new().route("/{account}", route).with_state::<()>(limiter);
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
    Shared(Box<dyn RateLimitStore>),
}

impl RateLimiter {
    /// A limit kept in the memory of this process, for at most 100 000 keys.
    ///
    /// A key costs about 100 bytes, plus 8 for each admitted request. Every new key examines 16
    /// entries and removes the expired ones.
    ///
    /// When the table is full, a new key replaces one of 16 entries: the one with the fewest
    /// admitted requests, and among equals the least recently used. So a flood of addresses locks
    /// nobody out. Nor can it reset a key at its limit, unless nearly every other key is at its
    /// limit.
    pub fn in_memory(limit: RateLimit) -> Self {
        Self::in_memory_with_capacity(limit, 100_000)
    }

    /// [`RateLimiter::in_memory`] with room for `max_keys` keys (at least one).
    pub fn in_memory_with_capacity(limit: RateLimit, max_keys: usize) -> Self {
        Self::new(limit, Store::Memory(Memory::new(limit, max_keys.max(1))))
    }

    /// A limit shared by all users of one Redis (5 or later) or Valkey, under the keys
    /// `ratelimit:<name>:<key>`. A check fails after 2 seconds without an answer.
    ///
    /// A window is one string in Redis, with 8 bytes for each counted request. That suits limits up
    /// to a few thousand.
    ///
    /// The Redis user needs these permissions, plus those for commands that the connection itself
    /// sends:
    ///
    /// ```text
    /// ACL SETUSER limits on >password resetkeys resetchannels ~ratelimit:* -@all
    ///     +evalsha +eval +del +time +get +set
    /// ```
    ///
    /// A `RedisStore` of `tracera-session` can share its connection. Its user then needs
    /// `~ratelimit:*` and `+time +get +set` in addition.
    #[cfg(feature = "redis")]
    pub fn redis<C>(limit: RateLimit, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::redis_with(limit, move |command| {
            let mut connection = connection.clone();
            async move {
                let reply = connection.req_packed_command(&command);
                redis::within(redis::TIMEOUT, reply).await
            }
        })
    }

    /// Like `redis`, through a function that sends a command and returns its reply. The function
    /// must have a time limit. Use it for clients that take commands by value; a `ConnectionLike`
    /// has to copy them.
    #[cfg(feature = "redis")]
    pub fn redis_with<F>(limit: RateLimit, send: impl Fn(Cmd) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = RedisResult<Value>> + Send + 'static,
    {
        Self::redis_prefixed(limit, "", send)
    }

    /// Like `redis_with`, with a `prefix` before every key, for several deployments in one Redis.
    #[cfg(feature = "redis")]
    pub fn redis_prefixed<F>(
        limit: RateLimit,
        prefix: &str,
        send: impl Fn(Cmd) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = RedisResult<Value>> + Send + 'static,
    {
        Self::in_store(limit, redis::Windows::new(limit, prefix, send))
    }

    /// A limit kept in another kind of store, such as `PostgresLimits` of `tracera-session-sqlx`.
    pub fn in_store(limit: RateLimit, store: impl RateLimitStore) -> Self {
        Self::new(limit, Store::Shared(Box::new(store)))
    }

    fn new(limit: RateLimit, store: Store) -> Self {
        Self(Arc::new(Inner { limit, policy: decision::policy(limit), store }))
    }

    /// The limit that this limiter enforces.
    pub fn limit(&self) -> RateLimit {
        self.0.limit
    }

    /// Decides about one request under `key`, by the store's clock.
    ///
    /// The key is readable in the store. Hash it if it is confidential.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn check(&self, key: &str) -> Result<Decision, RateLimitError> {
        self.decide(&[(key, 1)], None).await
    }

    /// [`RateLimiter::check`] under several keys at once. Each key comes with its multiple of the
    /// limit; that of the first key is one.
    ///
    /// 1. A request is admitted if every key has room for it.
    /// 2. A refused request is counted under no key.
    /// 3. The decision describes the first key or, when refused, the key that refuses for longest.
    /// 4. Redis is asked once. In a cluster all keys must lie in one slot: give them one `{tag}`.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn check_all(&self, keys: &[(&str, u32)]) -> Result<Decision, RateLimitError> {
        self.decide(keys, None).await
    }

    /// [`RateLimiter::check_all`] at the caller's time, as in [`RateLimiter::check_at`].
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

    /// [`RateLimiter::check`] at the caller's time, counted from any fixed origin. For tests and
    /// simulations only: do not mix it with `check` under one key.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn check_at(&self, key: &str, now: Duration) -> Result<Decision, RateLimitError> {
        self.decide(&[(key, 1)], Some(micros(now))).await
    }

    /// Forgets the admitted requests of `key`, for instance after its owner has signed in.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`] when the store does not answer.
    pub async fn forget(&self, key: &str) -> Result<(), RateLimitError> {
        match &self.0.store {
            Store::Memory(memory) => memory.forget(key),
            Store::Shared(store) => store.forget(self.0.limit, &short(key)).await?,
        }
        Ok(())
    }

    /// [`RateLimiter::check_all`] of a limit in memory, without a future.
    pub(crate) fn check_all_now(&self, keys: &[(&str, u32)]) -> Option<Decision> {
        match &self.0.store {
            Store::Memory(memory) => Some(self.decision(memory.request(keys, None))),
            Store::Shared(_) => None,
        }
    }

    fn decision(&self, usage: RateLimitUsage) -> Decision {
        Decision::new(self.0.limit, self.0.policy.clone(), usage)
    }

    /// [`RateLimiter::check`] with a refusal that is an HTTP response.
    ///
    /// # Errors
    /// [`RateLimitRejection`] when the request is over the limit or the store does not answer.
    pub async fn admit(&self, key: &str) -> Result<Decision, RateLimitRejection> {
        self.check(key).await?.admitted()
    }

    async fn decide(
        &self,
        keys: &[(&str, u32)],
        now: Option<u64>,
    ) -> Result<Decision, RateLimitError> {
        let usage = match &self.0.store {
            Store::Memory(memory) => memory.request(keys, now),
            Store::Shared(store) => {
                let limit = self.0.limit;
                store.request(&RateLimitRequest { limit, keys, now }).await?
            }
        };
        Ok(self.decision(usage))
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.store {
            Store::Memory(_) => write!(f, "RateLimiter({:?} in memory)", self.0.limit),
            Store::Shared(store) => write!(f, "RateLimiter({:?} in {store:?})", self.0.limit),
        }
    }
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
