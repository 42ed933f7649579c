//! Many open event streams on the whole service: their cost while nothing happens, and the delay
//! until they end with their session.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::compare::create_sessions;
use crate::contender::{ALL, Running, SERVICE, Setup};
use crate::goals::Goal;
use crate::redis::Redis;

/// The number of streams opened concurrently.
const OPENING: usize = 64;
/// The number of sessions signed out, one after another.
const SIGNED_OUT: usize = 200;
/// The time until timers and buffers from the opening are gone.
const SETTLE: Duration = Duration::from_secs(3);
/// The time for which the idle streams are observed.
const IDLE: Duration = Duration::from_secs(10);
/// The time limit of one response or event.
const PATIENCE: Duration = Duration::from_secs(20);

/// The results.
pub(crate) struct Streams {
    open: usize,
    /// Resident bytes of the server: after its start, with all users signed in, with all streams
    /// open.
    memory: [u64; 3],
    /// The share of a CPU that the server and Redis use while nothing happens.
    idle_cpu: [f64; 2],
    /// From the sign-out request to the event on the stream of that session.
    one: Histogram<u64>,
    /// From emptying Redis to the event on each stream.
    all: Histogram<u64>,
}

/// Signs `open` users in and opens a stream for each.
pub(crate) fn run(open: u64, redis: &mut Redis, scratch: &Path) -> anyhow::Result<Streams> {
    redis.flush()?;
    let contender =
        ALL.into_iter().find(|contender| contender.name == SERVICE).expect("it is in the list");
    let running = contender.start(&redis.url(1), Setup::default())?;
    let fresh = running.process.memory()?;
    let cookies = scratch.join("cookies-streams");
    eprintln!("  streams · signing {open} users in");
    create_sessions(&running, open, &cookies)?;
    let text = std::fs::read_to_string(&cookies)?;
    let cookies =
        text.lines().filter_map(|line| line.split_once('\t')).map(|(_, cookie)| cookie.to_owned());
    let signed_in = running.process.memory()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&running, redis, cookies.collect(), [fresh, signed_in]))
}

async fn measure(
    running: &Running,
    redis: &mut Redis,
    cookies: Vec<String>,
    [fresh, signed_in]: [u64; 2],
) -> anyhow::Result<Streams> {
    let (ended, mut endings) = mpsc::unbounded_channel();
    let open = cookies.len();
    eprintln!("  streams · opening {open}");
    let mut opening = JoinSet::new();
    for (number, cookie) in cookies.iter().cloned().enumerate() {
        if opening.len() >= OPENING {
            opening.join_next().await.expect("there are some")??;
        }
        let (address, ended) = (running.address, ended.clone());
        opening.spawn(async move {
            let stream = timeout(PATIENCE, open_stream(address, &cookie))
                .await
                .context("no stream in time")??;
            tokio::spawn(async move {
                // Fails if the measurement has ended.
                let _ = ended.send((number, follow(stream).await, Instant::now()));
            });
            anyhow::Ok(())
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    tokio::time::sleep(SETTLE).await;
    let begun = Instant::now();
    let before = [running.process.cpu()?, redis.process.cpu()?];
    tokio::time::sleep(IDLE).await;
    let (after, seconds) =
        ([running.process.cpu()?, redis.process.cpu()?], begun.elapsed().as_secs_f64());
    let share = |which: usize| after[which].saturating_sub(before[which]).as_secs_f64() / seconds;
    let memory = [fresh, signed_in, running.process.memory()?];
    let idle_cpu = [share(0), share(1)];

    eprintln!("  streams · signing out");
    let mut one = histogram()?;
    let mut control = TcpStream::connect(running.address).await?;
    control.set_nodelay(true)?;
    for (number, cookie) in cookies.iter().enumerate().take(SIGNED_OUT.min(open / 2)) {
        let request = |method: &str, path: &str, token: &str| {
            format!(
                "{method} {path} HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nX-Forwarded-For: \
                 10.9.{1}.{2}\r\nCookie: {cookie}\r\nX-CSRF-Token: {token}\r\nContent-Length: \
                 0\r\n\r\n",
                running.address,
                number >> 8,
                number & 255,
            )
        };
        let answer = ask(&mut control, &request("GET", "/api/v1/auth/csrf", "")).await?;
        let token =
            answer.split("\"csrf_token\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let logout = request("POST", "/api/v1/auth/logout", token.context("no CSRF token")?);
        let asked = Instant::now();
        ask(&mut control, &logout).await?;
        let (whose, how, at) =
            timeout(PATIENCE, endings.recv()).await?.expect("there are more streams");
        how?;
        ensure!(whose == number, "another stream ended than the one whose session was signed out");
        record(&mut one, at.saturating_duration_since(asked));
    }
    eprintln!("  streams · emptying Redis");
    let mut all = histogram()?;
    let emptied = Instant::now();
    redis.flush()?;
    for _ in one.len()..open as u64 {
        let (_, how, at) =
            timeout(PATIENCE, endings.recv()).await.context("a stream did not end")?.expect("one");
        how?;
        record(&mut all, at.saturating_duration_since(emptied));
    }
    Ok(Streams { open, memory, idle_cpu, one, all })
}

/// Opens the live stream of a page and waits for its first event.
async fn open_stream(address: SocketAddr, cookie: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /account/live HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\nCookie: \
         {cookie}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    wait_for(&mut stream, "event: sessions").await?;
    Ok(stream)
}

/// Reads until the stream reports the end of its session.
async fn follow(mut stream: TcpStream) -> anyhow::Result<()> {
    wait_for(&mut stream, "event: signed-out").await
}

async fn wait_for(stream: &mut TcpStream, event: &str) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    loop {
        if stream.read_buf(&mut seen).await? == 0 {
            bail!("a stream ended without {event:?}: {}", String::from_utf8_lossy(&seen));
        }
        if seen.windows(event.len()).any(|part| part == event.as_bytes()) {
            return Ok(());
        }
    }
}

/// Sends a request and reads the response, which must be a success.
async fn ask(connection: &mut TcpStream, request: &str) -> anyhow::Result<String> {
    connection.write_all(request.as_bytes()).await?;
    let mut seen = Vec::new();
    loop {
        let read = timeout(PATIENCE, connection.read_buf(&mut seen))
            .await
            .context("no answer in time")??;
        let text = String::from_utf8_lossy(&seen);
        ensure!(read > 0, "no answer: {text}");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        ensure!(head.starts_with("HTTP/1.1 2"), "refused: {text}");
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok(text.into_owned());
        }
    }
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(60_000_000, 3)?)
}

fn record(times: &mut Histogram<u64>, took: Duration) {
    times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

/// The table of the results.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn table(streams: &Streams) -> String {
    let [fresh, signed_in, open] = streams.memory.map(|bytes| bytes as f64 / 1e6);
    let each = (open - signed_in) * 1e6 / streams.open as f64;
    let [server, redis] = streams.idle_cpu.map(|share| share * 100.0);
    let millis =
        |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    let mut text = format!(
        "## Open event streams\n\n{} streams of as many sessions and users on one `tracera` with \
         one worker thread. One sign-out after the other, then Redis is emptied, which ends every \
         session at once.\n\n| | |\n|---|--:|\n",
        streams.open
    );
    for (what, value) in [
        ("server memory after its start, MB", format!("{fresh:.1}")),
        ("server memory with all signed in, MB", format!("{signed_in:.1}")),
        ("server memory with all streams open, MB", format!("**{open:.1}**")),
        ("bytes per stream", format!("{each:.0}")),
        ("server CPU while nothing happens, % of one", format!("{server:.1}")),
        ("Redis CPU while nothing happens, % of one", format!("{redis:.1}")),
        (
            "sign-out to its stream's last event, p50, ms",
            format!("{:.1}", millis(&streams.one, 0.5)),
        ),
        (
            "sign-out to its stream's last event, p99, ms",
            format!("{:.1}", millis(&streams.one, 0.99)),
        ),
        (
            "all sessions end: half of the streams told, ms",
            format!("{:.0}", millis(&streams.all, 0.5)),
        ),
        ("all sessions end: last stream told, ms", format!("{:.0}", millis(&streams.all, 1.0))),
    ] {
        writeln!(text, "| {what} | {value} |").expect("writing to memory does not fail");
    }
    text
}

/// The goals for ten thousand streams; none for fewer.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn goals(streams: &Streams) -> Vec<Goal> {
    if streams.open < 10_000 {
        return Vec::new();
    }
    let got = streams.memory[2] as f64 / 1e6;
    let wanted = format!("server memory with {} open event streams in MB, under 250", streams.open);
    vec![Goal { wanted, got, reached: got < 250.0 }]
}
