//! Supervises the connection to a cluster. The client library makes and replaces its sockets.
//!
//! 1. Every heartbeat asks all primaries for the state of the cluster. A primary that is cut off
//!    from its peers still answers us, but it says that the cluster is down.
//! 2. The library refreshes its map of slots only when a node says that a key moved. A primary that
//!    is cut off or silent never says so. After two failed rounds another connection is opened. It
//!    is used once all of its primaries answer that the cluster is healthy.
//! 3. Each server gave our connection an id. While every primary answers under the same id, no
//!    connection was replaced and no invalidation can be missing. Another id, a refusal or a
//!    missing answer counts as a loss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, RedisError,
    RedisResult, ServerErrorKind, Value,
};
use tokio::sync::{Notify, watch};

use super::client::{connect, moved_to};
use super::error::flatten;
use super::limits::RedisLimits;
use super::outage::Outage;
use super::supervisor::{Generation, RECONNECT_PATIENCE};
use super::tracking::{Tracking, tracking_on};
use crate::invalidations::Heartbeat;
use crate::sync::{sleep, spawn, timeout};

/// The id of our connection to each primary, by address.
type Ids = BTreeMap<String, i64>;

/// The number of failed rounds after which another connection is opened.
const PATIENCE: u32 = 2;

/// The connection in use.
#[derive(Clone)]
pub(super) struct Cluster {
    current: watch::Receiver<Generation<ClusterConnection>>,
    node: Arc<ConnectionInfo>,
    limits: RedisLimits,
    /// The number of connections opened to nodes that take over a slot.
    side_connections: Arc<AtomicU64>,
}

/// Equal while every primary is reached over the same connection.
#[derive(PartialEq, Eq)]
pub(super) struct ClusterIdentity {
    number: u64,
    side_connections: u64,
    ids: Ids,
}

/// Opens connections and checks the one in use.
pub(super) struct ClusterSupervisor {
    pub(super) client: Box<ClusterClient>,
    /// How to connect to any one node.
    pub(super) node: Arc<ConnectionInfo>,
    pub(super) limits: RedisLimits,
    pub(super) tracking: Tracking,
}

/// A primary's view of the cluster.
struct View {
    in_order: bool,
    /// The number of primaries that have slots.
    primaries: usize,
}

impl Cluster {
    pub(super) fn connection(&self) -> ClusterConnection {
        self.current.borrow().connection.clone()
    }

    pub(super) async fn identity(&self) -> RedisResult<ClusterIdentity> {
        let Generation { mut connection, number } = self.current.borrow().clone();
        let ids = ids(&mut connection).await?;
        Ok(ClusterIdentity {
            number,
            side_connections: self.side_connections.load(Ordering::SeqCst),
            ids,
        })
    }

    /// Opens a connection to one node, whether or not the library knows it.
    pub(super) async fn connect_to(
        &self,
        host: &str,
        port: u16,
    ) -> RedisResult<MultiplexedConnection> {
        self.side_connections.fetch_add(1, Ordering::SeqCst);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limits.connect))
            .set_response_timeout(Some(self.limits.response));
        let client = Client::open(moved_to(&self.node, host, port))?;
        connect(&client, &config).await
    }
}

impl ClusterSupervisor {
    /// Connects, and supervises the connection and its tracking until the result is dropped.
    pub(super) async fn supervise(self, attention: Arc<Notify>) -> RedisResult<Cluster> {
        let first = flatten(timeout(self.limits.total, self.client.get_async_connection()).await)?;
        let (sender, current) = watch::channel(Generation { connection: first, number: 0 });
        let (node, limits) = (self.node.clone(), self.limits);
        let cluster = Cluster { current, node, limits, side_connections: Arc::default() };
        spawn(async move { self.watch(&sender, &attention).await });
        Ok(cluster)
    }

    async fn watch(
        &self,
        sender: &watch::Sender<Generation<ClusterConnection>>,
        attention: &Notify,
    ) {
        let mut known = Ids::new();
        let mut in_vain = 0;
        let mut outage = Outage::default();
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = attention.notified() => {}
                () = sleep(self.limits.heartbeat) => {}
            }
            let heartbeat = self.tracking.heartbeat();
            let Generation { mut connection, number } = sender.borrow().clone();
            let answer = flatten(timeout(self.limits.total, self.round(&mut connection)).await);
            if answer.is_ok() && outage.over() {
                tracing::info!("connected to the redis cluster again");
            }
            match answer {
                Ok(ids) if ids == known => {
                    in_vain = 0;
                    heartbeat.into_iter().for_each(Heartbeat::answered);
                }
                Ok(ids) => {
                    in_vain = 0;
                    self.tracking.disconnected();
                    self.tracking.turned_on();
                    known = ids;
                    // These connections track now; the next round proves them unchanged.
                    attention.notify_one();
                }
                Err(error) => {
                    self.tracking.disconnected();
                    known.clear();
                    if !is_loss(&error) {
                        self.tracking.refused(&error);
                        continue;
                    }
                    in_vain += 1;
                    if in_vain % PATIENCE == 0 {
                        match self.reopen().await {
                            Ok(connection) => {
                                tracing::warn!(
                                    "lost a primary of the redis cluster, connected to the \
                                     cluster again"
                                );
                                outage.over();
                                sender.send_replace(Generation { connection, number: number + 1 });
                                attention.notify_one();
                            }
                            Err(error) => outage.failed(&error),
                        }
                    }
                }
            }
        }
    }

    /// Asks all primaries whether the cluster is in order. If a listener uses invalidations, it
    /// also asks them to track changes. Returns the ids of the connections that track.
    async fn round(&self, cluster: &mut ClusterConnection) -> RedisResult<Ids> {
        if views(cluster).await?.iter().any(|view| !view.in_order) {
            let down = ErrorKind::Server(ServerErrorKind::ClusterDown);
            return Err((down, "a primary finds the cluster down").into());
        }
        if self.tracking.is_wanted() { track(cluster).await } else { Ok(Ids::new()) }
    }

    async fn reopen(&self) -> RedisResult<ClusterConnection> {
        let opening = async {
            let mut connection = self.client.get_async_connection().await?;
            let views = views(&mut connection).await?;
            if views.iter().all(|view| view.in_order && view.primaries == views.len()) {
                return Ok(connection);
            }
            let down = ErrorKind::Server(ServerErrorKind::ClusterDown);
            Err((down, "a primary finds the cluster down, or is not there").into())
        };
        flatten(timeout(self.limits.total * RECONNECT_PATIENCE, opening).await)
    }
}

/// Whether the error means that a primary is away, rather than that it refuses.
fn is_loss(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.is_cluster_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading)
}

/// The answer of each primary, by address. The first error among them is returned.
async fn ask_primaries<T: FromRedisValue>(
    cluster: &mut ClusterConnection,
    command: Cmd,
) -> RedisResult<BTreeMap<String, T>> {
    let primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let answers = cluster.route_command(command, primaries).await?;
    let one = |(node, answer): (Value, Value)| {
        Ok((String::from_redis_value(node)?, T::from_redis_value(answer.extract_error()?)?))
    };
    match answers {
        Value::Map(answers) => answers.into_iter().map(one).collect(),
        _ => Err((ErrorKind::UnexpectedReturnType, "not one answer per primary").into()),
    }
}

/// The view of each primary.
async fn views(cluster: &mut ClusterConnection) -> RedisResult<Vec<View>> {
    let mut ask = redis::cmd("CLUSTER");
    ask.arg("INFO");
    let infos = ask_primaries::<String>(cluster, ask).await?;
    Ok(infos.values().map(|info| View::parse(info)).collect())
}

impl View {
    fn parse(info: &str) -> Self {
        let value = |name| info.lines().find_map(|line| line.strip_prefix(name));
        Self {
            in_order: value("cluster_state:") == Some("ok"),
            primaries: value("cluster_size:").and_then(|size| size.parse().ok()).unwrap_or(0),
        }
    }
}

/// Enables tracking on all primaries. Returns the ids of the connections.
async fn track(cluster: &mut ClusterConnection) -> RedisResult<Ids> {
    ask_primaries::<()>(cluster, tracking_on()).await?;
    ids(cluster).await
}

async fn ids(cluster: &mut ClusterConnection) -> RedisResult<Ids> {
    let mut ask = redis::cmd("CLIENT");
    ask.arg("ID");
    ask_primaries(cluster, ask).await
}
