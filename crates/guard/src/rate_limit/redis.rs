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
    limit: RateLimit,
    run: Arc<Run>,
    script: Arc<str>,
    sha1: Arc<str>,
}

impl Log {
    pub(super) fn new<C>(limit: RateLimit, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let script = include_str!("window.lua");
        let run = move |command: Cmd| -> Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>> {
            let mut connection = connection.clone();
            Box::pin(async move { command.query_async(&mut connection).await })
        };
        Self { limit, run: Arc::new(run), script: script.into(), sha1: Script::new(script).get_hash().into() }
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
        let answer = match (self.run)(self.command("EVALSHA", &self.sha1, key, now)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                (self.run)(self.command("EVAL", &self.script, key, now)).await?
            }
            answer => answer?,
        };
        FromRedisValue::from_redis_value(answer).map_err(RedisError::from)
    }

    fn key(&self, key: &str) -> String {
        format!("ratelimit:{}:{key}", self.limit.name)
    }

    fn command(&self, name: &str, script: &str, key: &str, now: Option<u64>) -> Cmd {
        let RateLimit { limit, window, .. } = self.limit;
        let ttl = (window + TTL_MARGIN).as_millis();
        let mut command = redis::cmd(name);
        command
            .arg(script)
            .arg(1)
            .arg(self.key(key))
            .arg(limit)
            .arg(self.limit.window_micros())
            .arg(ttl.to_string())
            .arg(now.map(|now| now.to_string()).unwrap_or_default());
        command
    }
}
