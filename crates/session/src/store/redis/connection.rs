//! One multiplexed connection that repairs itself.
//!
//! 1. Every wait has a limit ([`Limits`]); an error is returned within [`Limits::total`] at the latest.
//! 2. A supervisor pings the connection and replaces it when it is closed, silent or has become a replica's. A broken
//!    socket alone would go unnoticed: the client library finds out only when it writes, a silent partition never.
//! 3. While there is no connection, requests wait [`Limits::grace`] for a new one and then fail; nothing queues up.
//! 4. A write is never sent twice. A read is repeated once when the connection broke under it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind,
    Value,
};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::target::{RedisUrlError, Target};

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one reply. Default 800 ms.
    pub response: Duration,
    /// For a new connection, handshake included. Default 800 ms.
    pub connect: Duration,
    /// For a connection to come back before a request fails. Default 250 ms.
    pub grace: Duration,
    /// Between two looks at an idle connection. Default 1 s.
    pub heartbeat: Duration,
    /// For one operation with everything. Default 1500 ms.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            response: Duration::from_millis(800),
            connect: Duration::from_millis(800),
            grace: Duration::from_millis(250),
            heartbeat: Duration::from_secs(1),
            total: Duration::from_millis(1500),
        }
    }
}

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not understood.
    #[error(transparent)]
    Url(#[from] RedisUrlError),
    /// The server did not answer, or refused.
    #[error("cannot connect to redis: {0}")]
    Refused(#[source] RedisError),
}

/// A connection to Redis, a Sentinel-led primary or a cluster. Cheap to clone; all clones share one socket per server.
///
/// It is a [`ConnectionLike`], so anything that speaks to Redis can share it.
#[derive(Clone)]
pub struct RedisConnection {
    link: Link,
    limits: Limits,
}

#[derive(Clone)]
enum Link {
    Supervised(Supervised),
    Cluster(ClusterConnection),
}

#[derive(Clone)]
struct Supervised {
    current: watch::Receiver<Option<MultiplexedConnection>>,
    suspect: Arc<Notify>,
}

impl RedisConnection {
    /// Connects and keeps connected.
    ///
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS,
    /// `redis+sentinel://[user:password@]host:port,…/service[/database]`,
    /// `redis+cluster://[user:password@]host:port,…`; `valkey` in place of `redis` is the same.
    ///
    /// # Errors
    /// [`ConnectError`] when the URL is not understood or the first connection fails.
    pub async fn open(url: &str) -> Result<Self, ConnectError> {
        Self::open_with(url, Limits::default()).await
    }

    /// [`RedisConnection::open`] with limits of the caller's choice.
    ///
    /// # Errors
    /// As [`RedisConnection::open`].
    pub async fn open_with(url: &str, limits: Limits) -> Result<Self, ConnectError> {
        let link = match Target::parse(url, limits)? {
            Target::Cluster(client) => {
                let connecting = timeout(limits.total, client.get_async_connection()).await;
                Link::Cluster(flatten(connecting).map_err(ConnectError::Refused)?)
            }
            target => Link::Supervised(supervise(target, limits).await.map_err(ConnectError::Refused)?),
        };
        Ok(Self { link, limits })
    }

    /// Runs a read, once more if the connection broke under it. Bounded by [`Limits::total`].
    pub(super) async fn read(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.clone();
        let reading = async {
            match connection.req_packed_command(command).await {
                Err(error) if error.is_connection_dropped() => connection.req_packed_command(command).await,
                answer => answer,
            }
        };
        flatten(timeout(self.limits.total, reading).await)
    }
}

impl Supervised {
    async fn connection(&self, grace: Duration) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &*self.current.borrow() {
            return Ok(connection.clone());
        }
        let mut current = self.current.clone();
        let waiting = timeout(grace, current.wait_for(Option::is_some)).await;
        match waiting {
            Ok(Ok(connection)) => Ok(connection.clone().expect("waited for it to be there")),
            _ => Err(not_connected()),
        }
    }

    fn inspect<T>(&self, answer: RedisResult<T>) -> RedisResult<T> {
        if answer.as_ref().is_err_and(is_suspicious) {
            self.suspect.notify_one();
        }
        answer
    }
}

/// Whether an error says something about the connection rather than about the command.
fn is_suspicious(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

async fn supervise(mut target: Target, limits: Limits) -> RedisResult<Supervised> {
    let (sender, current) = watch::channel(Some(connect(&mut target, limits).await?));
    let suspect = Arc::new(Notify::new());
    let supervised = Supervised { current, suspect: suspect.clone() };
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = suspect.notified() => {}
                () = tokio::time::sleep(limits.heartbeat) => {}
            }
            let connection = sender.borrow().clone();
            let healthy = match connection {
                Some(connection) => is_writable_primary(connection, limits).await,
                None => false,
            };
            if !healthy {
                sender.send_replace(None);
                tracing::warn!("lost the connection to redis, reconnecting");
                let Some(connection) = reconnect(&mut target, &sender, limits).await else { return };
                sender.send_replace(Some(connection));
                tracing::info!("connected to redis again");
            }
        }
    });
    Ok(supervised)
}

/// Tries until it works; `None` when nobody holds the connection any more.
async fn reconnect(
    target: &mut Target,
    sender: &watch::Sender<Option<MultiplexedConnection>>,
    limits: Limits,
) -> Option<MultiplexedConnection> {
    let mut pause = Duration::from_millis(20);
    loop {
        match connect(target, limits).await {
            Ok(connection) if is_writable_primary(connection.clone(), limits).await => {
                return Some(connection);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "cannot reconnect to redis yet"),
        }
        tokio::select! {
            () = sender.closed() => return None,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

async fn connect(target: &mut Target, limits: Limits) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits.connect))
        .set_response_timeout(Some(limits.response));
    let connecting = async {
        match target {
            Target::Single(client) => client.get_multiplexed_async_connection_with_config(&config).await,
            Target::Sentinel(client) => client.get_async_connection_with_config(&config).await,
            Target::Cluster(_) => Err(not_connected()),
        }
    };
    flatten(timeout(limits.total, connecting).await)
}

/// `ROLE` rather than `PING`: a primary that was demoted answers pings happily. A user without the right to ask is
/// taken at the connection's word.
async fn is_writable_primary(mut connection: MultiplexedConnection, limits: Limits) -> bool {
    let role = redis::cmd("ROLE");
    match timeout(limits.response, connection.req_packed_command(&role)).await {
        Ok(Ok(Value::Array(role))) => {
            !matches!(role.first(), Some(Value::BulkString(name)) if name != b"master")
        }
        Ok(Ok(_)) => true,
        Ok(Err(error)) => !error.is_io_error() && !error.is_unrecoverable_error(),
        Err(_) => false,
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            match &mut self.link {
                Link::Cluster(cluster) => cluster.req_packed_command(cmd).await,
                Link::Supervised(link) => {
                    let mut connection = link.connection(self.limits.grace).await?;
                    link.inspect(connection.req_packed_command(cmd).await)
                }
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            match &mut self.link {
                Link::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count).await,
                Link::Supervised(link) => {
                    let mut connection = link.connection(self.limits.grace).await?;
                    link.inspect(connection.req_packed_commands(pipeline, offset, count).await)
                }
            }
        })
    }

    fn get_db(&self) -> i64 {
        match &self.link {
            Link::Cluster(_) => 0,
            Link::Supervised(link) => link.current.borrow().as_ref().map_or(0, ConnectionLike::get_db),
        }
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            Link::Cluster(_) => f.write_str("RedisConnection(cluster)"),
            Link::Supervised(link) if link.current.borrow().is_some() => {
                f.write_str("RedisConnection(connected)")
            }
            Link::Supervised(_) => f.write_str("RedisConnection(reconnecting)"),
        }
    }
}

fn not_connected() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::NotConnected, "not connected to redis").into()
}

fn flatten<T>(answer: Result<RedisResult<T>, tokio::time::error::Elapsed>) -> RedisResult<T> {
    answer.unwrap_or_else(|_| {
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "redis did not answer in time").into())
    })
}
