//! Supervises one multiplexed connection.
//!
//! 1. Every heartbeat sends a command. A connection is given up when it is closed or silent, when
//!    it leads to a replica, or when Sentinels have replaced its primary. The client library alone
//!    notices a broken socket only when it writes, and a silent partition never.
//! 2. If a listener uses invalidations, a new connection is used only after tracking was requested
//!    on it.
//! 3. Everything read over a connection is invalidated before the next one is made.
//! 4. A connection that failed a request is not used again. Requests wait for the next one.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::{Notify, watch};

use super::batch::Batcher;
use super::client::connect;
use super::error::{flatten, not_connected};
use super::limits::RedisLimits;
use super::outage::Outage;
use super::sentinels::{Primary, Watch};
use super::target::Target;
use super::tracking::Tracking;
use crate::invalidations::Heartbeat;
use crate::sync::{sleep, spawn, timeout};

/// The connection in use, if there is one.
#[derive(Clone)]
pub(super) struct Supervised {
    current: watch::Receiver<Option<Generation<Arc<Batcher>>>>,
    change: watch::Sender<Option<Generation<Arc<Batcher>>>>,
    suspect: Arc<Notify>,
}

/// A connection, with the number of connections before it.
#[derive(Clone)]
pub(super) struct Generation<C> {
    pub(super) connection: C,
    pub(super) number: u64,
}

/// The limit of one attempt to reconnect, in multiples of an operation's limit. No request waits
/// for it, and Sentinels are asked first.
pub(super) const RECONNECT_PATIENCE: u32 = 4;

/// Makes connections and checks the one in use.
pub(super) struct Supervisor {
    pub(super) target: Target,
    pub(super) limits: RedisLimits,
    pub(super) tracking: Tracking,
    pub(super) resp3: bool,
    /// The primary in use, where Sentinels name it.
    pub(super) primary: Option<Primary>,
}

impl Supervisor {
    /// Connects, and stays connected until the result is dropped.
    pub(super) async fn supervise(mut self, suspect: Arc<Notify>) -> RedisResult<Supervised> {
        let connection = Arc::new(Batcher::new(self.connect(self.limits.total).await?));
        let first = Generation { connection, number: 0 };
        let (sender, current) = watch::channel(Some(first));
        let supervised = Supervised { current, change: sender.clone(), suspect: suspect.clone() };
        let sentinels = match &self.target {
            Target::Sentinel(sentinels) => Some((**sentinels).clone().watch(suspect.clone())),
            Target::Server(_) => None,
            #[cfg(feature = "redis-cluster")]
            Target::Cluster(..) => None,
        };
        spawn(async move {
            let mut number = 0;
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = suspect.notified() => {}
                    () = sleep(self.limits.heartbeat) => {}
                }
                let current = sender.borrow().clone();
                let healthy = match current {
                    Some(_) if self.is_replaced(sentinels.as_ref()) => false,
                    Some(current) => self.check(current.connection.connection()).await.is_ok(),
                    None => false,
                };
                if !healthy {
                    if let Some(given_up) = sender.send_replace(None) {
                        given_up.connection.give_up();
                    }
                    tracing::warn!("lost the connection to redis, reconnecting");
                    let Some(connection) = self.reconnect(&sender).await else { return };
                    number += 1;
                    let connection = Arc::new(Batcher::new(connection));
                    sender.send_replace(Some(Generation { connection, number }));
                    tracing::info!("connected to redis again");
                }
            }
        });
        Ok(supervised)
    }

    /// Tries until it succeeds; `None` when the connection was dropped by all holders.
    async fn reconnect(
        &mut self,
        sender: &watch::Sender<Option<Generation<Arc<Batcher>>>>,
    ) -> Option<MultiplexedConnection> {
        let mut pause = Duration::from_millis(20);
        let mut outage = Outage::default();
        loop {
            self.tracking.disconnected();
            match self.connect_anew().await {
                Ok(connection) => return Some(connection),
                Err(error) => outage.failed(&error),
            }
            tokio::select! {
                () = sender.closed() => return None,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Opens and checks a new connection.
    async fn connect_anew(&mut self) -> RedisResult<MultiplexedConnection> {
        let connection = self.connect(self.limits.total * RECONNECT_PATIENCE).await?;
        self.check(connection.clone()).await?;
        Ok(connection)
    }

    async fn connect(&mut self, within: Duration) -> RedisResult<MultiplexedConnection> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limits.connect))
            .set_response_timeout(Some(self.limits.response.min(self.limits.total)));
        if self.resp3 {
            config = config.set_push_sender(self.tracking.receiver());
        }
        let connecting = async {
            match &mut self.target {
                Target::Server(client) => connect(client, &config).await,
                Target::Sentinel(sentinels) => {
                    let (connection, primary) = sentinels.connect(&config).await?;
                    self.primary = Some(primary);
                    Ok(connection)
                }
                #[cfg(feature = "redis-cluster")]
                Target::Cluster(..) => Err(not_connected()),
            }
        };
        flatten(timeout(within, connecting).await)
    }

    fn is_replaced(&self, sentinels: Option<&Watch>) -> bool {
        sentinels.zip(self.primary.as_ref()).is_some_and(|(watch, own)| watch.has_replaced(own))
    }

    /// Checks the connection. The reply is also the heartbeat of its invalidations.
    async fn check(&self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        self.tracking.enable(&mut connection).await;
        let heartbeat = self.tracking.heartbeat();
        is_writable_primary(connection, self.limits).await?;
        heartbeat.into_iter().for_each(Heartbeat::answered);
        Ok(())
    }
}

impl Supervised {
    /// The connection, unless it is being replaced.
    pub(super) fn in_use(&self) -> Option<Generation<Arc<Batcher>>> {
        self.current.borrow().clone()
    }

    /// The connection; waits while it is being replaced.
    pub(super) async fn connection(
        &self,
        grace: Duration,
    ) -> RedisResult<Generation<Arc<Batcher>>> {
        if let Some(connection) = self.in_use() {
            return Ok(connection);
        }
        let mut current = self.current.clone();
        let waiting = timeout(grace, current.wait_for(Option::is_some)).await;
        match waiting {
            Ok(Ok(connection)) => Ok(connection.clone().expect("waited for it to be there")),
            _ => Err(not_connected()),
        }
    }

    /// Makes the supervisor check the connection of that generation if the answer casts doubt on
    /// it.
    pub(super) fn inspect<T>(&self, number: u64, answer: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &answer {
            if error.is_connection_dropped() {
                self.give_up(number);
            }
            if is_suspicious(error) {
                self.suspect.notify_one();
            }
        }
        answer
    }

    fn give_up(&self, number: u64) {
        let mut given_up = None;
        self.change.send_if_modified(|current| {
            given_up = current.take_if(|current| current.number == number);
            given_up.is_some()
        });
        if let Some(given_up) = given_up {
            given_up.connection.give_up();
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.current.borrow().is_some()
    }

    pub(super) fn database(&self) -> i64 {
        self.current.borrow().as_ref().map_or(0, |current| current.connection.connection().get_db())
    }
}

/// Whether an error says something about the connection rather than about the command.
fn is_suspicious(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Uses `ROLE` rather than `PING`, because a demoted primary still answers pings. If the user may
/// not call `ROLE`, the server counts as a primary.
async fn is_writable_primary(
    mut connection: MultiplexedConnection,
    limits: RedisLimits,
) -> RedisResult<()> {
    let role = redis::cmd("ROLE");
    match flatten(timeout(limits.response, connection.req_packed_command(&role)).await) {
        Ok(Value::Array(role)) => match role.first() {
            Some(Value::BulkString(name)) if name != b"master" => {
                Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "the server is a replica")
                    .into())
            }
            _ => Ok(()),
        },
        Err(error) if error.is_io_error() || error.is_unrecoverable_error() => Err(error),
        _ => Ok(()),
    }
}
