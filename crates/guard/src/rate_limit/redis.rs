//! The log of admitted requests in Redis.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use redis::{
    Cmd, ErrorKind, RedisError, RedisResult, RedisWrite, Script, ServerErrorKind, ToRedisArgs,
    ToSingleRedisArg, Value,
};

use super::{RateLimit, RateLimitError, Usage, short};

/// How long Redis may take for an answer.
pub(super) const TIMEOUT: Duration = Duration::from_millis(1500);
/// For the question after Redis answered that it does not know the script.
const SECOND_TIMEOUT: Duration = Duration::from_millis(500);
/// A key outlives its window by this much, so that Redis never forgets a request that still counts.
const TTL_MARGIN: Duration = Duration::from_secs(1);

type Asking = Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>>;

/// Runs the script over any connection; the connection's type stays in the closure.
pub(super) struct Log {
    ask: Box<dyn Fn(Cmd) -> Asking + Send + Sync>,
    key_prefix: String,
    /// With the limit's numbers written into it: shorter commands, and as many scripts as there are
    /// limits.
    script: String,
    sha1: String,
}

impl Log {
    pub(super) fn new<F>(limit: RateLimit, ask: impl Fn(Cmd) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = RedisResult<Value>> + Send + 'static,
    {
        let script = format!(
            "local limit, window, ttl = {}, {}, '{}'\n{}",
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
    pub(super) async fn request(
        &self,
        budgets: &[(&str, u32)],
        now: Option<u64>,
    ) -> Result<Usage, RateLimitError> {
        let by_sha1 = (self.ask)(self.command("EVALSHA", &self.sha1, budgets, now));
        let answer = match found(by_sha1.await) {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let asking = (self.ask)(self.command("EVAL", &self.script, budgets, now));
                found(within(SECOND_TIMEOUT, asking).await)
            }
            answer => answer,
        };
        let answer = answer.map_err(unavailable)?;
        usage(&answer)
            .ok_or_else(|| RateLimitError::Unavailable("the script answered something else".into()))
    }

    pub(super) async fn forget(&self, key: &str) -> Result<(), RateLimitError> {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(&short(key)));
        found((self.ask)(command).await).map(drop).map_err(unavailable)
    }

    fn key<'a>(&'a self, key: &'a str) -> Key<'a> {
        Key { prefix: &self.key_prefix, key }
    }

    fn command(&self, name: &str, script: &str, budgets: &[(&str, u32)], now: Option<u64>) -> Cmd {
        let bytes = 64 + script.len() + budgets.len() * 64;
        let mut command = Cmd::with_capacity(4 + 2 * budgets.len(), bytes);
        command.arg(name).arg(script).arg(budgets.len());
        for (key, _) in budgets {
            command.arg(self.key(&short(key)));
        }
        match now {
            Some(now) => drop(command.arg(now)),
            None if budgets.len() > 1 => drop(command.arg("")),
            None => {}
        }
        for (_, times) in budgets.iter().skip(1) {
            command.arg(*times);
        }
        command
    }
}

/// An error when there is no answer by then.
pub(super) async fn within(
    limit: Duration,
    asking: impl Future<Output = RedisResult<Value>>,
) -> RedisResult<Value> {
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|late| Err(io::Error::from(late).into()))
}

fn found(answer: RedisResult<Value>) -> RedisResult<Value> {
    answer?.extract_error()
}

fn unavailable(error: RedisError) -> RateLimitError {
    RateLimitError::Unavailable(error.into())
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
    let Value::BulkString(bytes) = answer else { return None };
    let (allowed, rest) = bytes.split_first()?;
    let (used, oldest_age) = rest.split_first_chunk()?;
    Some(Usage {
        allowed: *allowed == 1,
        used: u32::from_le_bytes(*used),
        oldest_age: u64::from_le_bytes(oldest_age.try_into().ok()?),
    })
}
