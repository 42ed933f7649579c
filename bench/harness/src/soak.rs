//! A long run of the mixed load against this repository's near-cache: memory and processor time
//! must stay flat.

use std::fmt::Write as _;
use std::path::Path;

use crate::compare::{SESSIONS, create_sessions};
use crate::contender::{ALL, NEAR_CACHE, Setup};
use crate::goals::Goal;
use crate::load::{Load, Order};
use crate::redis::Redis;

/// The length of one part of the run.
const STRETCH_SECS: f64 = 30.0;

/// One part of the run.
pub(crate) struct Stretch {
    load: Load,
    server_cpu_micros: f64,
    server_memory: u64,
    redis_memory: u64,
}

/// Runs for `minutes`, in parts of half a minute.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
pub(crate) fn run(minutes: u64, redis: &mut Redis, scratch: &Path) -> anyhow::Result<Vec<Stretch>> {
    redis.flush()?;
    let contender =
        ALL.into_iter().find(|contender| contender.name == NEAR_CACHE).expect("it is in the list");
    let running = contender.start(&redis.url(1), Setup::default())?;
    let cookies = scratch.join("cookies-soak");
    create_sessions(&running, SESSIONS, &cookies)?;
    let mut stretches = Vec::new();
    for stretch in 0..minutes * 2 {
        eprintln!("  soak · {} of {} half minutes", stretch + 1, minutes * 2);
        let before = running.process.cpu()?;
        let order = Order {
            address: running.address,
            mode: "mixed",
            cookies: Some(&cookies),
            seconds: STRETCH_SECS,
            requests: None,
            first_user: 0,
        };
        let load = order.run()?;
        let cpu = running.process.cpu()?.saturating_sub(before);
        stretches.push(Stretch {
            server_cpu_micros: cpu.as_secs_f64() * 1e6 / load.requests as f64,
            server_memory: running.process.memory()?,
            redis_memory: redis.memory()?,
            load,
        });
    }
    Ok(stretches)
}

/// The table of the results.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn table(stretches: &[Stretch]) -> String {
    let requests: u64 = stretches.iter().map(|stretch| stretch.load.requests).sum();
    let mut text = format!(
        "## Soak\n\n{NEAR_CACHE} with 95 % reads and 5 % writes at full load, {requests} \
         requests, no wrong answer.\n\n| half minute | requests/s | p99, ms | server CPU, µs per \
         request | server memory, MiB | Redis memory, MiB |\n|--:|--:|--:|--:|--:|--:|\n"
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for (number, stretch) in stretches.iter().enumerate() {
        let load = &stretch.load;
        writeln!(
            text,
            "| {} | {:.0} | {:.2} | {:.1} | {:.1} | {:.1} |",
            number + 1,
            load.requests as f64 / load.seconds,
            load.p99_micros as f64 / 1000.0,
            stretch.server_cpu_micros,
            mib(stretch.server_memory),
            mib(stretch.redis_memory),
        )
        .expect("writing to memory does not fail");
    }
    text
}

/// The maximum ratio of the memory in the last half minute to that in the second. The first fills
/// caches and buffers.
const FLAT: f64 = 1.05;

/// The goal that memory does not grow; none for runs that are too short.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn goals(stretches: &[Stretch]) -> Vec<Goal> {
    let [_, second, .., last] = stretches else { return Vec::new() };
    let memory: [(&str, fn(&Stretch) -> u64); 2] =
        [("server", |stretch| stretch.server_memory), ("Redis", |stretch| stretch.redis_memory)];
    memory
        .into_iter()
        .map(|(whose, bytes)| {
            let got = bytes(last) as f64 / bytes(second) as f64;
            let wanted = format!(
                "soak: {whose} memory in the last half minute at most {FLAT:.2} × that in the \
                 second"
            );
            Goal { wanted, got, reached: got <= FLAT }
        })
        .collect()
}
