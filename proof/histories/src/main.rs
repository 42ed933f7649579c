//! Drives servers of an application, and the real Redis servers behind them, through faults.
//! Records each request and answer with its time, and checks the history.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use fastrand::Rng;
use prove_check::{Op, check};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::World;
use crate::journal::Journal;
use crate::place::{Place, Store};
use crate::server::Server;

mod client;
mod failovers;
mod journal;
mod place;
mod server;

const SERVERS: usize = 3;
const BROWSERS: usize = 8;
/// Between two faults everything is in order for so long.
const PEACE: Duration = Duration::from_secs(1);

/// Drives a Redis, a Sentinel set and a cluster on free loopback ports through faults while
/// browsers use sessions. Writes each history to target/histories and checks it. Exits 0 if all are
/// explainable.
///
/// Replicated stores run twice, without and with `SESSION_REPLICA_ACK`. What replication may lose
/// is counted apart; with it no session whose end was confirmed may live again.
#[derive(Parser)]
#[command(name = "prove histories")]
struct Arguments {
    /// For all histories together, such as 90s or 10m.
    #[arg(default_value = "1m", value_parser = duration)]
    time: Duration,
    /// Only this store.
    #[arg(long)]
    store: Option<Store>,
    /// Chooses requests and faults; their times are the machine's.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let number: u64 = number.parse().map_err(|_| "a number and s, m or h".to_owned())?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_mins(number)),
        "h" => Ok(Duration::from_hours(number)),
        _ => Err("a number and s, m or h".to_owned()),
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let all = [
        (Store::Single, 0),
        (Store::Sentinel, 0),
        // Both replicas: one of them may still follow a primary that was replaced.
        (Store::Sentinel, 2),
        (Store::Cluster, 0),
        (Store::Cluster, 1),
    ];
    let runs: Vec<_> = all
        .into_iter()
        .filter(|(store, _)| arguments.store.is_none_or(|only| only == *store))
        .collect();
    let each = arguments.time / u32::try_from(runs.len())?;
    let mut holds = true;
    for (store, replicas) in runs {
        holds &= run(store, replicas, each, Rng::with_seed(arguments.seed)).await?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(store: Store, replicas: usize, time: Duration, mut random: Rng) -> Result<bool> {
    let begun = Instant::now();
    let place = Place::start(store, SERVERS).await;
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        servers.push(Server::start(number, &place.url(number), replicas).await?);
    }
    let path = file(store, replicas)?;
    let world = Arc::new(World::new(Journal::create(&path)?, servers, BROWSERS));
    // To start them is not what takes the time, but it counts.
    let until = (begun + time).max(Instant::now() + time / 2);
    let mut browsing = JoinSet::new();
    for browser in 0..world.browsers() {
        for is_first in [true, false] {
            browsing.spawn(Arc::clone(&world).browse(browser, is_first, random.fork(), until));
        }
    }
    let (stop, stopped) = oneshot::channel();
    let noting = place.replicated().map(|(urls, primaries)| {
        tokio::spawn(failovers::note(Arc::clone(&world), urls, primaries, stopped))
    });
    // The last fault is brought to its end, so that it is written down.
    while Instant::now() + PEACE < until {
        sleep(PEACE).await;
        place.fail(&world, &mut random).await.context("a fault")?;
    }
    while let Some(done) = browsing.join_next().await {
        done??;
    }
    if let Some(noting) = noting {
        // It waits for this alone.
        let _ = stop.send(());
        noting.await??;
    }
    drop(place);
    let world = Arc::into_inner(world).context("nobody browses any more")?;
    judge(store, replicas, &path, world.journal)
}

fn judge(store: Store, replicas: usize, path: &Path, journal: Journal) -> Result<bool> {
    let events = journal.finish()?;
    let faults = events.iter().filter(|(_, event)| event.op == Op::Fault).count();
    let verdict = check(&events);
    let of = match store {
        Store::Single => store.name().to_owned(),
        _ => format!("{}, replica ack {}", store.name(), if replicas > 0 { "on" } else { "off" }),
    };
    println!(
        "{of}: {} operations of {} sessions, {faults} faults, {} sessions that lost a write, {} \
         of them its end, {} at two primaries at once",
        verdict.operations,
        verdict.sessions,
        verdict.lost,
        verdict.revived.len(),
        verdict.torn
    );
    for impossible in verdict.impossible.iter().take(5) {
        println!("  {} {impossible}", path.display());
    }
    let revived = if replicas > 0 { verdict.revived.as_slice() } else { &[] };
    for session in revived {
        println!("  {} session {session} lived on after its confirmed end", path.display());
    }
    let holds = verdict.impossible.is_empty() && revived.is_empty();
    println!("  {}", if holds { "all explainable" } else { "NOT explainable" });
    Ok(holds)
}

fn file(store: Store, replicas: usize) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/histories");
    std::fs::create_dir_all(&folder)?;
    let ack = if replicas > 0 { "-ack" } else { "" };
    Ok(folder.join(format!("{}{ack}.jsonl", store.name())))
}
