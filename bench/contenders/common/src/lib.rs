//! The parts shared by all axum contenders, so that only their session layers differ.
//!
//! A contender is a process that listens on a free loopback port, prints `listening on ADDRESS` and
//! answers
//!
//! * `POST /login?user=ID`: begins a session of that user and sets its cookie,
//! * `GET /me`: `{"user":"ID"}` for a signed-in user, else 401,
//! * `POST /write?value=N`: the same response, after writing one field of the session,
//! * `POST /logout`: ends the session,
//! * `POST /hold?port=P&write=B`: like `/me`, but waits at the [`barrier`] on port `P` with the
//!   session loaded. Then it writes another field if `B` is true,
//! * `GET /fields`: the user and both fields.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use axum::Json;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tower::Service;
use tower::make::Shared;

/// The lifetime of every contender's sessions, after sign-in or, where they slide, after the last
/// request.
pub const LIFETIME: Duration = Duration::from_hours(24);

/// The harness's settings for a contender, from the environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `BENCH_REDIS`: the URL with the contender's database number.
    pub redis: String,
    /// `BENCH_SLIDING=1`: the lifetime counts from the last request rather than from the sign-in.
    pub sliding: bool,
    /// `BENCH_EAGER=1`: a sliding session is written on every request, even where the library would
    /// wait.
    pub eager: bool,
    /// `BENCH_LIMITED=1`: `/me` is rate-limited per client, if the contender has a limit.
    pub limited: bool,
    /// `BENCH_VARIANT`: the configuration to run, if the contender has several.
    pub variant: String,
}

impl Settings {
    /// Reads the environment.
    pub fn from_env() -> anyhow::Result<Self> {
        let var = |name| std::env::var(name).unwrap_or_default();
        Ok(Self {
            redis: std::env::var("BENCH_REDIS").context("BENCH_REDIS is not set")?,
            sliding: var("BENCH_SLIDING") == "1",
            eager: var("BENCH_EAGER") == "1",
            limited: var("BENCH_LIMITED") == "1",
            variant: var("BENCH_VARIANT"),
        })
    }
}

/// Connections of a contender to PostgreSQL.
pub const POSTGRES_CONNECTIONS: u32 = 10;

impl Settings {
    /// The URL of the contender's own database: `BENCH_POSTGRES` is the server's, and the number is
    /// that of the database in Redis.
    pub fn postgres(&self) -> anyhow::Result<String> {
        let server = std::env::var("BENCH_POSTGRES").context("BENCH_POSTGRES is not set")?;
        let (_, number) = self.redis.rsplit_once('/').context("a Redis URL without a number")?;
        Ok(format!("{server}/bench_{number}"))
    }
}

/// `?user=ID` of a sign-in.
#[derive(Debug, Deserialize)]
pub struct Login {
    /// The user's id.
    pub user: String,
}

/// `?value=N` of a write.
#[derive(Debug, Deserialize)]
pub struct Write {
    /// The value to write.
    pub value: u64,
}

/// `?port=P&write=B` of a request that is held.
#[derive(Debug, Deserialize)]
pub struct Hold {
    /// The port on which the harness listens.
    pub port: u16,
    /// Whether the request writes a field after its release.
    pub write: bool,
}

/// The contents of a session.
#[derive(Debug, Serialize)]
pub struct Fields {
    /// The user's id.
    pub user: String,
    /// The field that `/write` writes.
    pub value: Option<u64>,
    /// The field that `/hold` writes.
    pub other: Option<u64>,
}

/// Tells the harness by a connection that a request has arrived, and waits until the harness closes
/// the connection.
pub async fn barrier(port: u16) {
    let released =
        async { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?.read(&mut [0]).await };
    if let Err(error) = released.await {
        eprintln!("barrier: {error}");
    }
}

/// The response to every authenticated request.
#[derive(Debug, Serialize)]
pub struct Me<U = String> {
    /// The user's id.
    pub user: U,
}

impl<U> Me<U> {
    /// The response as JSON.
    pub fn json(user: U) -> Json<Self> {
        Json(Self { user })
    }
}

/// The service that answers a contender's requests.
pub trait App:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> App for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Runs the application that `build` makes, on `BENCH_WORKERS` worker threads, until the process is
/// killed.
///
/// Put layers around the router. `Router::layer` boxes their futures for each request, which would
/// be measured too.
pub fn serve<F, S: App>(build: impl FnOnce(Settings) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<S>>,
{
    serve_with(Settings::from_env()?, build)
}

/// Like [`serve`], where the settings decide what to build.
pub fn serve_with<F, S: App>(
    settings: Settings,
    build: impl FnOnce(Settings) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<S>>,
{
    let workers = std::env::var("BENCH_WORKERS").context("BENCH_WORKERS is not set")?.parse()?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?
        .block_on(async {
            let app = build(settings).await?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            println!("listening on {}", listener.local_addr()?);
            let listener = listener.tap_io(|connection| {
                if let Err(error) = connection.set_nodelay(true) {
                    eprintln!("cannot set TCP_NODELAY: {error}");
                }
            });
            axum::serve(listener, Shared::new(app)).await?;
            Ok(())
        })
}
