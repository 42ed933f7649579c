//! The load: a fixed number of keep-alive connections that cycle through the users of a cookie
//! file. Each connection sends the next request after the previous response. Every response is
//! compared with the expected one.

mod http;
mod mail;
mod requests;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::http::Connection;
use crate::requests::{Mode, Requests};

/// A response that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_NANOS: u64 = 20_000_000_000;
/// The load sleeps this long before it waits for responses, so that they do not wake it. Over
/// loopback the server's `send` pays for waking a waiting receiver, a cost that only a server
/// slower than the load would pay.
const NAP: Duration = Duration::from_micros(20);

/// Sends requests to one contender and prints one line of JSON.
#[derive(Parser)]
struct Options {
    /// The address of the contender.
    #[arg(long)]
    address: SocketAddr,
    /// The requests to send.
    #[arg(long, value_enum)]
    mode: Mode,
    /// Lines of `user<TAB>cookie`; sign-ins write them, all other modes read them.
    #[arg(long)]
    cookies: Option<PathBuf>,
    /// The number of open connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Stop after this many seconds.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Stop after this many requests.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// The path of the mailbox with its key, for sign-ins by mail.
    #[arg(long, default_value = "/dev/mailbox")]
    mailbox: String,
    /// The number of the first user to sign in.
    #[arg(long, default_value_t = 0)]
    first_user: u64,
}

/// The totals of all connections.
struct Tally {
    requests: Requests,
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let requests =
        Requests::new(options.mode, options.cookies.clone(), options.first_user, options.requests)?;
    let tally = Tally {
        requests,
        latencies: Histogram::new_with_max(MAX_NANOS, 3)?,
        errors: 0,
        first_error: None,
    };
    let nap = || std::thread::sleep(NAP);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(nap).build()?;
    LocalSet::new().block_on(&runtime, run(&options, Rc::new(RefCell::new(tally))))
}

async fn run(options: &Options, tally: Rc<RefCell<Tally>>) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    let most = if options.mode == Mode::Mail { mail::MOST_AT_ONCE } else { usize::MAX };
    for _ in 0..options.connections.min(most) {
        connections.push(timeout(PATIENCE, Connection::open(options.address)).await??);
    }
    let start = Instant::now();
    let deadline = start + Duration::from_secs_f64(options.seconds);
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| match options.mode {
            Mode::Mail => tokio::task::spawn_local(sign_in(
                connection,
                options.address,
                options.mailbox.clone(),
                deadline,
                tally.clone(),
            )),
            _ => tokio::task::spawn_local(drive(connection, deadline, tally.clone())),
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let tally = tally.borrow();
    tally.requests.save()?;
    let micros = |quantile| tally.latencies.value_at_quantile(quantile) / 1000;
    println!(
        "{}",
        serde_json::json!({
            "requests": tally.latencies.len(),
            "errors": tally.errors,
            "first_error": tally.first_error,
            "seconds": seconds,
            "p50_micros": micros(0.5),
            "p99_micros": micros(0.99),
            "p999_micros": micros(0.999),
        })
    );
    Ok(())
}

/// The loop of one connection, until the deadline, the last request, or an error.
async fn drive(mut connection: Connection, deadline: Instant, tally: Rc<RefCell<Tally>>) {
    loop {
        let sent = Instant::now();
        if sent >= deadline {
            return;
        }
        let Some(request) = tally.borrow_mut().requests.next(connection.outgoing()) else { return };
        let exchanged = timeout(PATIENCE, connection.exchange()).await;
        let took = sent.elapsed();
        let mut tally = tally.borrow_mut();
        let judged = match exchanged {
            Ok(Ok(answer)) => tally.requests.judge(&request, &answer),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        match judged {
            Ok(()) => tally
                .latencies
                .saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert(error);
                return;
            }
        }
    }
}

/// The loop of one connection that signs in by mail.
async fn sign_in(
    mut connection: Connection,
    address: SocketAddr,
    mailbox: String,
    deadline: Instant,
    tally: Rc<RefCell<Tally>>,
) {
    loop {
        let begun = Instant::now();
        if begun >= deadline {
            return;
        }
        let Some(number) = tally.borrow_mut().requests.next_user() else { return };
        let signing_in = mail::sign_in(&mut connection, address, &mailbox, number);
        let signed_in = timeout(PATIENCE, signing_in).await;
        let mut tally = tally.borrow_mut();
        match signed_in.unwrap_or_else(|_| Err(anyhow::anyhow!("no sign-in in time"))) {
            Ok((user, cookie)) => {
                tally.requests.keep(user, cookie);
                tally.latencies.saturating_record(
                    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
                );
            }
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert(format!("{error:#}"));
                return;
            }
        }
    }
}
