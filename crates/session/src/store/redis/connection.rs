//! The connection to Redis that all requests share: to one server, a Sentinel set or a cluster.
//!
//! 1. Every wait has a limit ([`RedisLimits`]); an error is returned within [`RedisLimits::total`].
//! 2. The connection repairs itself: [`Supervisor`] checks it, in a cluster [`ClusterSupervisor`]
//!    and the client library.
//! 3. While there is no connection, requests wait [`RedisLimits::grace`] for a new one and then
//!    fail. So no queue builds up.
//! 4. A write is never sent twice. A read is repeated once, over the next connection, if its
//!    connection broke.

use std::fmt;
use std::future::ready;
use std::ops::Deref;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::Either;
use redis::aio::ConnectionLike;
#[cfg(feature = "redis-cluster")]
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::Notify;

#[cfg(feature = "redis-cluster")]
use super::at_most_once;
#[cfg(feature = "redis-tls")]
use super::authorities::RedisAuthorities;
use super::batch::Batcher;
#[cfg(feature = "redis-cluster")]
use super::cluster_supervisor::{Cluster, ClusterIdentity, ClusterSupervisor};
use super::error::{ConnectError, flatten, not_connected};
use super::limits::RedisLimits;
#[cfg(not(feature = "redis-tls"))]
use super::no_tls::RedisAuthorities;
use super::sharing::{is_for_sharing, not_for_sharing};
use super::supervisor::{Generation, Supervised, Supervisor};
use super::target::Target;
use super::tracking::{Tracking, caching};
use super::url::RedisUrl;
use crate::sync::timeout;

/// A connection to Redis, a Sentinel-led primary or a cluster. Cheap to clone; all clones share one
/// socket per server.
///
/// A [`ConnectionLike`], so any code that speaks to Redis can share it.
///
/// ```
/// use tracera_session::{RedisConnection, RedisStore, redis};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut connection = RedisConnection::open("redis://127.0.0.1").await?;
/// let store = RedisStore::new(connection.clone());
/// let keys: i64 = redis::cmd("DBSIZE").query_async(&mut connection).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisConnection(Arc<Kept>);

struct Kept {
    link: Link,
    limits: RedisLimits,
    tracking: Tracking,
}

/// Identifies one of the successive connections.
#[derive(PartialEq, Eq)]
pub(super) enum Identity {
    Single(u64),
    #[cfg(feature = "redis-cluster")]
    Cluster(ClusterIdentity),
}

enum Link {
    Supervised(Arc<Supervised>),
    #[cfg(feature = "redis-cluster")]
    Cluster(Cluster),
}

impl RedisConnection {
    /// Connects and keeps connected.
    ///
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS and a certificate of
    /// a public authority, `redis+sentinel://[user:password@]host:port,…/service[/database]`,
    /// `redis+cluster://[user:password@]host:port,…`; `valkey` in place of `redis` is the same.
    ///
    /// Sentinels are given credentials of their own:
    /// `…/service?sentinel_username=…&sentinel_password=…`, percent-encoded, the user only if they
    /// have users.
    ///
    /// # Errors
    /// [`ConnectError`] when the URL is not understood or the first connection fails.
    pub async fn open(url: &str) -> Result<Self, ConnectError> {
        Self::open_with(url, RedisLimits::default()).await
    }

    /// Like [`RedisConnection::open`], with the caller's limits.
    ///
    /// # Errors
    /// As [`RedisConnection::open`].
    pub async fn open_with(url: &str, limits: RedisLimits) -> Result<Self, ConnectError> {
        Self::open_either(url, limits, None).await
    }

    /// The same over TLS. The certificates of servers and Sentinels must come from these
    /// `authorities`; the public ones are not accepted then.
    ///
    /// # Errors
    /// As [`RedisConnection::open`], and for a URL without TLS.
    #[cfg(feature = "redis-tls")]
    pub async fn open_trusting(
        url: &str,
        limits: RedisLimits,
        authorities: &RedisAuthorities,
    ) -> Result<Self, ConnectError> {
        Self::open_either(url, limits, Some(authorities)).await
    }

    async fn open_either(
        url: &str,
        limits: RedisLimits,
        authorities: Option<&RedisAuthorities>,
    ) -> Result<Self, ConnectError> {
        let url = RedisUrl::parse(url)?;
        match Self::open_speaking(&url, limits, authorities, true).await {
            Err(ConnectError::Refused(error)) if knows_no_resp3(&error) => {
                Self::open_speaking(&url, limits, authorities, false).await
            }
            opened => opened,
        }
    }

    async fn open_speaking(
        url: &RedisUrl,
        limits: RedisLimits,
        authorities: Option<&RedisAuthorities>,
        resp3: bool,
    ) -> Result<Self, ConnectError> {
        let suspect = Arc::new(Notify::new());
        let tracking = Tracking::new(resp3, suspect.clone());
        let link = match Target::new(url, limits, authorities, resp3.then_some(&tracking))? {
            #[cfg(feature = "redis-cluster")]
            Target::Cluster(client, node) => {
                let supervisor =
                    ClusterSupervisor { client, node, limits, tracking: tracking.clone() };
                supervisor.supervise(suspect).await.map(Link::Cluster)
            }
            target => {
                let supervisor =
                    Supervisor { target, limits, tracking: tracking.clone(), resp3, primary: None };
                supervisor.supervise(suspect).await.map(|link| Link::Supervised(Arc::new(link)))
            }
        };
        Ok(Self(Arc::new(Kept { link: link.map_err(ConnectError::Refused)?, limits, tracking })))
    }

    pub(super) fn tracking(&self) -> &Tracking {
        &self.0.tracking
    }

    pub(super) fn limits(&self) -> RedisLimits {
        self.0.limits
    }

    /// Runs a read, and repeats it once if the connection broke. Bounded by [`RedisLimits::total`].
    pub(super) async fn read(&self, command: impl Fn() -> Cmd) -> RedisResult<Value> {
        // The connection bounds its own wait for a reply, so the usual case needs no second timer.
        // The rare cases are boxed to keep the future of every request small.
        if let Some((link, current)) = self.in_use() {
            match send_over(&**link, current, command()).await {
                Err(error) if error.is_connection_dropped() => {
                    Box::pin(self.read_again(command())).await
                }
                answer => answer,
            }
        } else {
            Box::pin(self.within_limit(async {
                match self.ask(command()).await {
                    Err(error) if error.is_connection_dropped() => self.ask(command()).await,
                    answer => answer,
                }
            }))
            .await
        }
    }

    /// Repeats a read in the time left after a failed attempt.
    async fn read_again(&self, command: Cmd) -> RedisResult<Value> {
        let left = self.0.limits.total.saturating_sub(self.0.limits.response);
        flatten(timeout(left, self.ask(command)).await)
    }

    /// Sends a command and waits at most [`RedisLimits::total`]. Unlike [`ConnectionLike`], it does
    /// not copy the command.
    ///
    /// All callers share the connection, and replies come in order. A command that blocks, such as
    /// `BLPOP`, or takes long, delays the replies of all.
    ///
    /// # Errors
    /// Also for a command that does not have exactly one reply or that changes the connection for
    /// all, such as `SUBSCRIBE`, `MULTI` or `SELECT`. It is not sent.
    pub fn ask(&self, command: Cmd) -> impl Future<Output = RedisResult<Value>> + Send + use<> {
        // Queued before the future exists, so the future need not hold the command.
        match self.in_use() {
            _ if !is_for_sharing(&command) => {
                Either::Right(Either::Left(ready(Err(not_for_sharing()))))
            }
            Some((link, current)) => Either::Left(send_over(link.clone(), current, command)),
            None => {
                Either::Right(Either::Right(Box::pin(self.clone().ask_when_connected(command))))
            }
        }
    }

    async fn ask_when_connected(self, command: Cmd) -> RedisResult<Value> {
        let asking = async {
            match &self.0.link {
                #[cfg(feature = "redis-cluster")]
                Link::Cluster(cluster) => at_most_once::send(cluster, &command).await,
                Link::Supervised(link) => {
                    let current = link.connection(self.0.limits.grace).await?;
                    send_over(&**link, current, command).await
                }
            }
        };
        self.within_limit(asking).await
    }

    /// The current connection, if there is one.
    fn in_use(&self) -> Option<(&Arc<Supervised>, Generation<Arc<Batcher>>)> {
        match &self.0.link {
            Link::Supervised(link) => Some((link, link.in_use()?)),
            #[cfg(feature = "redis-cluster")]
            Link::Cluster(_) => None,
        }
    }

    /// Identifies the connections in use; it changes whenever one is replaced.
    pub(super) async fn identity(&self) -> RedisResult<Identity> {
        match &self.0.link {
            #[cfg(feature = "redis-cluster")]
            Link::Cluster(cluster) => cluster.identity().await.map(Identity::Cluster),
            Link::Supervised(link) => link
                .in_use()
                .map(|current| Identity::Single(current.number))
                .ok_or_else(not_connected),
        }
    }

    /// Gives up on `work` after [`RedisLimits::total`].
    pub(super) async fn within_limit<T>(
        &self,
        work: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        flatten(timeout(self.0.limits.total, work).await)
    }

    /// Like `read`, for one `key` whose next change will be announced. False if the key could not
    /// be watched.
    pub(super) async fn read_watched(
        &self,
        command: impl Fn() -> Cmd,
        key: &[u8],
    ) -> RedisResult<(Value, bool)> {
        if !self.0.tracking.is_on() {
            return Ok((self.read(command).await?, false));
        }
        let reading = async {
            match self.read_behind_caching(command(), key).await {
                // A plain read handles cases that the pair of commands cannot, such as a migrating
                // slot.
                Err(error) if error.is_connection_dropped() || self.is_cluster() => {
                    Ok((self.read(&command).await?, false))
                }
                Ok(answers) => self.armed(answers),
                Err(error) => Err(error),
            }
        };
        self.within_limit(reading).await
    }

    fn armed(&self, (armed, value): (Value, Value)) -> RedisResult<(Value, bool)> {
        let armed = armed.extract_error();
        if let Err(error) = &armed {
            self.0.tracking.not_armed(error);
        }
        Ok((value.extract_error()?, armed.is_ok()))
    }

    pub(super) fn is_cluster(&self) -> bool {
        !matches!(self.0.link, Link::Supervised(_))
    }

    /// Sends both commands in one write, so that no other command comes in between.
    #[cfg_attr(
        not(feature = "redis-cluster"),
        expect(unused_variables, reason = "only a cluster is asked by the key")
    )]
    async fn read_behind_caching(&self, command: Cmd, key: &[u8]) -> RedisResult<(Value, Value)> {
        match &self.0.link {
            #[cfg(feature = "redis-cluster")]
            Link::Cluster(cluster) => {
                let mut both = Pipeline::with_capacity(2);
                both.add_command(caching()).add_command(command);
                let primary =
                    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                let answers = cluster.connection().route_pipeline(both, 0, 2, primary).await?;
                let not_two = |_| (ErrorKind::UnexpectedReturnType, "not one reply per command");
                let [armed, value] = <[Value; 2]>::try_from(answers).map_err(not_two)?;
                Ok((armed, value))
            }
            Link::Supervised(link) => {
                let current = link.connection(self.0.limits.grace).await?;
                let answers = current.connection.ask_behind(caching(), command).await;
                link.inspect(current.number, answers)
            }
        }
    }
}

/// Sends before the future is polled.
fn send_over(
    link: impl Deref<Target = Supervised>,
    current: Generation<Arc<Batcher>>,
    command: Cmd,
) -> impl Future<Output = RedisResult<Value>> {
    let Generation { connection, number } = current;
    connection.ask(command).map(move |answer| {
        // Dropped, so that the commands already sent on it fail.
        drop(connection);
        link.inspect(number, answer)
    })
}

/// Whether the handshake failed because the server or the user's permissions support only RESP2.
fn knows_no_resp3(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::RESP3NotSupported | ErrorKind::Server(ServerErrorKind::NoPerm)
    )
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.ask(cmd.clone()))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            match &self.0.link {
                #[cfg(feature = "redis-cluster")]
                Link::Cluster(cluster) => {
                    cluster.connection().req_packed_commands(pipeline, offset, count).await
                }
                Link::Supervised(link) => {
                    let current = link.connection(self.0.limits.grace).await?;
                    let mut connection = current.connection.connection();
                    let answers = connection.req_packed_commands(pipeline, offset, count).await;
                    link.inspect(current.number, answers)
                }
            }
        })
    }

    fn get_db(&self) -> i64 {
        match &self.0.link {
            #[cfg(feature = "redis-cluster")]
            Link::Cluster(_) => 0,
            Link::Supervised(link) => link.database(),
        }
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.link {
            #[cfg(feature = "redis-cluster")]
            Link::Cluster(_) => f.write_str("RedisConnection(cluster)"),
            Link::Supervised(link) if link.is_connected() => {
                f.write_str("RedisConnection(connected)")
            }
            Link::Supervised(_) => f.write_str("RedisConnection(reconnecting)"),
        }
    }
}
