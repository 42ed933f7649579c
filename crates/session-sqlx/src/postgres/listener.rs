//! The feed of changes by `LISTEN` and `NOTIFY`.
//!
//! 1. `PostgreSQL` keeps notifications in one queue, in the order of commits, and delivers them in
//!    that order. So when a connection receives its own notification, it has received all that were
//!    committed before. That is the heartbeat.
//! 2. The reply to a query would prove nothing: the server delivers notifications only when the
//!    connection is idle, a moment after their commit.
//! 3. Notifications between two connections are lost. So everything counts as changed when a
//!    connection is lost, and again when the next one listens.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracera_session::store::{Heartbeat, Invalidations, Tag};

const CHANGES: &str = "tracera_sessions";
const HEARTBEAT: Duration = Duration::from_millis(500);
/// The time without an answer after which the connection counts as lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);

/// Listens until it is dropped.
pub(super) struct Listener {
    pub(super) changes: Invalidations,
    task: AbortHandle,
}

impl Listener {
    pub(super) fn start(runtime: &Handle, options: PgConnectOptions) -> Self {
        let changes = Invalidations::with_heartbeat();
        let task = runtime.spawn(listen_for_good(options, changes.clone())).abort_handle();
        Self { changes, task }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen_for_good(options: PgConnectOptions, changes: Invalidations) {
    let mut is_told = false;
    loop {
        let Err(error) = listen(&options, &changes, &mut is_told).await;
        changes.lost();
        if is_told {
            tracing::debug!(%error, "still not told what changes in sessions");
        } else {
            tracing::warn!(%error, "not told what changes in sessions, so every request reads");
            is_told = true;
        }
        sleep(PAUSE).await;
    }
}

/// Listens over one connection until it is lost.
async fn listen(
    options: &PgConnectOptions,
    changes: &Invalidations,
    is_told: &mut bool,
) -> Result<Infallible, sqlx::Error> {
    let (mut listener, own) = in_time(CONNECT_LIMIT, connect(options)).await?;
    changes.lost();
    let mut beats = interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked: Option<(Heartbeat, Instant)> = None;
    loop {
        tokio::select! {
            told = listener.try_recv() => {
                let told = told?.ok_or_else(|| sqlx::Error::from(io::Error::from(
                    io::ErrorKind::ConnectionAborted,
                )))?;
                if told.channel() == own {
                    if let Some((heartbeat, _)) = asked.take() {
                        heartbeat.answered();
                    }
                    if std::mem::take(is_told) {
                        tracing::info!("told what changes in sessions again");
                    }
                } else if let Some(tag) = Tag::parse(told.payload().as_bytes()) {
                    changes.changed(&tag);
                }
            }
            _ = beats.tick() => match &asked {
                Some((_, at)) if at.elapsed() > ANSWER_LIMIT => return Err(no_answer()),
                Some(_) => {}
                None => {
                    asked = Some((changes.heartbeat(), Instant::now()));
                    let beat = sqlx::query("SELECT pg_notify($1, '')").bind(&own);
                    in_time(ANSWER_LIMIT, beat.execute(&mut listener)).await?;
                }
            },
        }
    }
}

/// A connection that listens, and the name of the channel for its heartbeats.
async fn connect(options: &PgConnectOptions) -> Result<(PgListener, String), sqlx::Error> {
    // A separate pool, because a listener keeps its connection, and none may be free in the
    // application's pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    let process: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut listener).await?;
    let own = format!("{CHANGES}_beat_{process}");
    listener.listen_all([CHANGES, &own]).await?;
    Ok((listener, own))
}

async fn in_time<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, operation).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL did not answer in time").into()
}
