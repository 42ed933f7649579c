//! Simulates a large installation from the measured costs of single operations.

use std::process::ExitCode;

use clap::Parser;

use crate::cost::{B, COPY, K, READER};
use crate::installation::{Outcome, Plan, Trouble, run};

mod cost;
mod installation;

/// Simulates an installation event by event, from the costs in docs/scale.md. It runs a normal
/// minute, then one with a dying primary, a mass sign-out, and a restart of all servers at once.
/// Reports what is overloaded and which settings help. Exits 1 if something is overloaded. The same
/// arguments give the same answer.
#[derive(Parser)]
#[command(name = "prove scale")]
struct Arguments {
    /// Live sessions.
    #[arg(long, default_value_t = 1e8)]
    sessions: f64,
    /// Requests per second.
    #[arg(long, default_value_t = 1e6)]
    requests: f64,
    /// Servers of the application.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    servers: u32,
    /// Sessions used within a minute; a tenth of all by default.
    #[arg(long)]
    active: Option<f64>,
    /// Share of requests that write, 0 to 1.
    #[arg(long, default_value_t = 0.05)]
    writes: f64,
    /// Cores of each server for the session layer.
    #[arg(long, default_value_t = 1.0)]
    cores: f64,
    /// Primaries; by default as many as memory and load need.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    primaries: Option<u32>,
    /// Copies that one server keeps.
    #[arg(long, default_value_t = 100_000.0)]
    capacity: f64,
    /// `tracking-table-max-keys` of each primary.
    #[arg(long, default_value_t = 1e6)]
    tracked: f64,
    /// The load balancer sends each session to the same server.
    #[arg(long)]
    sticky: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The largest data set of a node in bytes, with a third of the memory free. A new replica copies
/// it within about two minutes.
/// with a third of the memory free.
const NODE: f64 = 8e9 / 1.5;
/// The maximum load of a core.
const BUSY: f64 = 0.5;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let sized = arguments.sessions > 0.0 && arguments.requests > 0.0;
    if !sized || !(0.0..=1.0).contains(&arguments.writes) {
        eprintln!("prove scale: sessions and requests are above 0, writes are a share");
        return ExitCode::from(2);
    }
    let plan = plan(&arguments);
    println!(
        "{:.0} sessions, {:.0} in use, {:.0} requests/s with {:.0} % writes, {} servers of {} \
         cores, {} primaries, {}",
        arguments.sessions,
        plan.active,
        plan.requests,
        plan.writes * 100.0,
        plan.servers,
        plan.cores,
        plan.primaries,
        if plan.sticky { "a session at one server" } else { "any request at any server" }
    );
    println!();
    println!("| | hit ratio | servers busy | Redis busy | Redis wait, ms | told/s | 503 |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let mut bends = Vec::new();
    for trouble in Trouble::ALL {
        let outcome = run(&plan, trouble);
        print_row(trouble, &outcome);
        bends.extend(bends_of(trouble, &plan, &arguments, &outcome));
    }
    println!();
    for (bend, _) in &bends {
        println!("{bend}");
    }
    if bends.is_empty() {
        println!("nothing bends");
    }
    if bends.iter().any(|(_, is_overload)| *is_overload) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn plan(arguments: &Arguments) -> Plan {
    let active = arguments.active.unwrap_or(arguments.sessions / 10.0);
    // The memory, or the load when nothing is kept, at half of a core's capacity.
    let by_memory = (arguments.sessions * B + active * K) / NODE;
    let per_request = cost::R + arguments.writes * cost::W;
    let by_load = arguments.requests * per_request / 1e6 / BUSY;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
    let needed = (by_memory.max(by_load).ceil() as usize).max(3);
    Plan {
        active,
        requests: arguments.requests,
        writes: arguments.writes,
        servers: usize::try_from(arguments.servers).unwrap_or(1),
        cores: arguments.cores,
        primaries: arguments.primaries.map_or(needed, |some| usize::try_from(some).unwrap_or(1)),
        capacity: arguments.capacity,
        tracked: arguments.tracked,
        sticky: arguments.sticky,
        seed: arguments.seed,
    }
}

fn print_row(trouble: Trouble, outcome: &Outcome) {
    println!(
        "| {} | {:.0} % | {:.0} % | {:.0} % | {:.3} | {:.0} | {:.1} % |",
        trouble.name(),
        outcome.hit_ratio * 100.0,
        outcome.server_load * 100.0,
        outcome.redis_load * 100.0,
        outcome.redis_wait_ms,
        outcome.told_per_second,
        outcome.failed * 100.0
    );
}

/// The overloaded parts, and whether any exceeds its capacity.
fn bends_of(
    trouble: Trouble,
    plan: &Plan,
    arguments: &Arguments,
    outcome: &Outcome,
) -> Vec<(String, bool)> {
    let mut bends = Vec::new();
    let mut bend = |what: String, is_overload| {
        bends.push((format!("{}: {what}", trouble.name()), is_overload));
    };
    if outcome.redis_load > 1.0 {
        bend("Redis is overloaded: add --primaries".to_owned(), true);
    } else if outcome.redis_load > BUSY {
        bend("Redis is busier than half: add --primaries".to_owned(), false);
    }
    if outcome.server_load > 1.0 {
        bend("servers are overloaded: add --servers or --cores".to_owned(), true);
    } else if outcome.server_load > BUSY {
        bend("servers are busier than half: add --servers or --cores".to_owned(), false);
    }
    if trouble != Trouble::Nothing {
        return bends;
    }
    let primaries = f64::from(u32::try_from(plan.primaries).unwrap_or(u32::MAX));
    if outcome.keys > plan.tracked * 0.99 {
        bend(
            format!(
                "the table of readers is full: tracking-table-max-keys {:.0}",
                (plan.active / primaries * 2.0 / 1e5).ceil() * 1e5
            ),
            false,
        );
    }
    if outcome.copies > plan.capacity * 0.99 {
        bend(
            "the near-cache is full: raise its capacity, or send a session to one server"
                .to_owned(),
            false,
        );
    }
    let table = outcome.keys * (K + READER * (outcome.readers - 3.0).max(0.0));
    let memory = arguments.sessions * B / primaries + table;
    println_facts(outcome, memory);
    if memory > NODE {
        bend("a node has more than 8 GB with room to copy: add --primaries".to_owned(), false);
    }
    bends
}

fn println_facts(outcome: &Outcome, memory: f64) {
    println!(
        "| | {:.0} keys in each table, {:.1} readers of each | {:.0} copies, {:.0} MB on a server \
         | {:.1} GB in a node | | | |",
        outcome.keys,
        outcome.readers,
        outcome.copies,
        outcome.copies * COPY / 1e6,
        memory / 1e9
    );
}
