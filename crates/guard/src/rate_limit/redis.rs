//! The log of admitted requests in Redis.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind, Value};

use super::{RateLimit, RateLimitError, Usage};

const TIMEOUT: Duration = Duration::from_secs(2);
/// A key outlives its window by this much, so that Redis never forgets a request that still counts.
const TTL_MARGIN: Duration = Duration::from_secs(1);

type Reply = RedisResult<(u8, u32, u64)>;
type Run = dyn Fn(Cmd) -> Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>> + Send + Sync;

/// Runs the script over any connection; the connection's type stays in the closure.
#[derive(Clone)]
pub(super) struct Log {
    run: Arc<Run>,
    calls: Arc<Calls>,
}

/// What is the same in all calls of the script.
struct Calls {
    sha1: String,
    key_prefix: String,
    limit: String,
    window_micros: String,
    ttl_millis: String,
}

const SCRIPT: &str = include_str!("window.lua");

impl Log {
    pub(super) fn new<C>(limit: RateLimit, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let run = move |command: Cmd| -> Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>> {
            let mut connection = connection.clone();
            Box::pin(async move { command.query_async(&mut connection).await })
        };
        let calls = Calls {
            sha1: Script::new(SCRIPT).get_hash().to_owned(),
            key_prefix: format!("ratelimit:{}:", limit.name),
            limit: limit.limit.to_string(),
            window_micros: limit.window_micros().to_string(),
            ttl_millis: (limit.window + TTL_MARGIN).as_millis().to_string(),
        };
        Self { run: Arc::new(run), calls: Arc::new(calls) }
    }

    /// Admits or refuses one request at `now` (microseconds), by default Redis' time.
    pub(super) async fn request(&self, key: &str, now: Option<u64>) -> Result<Usage, RateLimitError> {
        let (admitted, used, oldest_age) = tokio::time::timeout(TIMEOUT, self.evaluate(key, now))
            .await
            .map_err(|late| RateLimitError::Unavailable(late.into()))?
            .map_err(|error| RateLimitError::Unavailable(error.into()))?;
        Ok(Usage { allowed: admitted == 1, used, oldest_age })
    }

    pub(super) async fn forget(&self, key: &str) -> Result<(), RateLimitError> {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(key));
        tokio::time::timeout(TIMEOUT, (self.run)(command))
            .await
            .map_err(|late| RateLimitError::Unavailable(late.into()))?
            .map_err(|error| RateLimitError::Unavailable(error.into()))?;
        Ok(())
    }

    async fn evaluate(&self, key: &str, now: Option<u64>) -> Reply {
        let answer = match (self.run)(self.command("EVALSHA", &self.calls.sha1, key, now)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                (self.run)(self.command("EVAL", SCRIPT, key, now)).await?
            }
            answer => answer?,
        };
        FromRedisValue::from_redis_value(answer).map_err(RedisError::from)
    }

    fn key(&self, key: &str) -> String {
        [&self.calls.key_prefix, key].concat()
    }

    fn command(&self, name: &str, script: &str, key: &str, now: Option<u64>) -> Cmd {
        let calls = &*self.calls;
        let mut command = Cmd::with_capacity(8, 128 + script.len() + key.len());
        command.arg(name).arg(script).arg("1").arg(self.key(key));
        command.arg(&calls.limit).arg(&calls.window_micros).arg(&calls.ttl_millis);
        match now {
            Some(now) => command.arg(now),
            None => command.arg(""),
        };
        command
    }
}
