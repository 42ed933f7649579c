//! Sessions in Redis: one hash per user, one `HMGET` per load, one script per write.

use std::fmt;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisError, ServerErrorKind, Value};

use self::connection::RedisConnection;
use self::error::ConnectError;
use self::operator::{NotReplicated, ReplicaAck};
use self::scripts::{COMMIT, CREATE, Call, DESTROY, PROBE, REVOKE_ALL, ROTATE, Script};
use super::{
    At, Budget, Committed, Created, FORWARD, FieldName, FieldOp, FieldReply, Found, ListedSession,
    NewSession, Rotated, Rotation, SessionStore, StoreError, StoreFuture, StoredField,
    StoredSession,
};
use crate::clock::millis;
use crate::invalidations::Invalidations;
use crate::record::{Epoch, is_forward};
use crate::token::{SessionId, Tag, UserId};

#[cfg(feature = "redis-cluster")]
mod at_most_once;
#[cfg(feature = "redis-tls")]
pub(crate) mod authorities;
mod batch;
mod client;
#[cfg(feature = "redis-cluster")]
mod cluster_supervisor;
pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod limits;
#[cfg(all(test, shuttle))]
pub(crate) mod memory_server;
#[cfg(not(feature = "redis-tls"))]
mod no_tls;
pub(crate) mod operator;
mod outage;
mod scripts;
mod sentinels;
mod sharing;
mod supervisor;
mod target;
mod tracking;
pub(crate) mod url;

/// Sessions in Redis 6 or newer, Valkey, a Sentinel-led primary or a cluster.
///
/// Answers within [`RedisLimits::total`](crate::RedisLimits::total). With the prefix `session`, a
/// Redis user needs these permissions and no others:
///
/// ```text
/// ACL SETUSER tracera on >password resetkeys resetchannels ~session:* -@all +hello
///     +auth +client +ping +role +info +wait +asking +cluster +evalsha +eval +hmget +hget +hgetall
///     +hkeys +hset +hdel +del +pttl +pexpire
/// ```
///
/// A rate limit over the same connection needs more permissions, which the documentation of
/// [`RateLimiter::redis`](https://docs.rs/tracera-guard/latest/tracera_guard/struct.RateLimiter.html#method.redis)
/// lists.
///
/// Two limits of Redis remain. Replication is asynchronous: a write acknowledged right before a
/// primary dies can be lost, unless [`with_replica_ack`](Self::with_replica_ack) waits for
/// replicas. A `maxmemory-policy` that evicts drops sessions when memory is short; see
/// [`evicting_policy`](Self::evicting_policy).
#[derive(Clone)]
pub struct RedisStore {
    connection: RedisConnection,
    prefix: Box<str>,
    replica_ack: Option<ReplicaAck>,
}

impl RedisStore {
    /// Connects to the `url`; see [`RedisConnection::open`] for its forms. Logs a warning if the
    /// server evicts.
    ///
    /// # Errors
    /// [`ConnectError`] when the URL is not understood or the server does not answer.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        let store = RedisConnection::open(url).await.map(Self::new)?;
        store.warn_of_eviction().await;
        Ok(store)
    }

    /// A store over a connection that others may share.
    pub fn new(connection: RedisConnection) -> Self {
        Self { connection, prefix: "session".into(), replica_ack: None }
    }

    /// Keys begin with `prefix` and a colon. Default `session`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Makes sign-out, revocation and rotation wait until `replicas` replicas have confirmed the
    /// write, at most `within`. Default: no wait.
    ///
    /// The operations use `connection`, which nothing else should use, because other commands on it
    /// wait too. `within` must be shorter than
    /// [`RedisLimits::response`](crate::RedisLimits::response). It must also be shorter than a
    /// third of [`RedisLimits::total`](crate::RedisLimits::total), because an operation may queue
    /// behind two others.
    ///
    /// If too few replicas confirm, or their answer is lost, a sign-out or revocation fails with
    /// [`StoreError::Unavailable`], though the primary has done it. Repeating "end all sessions of
    /// a user" waits again. Repeating the end of one session finds it gone and does not wait. A
    /// rotation is only logged, because an error would leave the browser with the old id.
    #[must_use]
    pub fn with_replica_ack(
        mut self,
        connection: RedisConnection,
        replicas: usize,
        within: Duration,
    ) -> Self {
        self.replica_ack = Some(ReplicaAck::new(connection, replicas, within));
        self
    }

    /// The `maxmemory-policy` by which the server would evict sessions. `None`, as recommended,
    /// when it evicts none.
    ///
    /// # Errors
    /// [`StoreError`] when the server cannot be asked.
    pub async fn evicting_policy(&self) -> Result<Option<Box<str>>, StoreError> {
        operator::evicting_policy(&self.connection).await.map_err(refused)
    }

    /// Whether the server is one of several nodes of a cluster, although the URL does not say
    /// `redis+cluster`. Sessions whose keys belong to other nodes cannot be kept there.
    ///
    /// # Errors
    /// [`StoreError`] when the server cannot be asked.
    pub async fn is_part_of_cluster(&self) -> Result<bool, StoreError> {
        operator::is_part_of_cluster(&self.connection, &self.prefix).await.map_err(refused)
    }

    /// Logs a warning if the server evicts, as [`connect`](Self::connect) does.
    pub async fn warn_of_eviction(&self) {
        match self.evicting_policy().await {
            Ok(None) => {}
            Ok(Some(policy)) => tracing::warn!(
                policy = &*policy,
                "redis drops sessions when memory is short; set maxmemory-policy to noeviction"
            ),
            Err(error) => tracing::info!(%error, "cannot tell whether redis evicts"),
        }
    }

    fn key(&self, tag: &Tag) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + Tag::CHARS + 3);
        key.extend(self.prefix.as_bytes());
        key.extend(b":{");
        tag.write_to(&mut key);
        key.push(b'}');
        key
    }

    fn call(&self, script: &'static Script, tag: &Tag, at: At) -> Call {
        script.call(&self.key(tag)).arg(at.now.as_millis()).arg(at.idle.map_or(0, millis))
    }

    fn hmget(&self, id: &SessionId, names: &[FieldName]) -> Cmd {
        let mut command = Cmd::with_capacity(5 + names.len(), 96 + 48 * names.len());
        command.arg("HMGET").arg(self.key(&id.tag)).arg(b"e").arg(b"u").arg(&id.field);
        for name in names {
            command.arg(name.under(&id.field));
        }
        command
    }

    fn hget_epoch(&self, tag: &Tag) -> Cmd {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(tag)).arg(b"e");
        command
    }

    fn hgetall(&self, tag: &Tag) -> Cmd {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.key(tag));
        command
    }

    async fn read(&self, command: impl Fn() -> Cmd) -> Result<Value, StoreError> {
        self.connection.read(command).await.map_err(refused)
    }

    /// Like `read`, after which the next change under the tag is announced. If the tag cannot be
    /// watched, a change is announced at once.
    async fn read_watched(
        &self,
        command: impl Fn() -> Cmd,
        tag: &Tag,
    ) -> Result<Value, StoreError> {
        let key = self.key(tag);
        let (answer, watched) =
            self.connection.read_watched(command, &key).await.map_err(refused)?;
        if !watched {
            self.connection.tracking().changed(&key);
        }
        Ok(answer)
    }

    async fn run(&self, call: Call) -> Result<Value, StoreError> {
        self.connection.within_limit(call.run(&self.connection)).await.map_err(refused)
    }

    /// Runs an operation that a failover must not undo, and waits for replicas if configured.
    async fn run_durably(
        &self,
        call: Call,
    ) -> Result<(Value, Result<(), NotReplicated>), StoreError> {
        let Some(ack) = &self.replica_ack else { return Ok((self.run(call).await?, Ok(()))) };
        ack.run(call).await.map_err(refused)
    }

    async fn found(&self, call: Call) -> Result<Found, StoreError> {
        let (answer, replicated) = self.run_durably(call).await?;
        replicated.map_err(StoreError::unavailable)?;
        match answer {
            Value::Int(1) => Ok(Found::Alive),
            Value::Int(0) => Ok(Found::Gone),
            other => Err(unexpected(&other)),
        }
    }
}

impl SessionStore for RedisStore {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        Box::pin(async move {
            let answer = self.read(|| self.hmget(id, names)).await?;
            stored_session(answer, names.len())
        })
    }

    fn load_watched<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        Box::pin(async move {
            let answer = self.read_watched(|| self.hmget(id, names), &id.tag).await?;
            stored_session(answer, names.len())
        })
    }

    fn invalidations(&self) -> Option<Invalidations> {
        Some(self.connection.tracking().feed(format!("{}:{{", self.prefix).as_bytes()))
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        Box::pin(async move {
            parse_epoch(bytes(self.read(|| self.hget_epoch(tag)).await?)?.as_deref())
        })
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        Box::pin(async move {
            let mut call = self
                .call(&CREATE, &new.id.tag, at)
                .arg(new.user.map_or(&b""[..], UserId::as_bytes))
                .arg(&new.id.field)
                .arg(&new.record)
                .arg(new.epoch.get())
                .arg(new.max_sessions)
                .arg(new.replaces.as_ref().map_or(&b""[..], |id| id))
                .arg(at.now.plus(FORWARD).as_millis())
                .arg(new.carry.len());
            for name in new.carry {
                call = call.arg(name.as_str());
            }
            for (name, value) in new.data {
                call = call.arg(name.as_str()).arg(value);
            }
            match self.run(call).await? {
                Value::Int(1) => Ok(Created::Created),
                Value::Int(0) => Ok(Created::Superseded),
                Value::Int(-1) => Ok(Created::Collision),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            let mut call = self
                .call(&COMMIT, &id.tag, at)
                .arg(&id.field)
                .arg(touch.map(millis).map_or_else(String::new, |after| after.to_string()))
                .arg(budget.fields)
                .arg(budget.bytes);
            for (name, change) in changes {
                let name = name.as_str();
                call = match change {
                    FieldOp::Set(value) => call.arg("s").arg(name).arg(value),
                    FieldOp::Remove => call.arg("d").arg(name).arg(""),
                    FieldOp::Increment(by) => call.arg("i").arg(name).arg(*by),
                    FieldOp::SetIfAbsent(value) => call.arg("n").arg(name).arg(value),
                    FieldOp::Take => call.arg("t").arg(name).arg(""),
                    FieldOp::CompareAndSet { expected, new } => {
                        let both = compare_and_set(expected.as_deref(), new.as_deref());
                        call.arg("c").arg(name).arg(both)
                    }
                };
            }
            let answer = self.run(call).await?;
            let Value::Array(items) = &answer else { return Err(unexpected(&answer)) };
            match items.as_slice() {
                [Value::Int(0)] => Ok(Committed::Gone),
                [Value::Int(-1)] => Ok(Committed::OverBudget),
                [Value::Int(-2)] => Ok(Committed::NotANumber),
                [Value::Int(1), Value::Int(forwarded), Value::Int(is_changed), answers @ ..]
                    if answers.len() == changes.len() =>
                {
                    Ok(Committed::Done {
                        answers: changes
                            .iter()
                            .zip(answers)
                            .map(|((_, op), answer)| reply(op, answer.clone()))
                            .collect::<Result<_, _>>()?,
                        forwarded: *forwarded == 1,
                        changed: *is_changed == 1,
                    })
                }
                _ => Err(unexpected(&answer)),
            }
        })
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        let call = self
            .call(&ROTATE, &id.tag, at)
            .arg(&id.field)
            .arg(&rotation.to)
            .arg(&rotation.record)
            .arg(at.now.plus(FORWARD).as_millis());
        Box::pin(async move {
            let (answer, replicated) = self.run_durably(call).await?;
            if let Err(error) = replicated {
                tracing::warn!(%error, "a rotation could be lost with its primary");
            }
            match answer {
                Value::Int(1) => Ok(Rotated::Rotated),
                Value::Int(2) => Ok(Rotated::Before),
                Value::Int(0) => Ok(Rotated::Gone),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        Box::pin(self.found(self.call(&DESTROY, &id.tag, at).arg(&id.field).arg("")))
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        let until = at.now.plus(FORWARD).as_millis();
        Box::pin(self.found(self.call(&DESTROY, &id.tag, at).arg(&id.field).arg(until)))
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        Box::pin(async move { listed(tag, self.read(|| self.hgetall(tag)).await?) })
    }

    fn list_watched<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        Box::pin(async move { listed(tag, self.read_watched(|| self.hgetall(tag), tag).await?) })
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        Box::pin(async move {
            let all = pairs(self.read(|| self.hgetall(tag)).await?)?.into_iter();
            Ok(all.filter_map(|(field, value)| StoredField::read(&field, value)).collect())
        })
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        let call = self
            .call(&REVOKE_ALL, tag, at)
            .arg(keep.map_or(&b""[..], |id| id))
            .arg(millis(remember));
        Box::pin(self.found(call))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        // PING is answered also to who may not run scripts, and where no writes are taken.
        let key = format!("{}:{{ping}}", self.prefix);
        Box::pin(async move { self.run(PROBE.call(key.as_bytes())).await.map(drop) })
    }

    fn time_limit(&self) -> Duration {
        self.connection.limits().total
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({:?})", self.connection)
    }
}

/// A wrong type under the key means foreign data; every other error is the server's state.
fn refused(error: RedisError) -> StoreError {
    if error.code() == Some("WRONGTYPE")
        || error.detail().is_some_and(|detail| detail.contains("WRONGTYPE"))
    {
        StoreError::Corrupt("the key holds another type".into())
    } else if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoPerm) {
        tracing::error!(%error, "the redis user lacks a permission the session store needs");
        StoreError::unavailable(error)
    } else {
        StoreError::unavailable(error)
    }
}

fn unexpected(answer: &Value) -> StoreError {
    let kind = match answer {
        Value::Int(_) => "an integer",
        Value::Array(_) => "a list",
        Value::Nil => "nothing",
        _ => "something else",
    };
    StoreError::Corrupt(format!("a script answered {kind} that has no meaning").into())
}

fn bytes(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        other => Err(unexpected(&other)),
    }
}

/// Both values of a compare-and-set in one argument, in the form that the script parses.
fn compare_and_set(expected: Option<&[u8]>, new: Option<&[u8]>) -> Vec<u8> {
    let there = u8::from(expected.is_some()) | u8::from(new.is_some()) << 1;
    let (expected, new) = (expected.unwrap_or_default(), new.unwrap_or_default());
    let len = u32::try_from(expected.len()).expect("budgets keep values small").to_be_bytes();
    [&[there], &len[..], expected, new].concat()
}

fn stored_session(answer: Value, names: usize) -> Result<Option<StoredSession>, StoreError> {
    let mut answer = match answer {
        Value::Array(answer) if answer.len() == 3 + names => answer,
        _ => return Err(StoreError::Corrupt("not a list of what was asked for".into())),
    };
    let values = answer.split_off(3);
    let mut answer = answer.into_iter().map(bytes);
    let mut next = || answer.next().unwrap_or(Ok(None));
    let (epoch, user, record) = (next()?, next()?, next()?);
    let Some(record) = record else { return Ok(None) };
    Ok(Some(StoredSession {
        epoch: parse_epoch(epoch.as_deref())?,
        user: parse_user(user)?,
        record,
        values: values.into_iter().map(bytes).collect::<Result<_, _>>()?,
    }))
}

/// The fields of a hash with their values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(answer: Value) -> Result<Pairs, StoreError> {
    Vec::from_redis_value(answer).map_err(|error| StoreError::Corrupt(error.to_string().into()))
}

fn listed(tag: &Tag, answer: Value) -> Result<(Epoch, Vec<ListedSession>), StoreError> {
    let all = pairs(answer)?;
    let mut epoch = None;
    let mut sessions = Vec::new();
    for (field, record) in all {
        if field == b"e" {
            epoch = Some(record);
        } else if !is_forward(&record)
            && let Ok(field) = field.try_into()
        {
            sessions.push(ListedSession { id: SessionId { tag: *tag, field }, record });
        }
    }
    Ok((parse_epoch(epoch.as_deref())?, sessions))
}

fn parse_epoch(bytes: Option<&[u8]>) -> Result<Epoch, StoreError> {
    let Some(bytes) = bytes else { return Ok(Epoch::default()) };
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse().ok())
        .map(Epoch::new)
        .ok_or_else(|| StoreError::Corrupt("the epoch is no number".into()))
}

fn parse_user(bytes: Option<Vec<u8>>) -> Result<Option<UserId>, StoreError> {
    bytes
        .map(UserId::new)
        .transpose()
        .map_err(|error| StoreError::Corrupt(error.to_string().into()))
}

fn reply(op: &FieldOp, answer: Value) -> Result<FieldReply, StoreError> {
    let answer = bytes(answer)?;
    Ok(match op {
        FieldOp::Set(_) | FieldOp::Remove => FieldReply::Done,
        FieldOp::SetIfAbsent(_) => FieldReply::WasAbsent(answer.as_deref() == Some(b"1")),
        FieldOp::Take => FieldReply::Taken(answer),
        FieldOp::CompareAndSet { .. } => match answer.as_deref() {
            Some([b'=']) => FieldReply::Compared(Ok(())),
            Some([b'-']) => FieldReply::Compared(Err(None)),
            Some([b'+', current @ ..]) => FieldReply::Compared(Err(Some(current.to_vec()))),
            _ => return Err(StoreError::Corrupt("no reply to a compare and set".into())),
        },
        FieldOp::Increment(_) => FieldReply::Number(
            answer
                .as_deref()
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| StoreError::Corrupt("a sum is no number".into()))?,
        ),
    })
}
