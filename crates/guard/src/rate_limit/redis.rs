//! The log of admitted requests in Redis.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisResult, Script, ServerErrorKind, Value};

use super::{RateLimit, RateLimitError, Usage};

const TIMEOUT: Duration = Duration::from_secs(2);
/// A key outlives its window by this much, so that Redis never forgets a request that still counts.
const TTL_MARGIN: Duration = Duration::from_secs(1);

type Run = dyn Fn(Cmd) -> Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>> + Send + Sync;

/// Runs the script over any connection; the connection's type stays in the closure.
pub(super) struct Log {
    run: Box<Run>,
    key_prefix: String,
    /// With the limit's numbers written into it: shorter commands, and as many scripts as there are limits.
    script: String,
    sha1: String,
}

impl Log {
    pub(super) fn new<C>(limit: RateLimit, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let run = move |command: Cmd| -> Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>> {
            let mut connection = connection.clone();
            Box::pin(async move { connection.req_packed_command(&command).await?.extract_error() })
        };
        let script = format!(
            "local limit, window, ttl = {}, {}, {}\n{}",
            limit.limit,
            limit.window_micros(),
            (limit.window + TTL_MARGIN).as_millis(),
            include_str!("window.lua"),
        );
        let sha1 = Script::new(&script).get_hash().to_owned();
        Self { run: Box::new(run), key_prefix: format!("ratelimit:{}:", limit.name), script, sha1 }
    }

    /// Admits or refuses one request at `now` (microseconds), by default Redis' time.
    pub(super) async fn request(&self, key: &str, now: Option<u64>) -> Result<Usage, RateLimitError> {
        let answer = tokio::time::timeout(TIMEOUT, self.evaluate(key, now))
            .await
            .map_err(|late| RateLimitError::Unavailable(late.into()))?
            .map_err(|error| RateLimitError::Unavailable(error.into()))?;
        usage(&answer).ok_or_else(|| RateLimitError::Unavailable("the script answered something else".into()))
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

    async fn evaluate(&self, key: &str, now: Option<u64>) -> RedisResult<Value> {
        match (self.run)(self.command("EVALSHA", &self.sha1, key, now)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                (self.run)(self.command("EVAL", &self.script, key, now)).await
            }
            answer => answer,
        }
    }

    fn key(&self, key: &str) -> String {
        [&self.key_prefix, key].concat()
    }

    fn command(&self, name: &str, script: &str, key: &str, now: Option<u64>) -> Cmd {
        let mut command = Cmd::with_capacity(5, 64 + script.len() + key.len());
        command.arg(name).arg(script).arg("1").arg(self.key(key)).arg(now);
        command
    }
}

/// What the script answered.
fn usage(answer: &Value) -> Option<Usage> {
    let Value::BulkString(text) = answer else { return None };
    let mut numbers =
        text.split(|byte| *byte == b' ').map(|digits| str::from_utf8(digits).ok()?.parse().ok());
    let mut next = || numbers.next().flatten();
    let (allowed, used, oldest_age): (u64, u64, u64) = (next()?, next()?, next()?);
    let usage = Usage { allowed: allowed == 1, used: u32::try_from(used).ok()?, oldest_age };
    numbers.next().is_none().then_some(usage)
}
