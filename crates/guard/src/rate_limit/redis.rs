//! The log of admitted requests in Redis.

use std::pin::Pin;
use std::time::Duration;

use redis::{
    Cmd, ErrorKind, RedisResult, RedisWrite, Script, ServerErrorKind, ToRedisArgs, ToSingleRedisArg, Value,
};

use super::{RateLimit, RateLimitError, Usage};

const TIMEOUT: Duration = Duration::from_secs(2);
/// A key outlives its window by this much, so that Redis never forgets a request that still counts.
const TTL_MARGIN: Duration = Duration::from_secs(1);

type Asking = Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>>;

/// Runs the script over any connection; the connection's type stays in the closure.
pub(super) struct Log {
    ask: Box<dyn Fn(Cmd) -> Asking + Send + Sync>,
    key_prefix: String,
    /// With the limit's numbers written into it: shorter commands, and as many scripts as there are limits.
    script: String,
    sha1: String,
}

impl Log {
    pub(super) fn new<F>(limit: RateLimit, ask: impl Fn(Cmd) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = RedisResult<Value>> + Send + 'static,
    {
        let script = format!(
            "local limit, window, ttl = {}, {}, {}\n{}",
            limit.limit,
            limit.window_micros(),
            (limit.window + TTL_MARGIN).as_millis(),
            include_str!("window.lua"),
        );
        let sha1 = Script::new(&script).get_hash().to_owned();
        let ask = Box::new(move |command| -> Asking { Box::pin(ask(command)) });
        Self { ask, key_prefix: format!("ratelimit:{}:", limit.name), script, sha1 }
    }

    /// Admits or refuses one request at `now` (microseconds), by default Redis' time.
    pub(super) async fn request(&self, key: &str, now: Option<u64>) -> Result<Usage, RateLimitError> {
        let answer = within_limit(self.evaluate(key, now)).await?;
        usage(&answer).ok_or_else(|| RateLimitError::Unavailable("the script answered something else".into()))
    }

    pub(super) async fn forget(&self, key: &str) -> Result<(), RateLimitError> {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(key));
        within_limit(self.ask(command)).await.map(drop)
    }

    async fn evaluate(&self, key: &str, now: Option<u64>) -> RedisResult<Value> {
        match self.ask(self.command("EVALSHA", &self.sha1, key, now)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(self.command("EVAL", &self.script, key, now)).await
            }
            answer => answer,
        }
    }

    fn ask(&self, command: Cmd) -> impl Future<Output = RedisResult<Value>> {
        let asking = (self.ask)(command);
        async { asking.await?.extract_error() }
    }

    fn key<'a>(&'a self, key: &'a str) -> Key<'a> {
        Key { prefix: &self.key_prefix, key }
    }

    fn command(&self, name: &str, script: &str, key: &str, now: Option<u64>) -> Cmd {
        let mut command = Cmd::with_capacity(5, 64 + script.len() + key.len());
        command.arg(name).arg(script).arg("1").arg(self.key(key)).arg(now);
        command
    }
}

async fn within_limit(asking: impl Future<Output = RedisResult<Value>>) -> Result<Value, RateLimitError> {
    tokio::time::timeout(TIMEOUT, asking)
        .await
        .map_err(|late| RateLimitError::Unavailable(late.into()))?
        .map_err(|error| RateLimitError::Unavailable(error.into()))
}

/// A key in Redis, put together where it is needed.
struct Key<'a> {
    prefix: &'a str,
    key: &'a str,
}

impl ToRedisArgs for Key<'_> {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        out.write_arg_fmt(format_args!("{}{}", self.prefix, self.key));
    }
}

impl ToSingleRedisArg for Key<'_> {}

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
