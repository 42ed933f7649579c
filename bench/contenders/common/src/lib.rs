//! What all axum contenders share, so that only their session layer differs.
//!
//! A contender is a process that listens on a free loopback port, prints `listening on ADDRESS` and
//! answers
//!
//! * `POST /login?user=ID`: begins a session of that user and sets its cookie,
//! * `GET /me`: `{"user":"ID"}` for whoever is signed in, else 401,
//! * `POST /write?value=N`: the same answer, after writing one field of the session,
//! * `POST /logout`: ends the session,
//! * `POST /hold?port=P&write=B`: as `/me`, but with the session loaded it waits at the [`barrier`]
//!   on that port. Then it writes another field if `B` says so,
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

/// Of every contender: sessions last this long after sign-in, or after the last request where they
/// slide.
pub const LIFETIME: Duration = Duration::from_hours(24);

/// What the harness asks of a contender, from the environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `BENCH_REDIS`: the URL with the contender's own database number.
    pub redis: String,
    /// `BENCH_SLIDING=1`: sessions end some time after the last request rather than after the
    /// sign-in.
    pub sliding: bool,
    /// `BENCH_EAGER=1`: a session that slides is written with every request, also where the library
    /// would wait a while.
    pub eager: bool,
    /// `BENCH_LIMITED=1`: requests for `/me` count against a limit per client, if the contender has
    /// one.
    pub limited: bool,
    /// `BENCH_VARIANT`: which of its configurations a contender runs, if it has several.
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

/// `?user=ID` of a sign-in.
#[derive(Debug, Deserialize)]
pub struct Login {
    /// The user's id.
    pub user: String,
}

/// `?value=N` of a write.
#[derive(Debug, Deserialize)]
pub struct Write {
    /// What to write.
    pub value: u64,
}

/// `?port=P&write=B` of a request that is held.
#[derive(Debug, Deserialize)]
pub struct Hold {
    /// Where the harness listens.
    pub port: u16,
    /// Whether the request writes a field when it is released.
    pub write: bool,
}

/// What is in a session.
#[derive(Debug, Serialize)]
pub struct Fields {
    /// The user's id.
    pub user: String,
    /// What `/write` wrote.
    pub value: Option<u64>,
    /// What `/hold` wrote.
    pub other: Option<u64>,
}

/// Tells the harness that a request got here, by connecting, and waits until the harness closes the
/// connection.
pub async fn barrier(port: u16) {
    let released =
        async { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?.read(&mut [0]).await };
    if let Err(error) = released.await {
        eprintln!("barrier: {error}");
    }
}

/// The answer of every authenticated request.
#[derive(Debug, Serialize)]
pub struct Me<U = String> {
    /// The user's id.
    pub user: U,
}

impl<U> Me<U> {
    /// As the JSON body.
    pub fn json(user: U) -> Json<Self> {
        Json(Self { user })
    }
}

/// What answers a contender's requests.
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

/// Runs the application `build` makes, on `BENCH_WORKERS` worker threads, until the process is
/// killed.
///
/// Layers go around the router rather than into it with `Router::layer`, which boxes them for each
/// request: that would be measured with them.
pub fn serve<F, S: App>(build: impl FnOnce(Settings) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<S>>,
{
    serve_with(Settings::from_env()?, build)
}

/// [`serve`] where the settings decide what to build.
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
