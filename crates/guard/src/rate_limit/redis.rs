//! Sliding windows in Redis.

use std::pin::Pin;
use std::time::Duration;
use std::{fmt, io};

use redis::{
    Cmd, ErrorKind, RedisError, RedisResult, RedisWrite, Script, ServerErrorKind, ToRedisArgs,
    ToSingleRedisArg, Value,
};

use super::{
    RateLimit, RateLimitError, RateLimitRequest, RateLimitStore, RateLimitUsage, StoreAnswer, short,
};

/// The time limit of the first command.
pub(super) const TIMEOUT: Duration = Duration::from_millis(1500);
/// The time limit of the second command, sent after Redis replied that it lacks the script.
const SECOND_TIMEOUT: Duration = Duration::from_millis(500);
/// The time that a key outlives its window, so that no counted request expires early.
const TTL_MARGIN: Duration = Duration::from_secs(1);

type Reply = Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>>;

/// Runs the script over any connection. The closure hides the connection's type.
pub(super) struct Windows {
    send: Box<dyn Fn(Cmd) -> Reply + Send + Sync>,
    key_prefix: String,
    /// The limit's numbers are part of the script, which makes commands shorter.
    script: String,
    sha1: String,
}

impl Windows {
    pub(super) fn new<F>(
        limit: RateLimit,
        prefix: &str,
        send: impl Fn(Cmd) -> F + Send + Sync + 'static,
    ) -> Self
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
        let send = Box::new(move |command| -> Reply { Box::pin(send(command)) });
        Self { send, key_prefix: format!("{prefix}ratelimit:{}:", limit.name), script, sha1 }
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

impl RateLimitStore for Windows {
    fn request<'a>(&'a self, request: &'a RateLimitRequest<'a>) -> StoreAnswer<'a, RateLimitUsage> {
        Box::pin(async move {
            let RateLimitRequest { keys, now, .. } = *request;
            let by_sha1 = (self.send)(self.command("EVALSHA", &self.sha1, keys, now));
            let answer = match checked(by_sha1.await) {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    let reply = (self.send)(self.command("EVAL", &self.script, keys, now));
                    checked(within(SECOND_TIMEOUT, reply).await)
                }
                answer => answer,
            };
            usage(&answer.map_err(unavailable)?).ok_or_else(|| {
                RateLimitError::Unavailable("the script answered something else".into())
            })
        })
    }

    fn forget<'a>(&'a self, _: RateLimit, key: &'a str) -> StoreAnswer<'a, ()> {
        Box::pin(async move {
            let mut command = redis::cmd("DEL");
            command.arg(self.key(key));
            checked((self.send)(command).await).map(drop).map_err(unavailable)
        })
    }
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis")
    }
}

/// The reply, or an error after `limit`.
pub(super) async fn within(
    limit: Duration,
    reply: impl Future<Output = RedisResult<Value>>,
) -> RedisResult<Value> {
    tokio::time::timeout(limit, reply)
        .await
        .unwrap_or_else(|late| Err(io::Error::from(late).into()))
}

fn checked(answer: RedisResult<Value>) -> RedisResult<Value> {
    answer?.extract_error()
}

fn unavailable(error: RedisError) -> RateLimitError {
    RateLimitError::Unavailable(error.into())
}

/// A key in Redis, joined when the command is written.
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

/// The script's reply.
fn usage(answer: &Value) -> Option<RateLimitUsage> {
    let Value::BulkString(bytes) = answer else { return None };
    let (allowed, rest) = bytes.split_first()?;
    let (used, oldest_age) = rest.split_first_chunk()?;
    Some(RateLimitUsage {
        allowed: *allowed == 1,
        used: u32::from_le_bytes(*used),
        oldest_age: Duration::from_micros(u64::from_le_bytes(oldest_age.try_into().ok()?)),
    })
}
