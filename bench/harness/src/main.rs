//! Measures session libraries side by side on this machine. See `bench/README.md`.

mod chart;
mod client;
mod cluster;
mod compare;
mod contender;
mod goals;
mod instructions;
mod load;
mod machine;
mod memory;
mod process;
mod profile;
mod races;
mod redis;
mod report;
mod revocation;
mod scale;
mod scenario;
mod scratch;
mod service;
mod soak;
mod sql;
mod start;
mod stats;
mod streams;
mod tracking;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::cluster::Stores;
use crate::compare::Plan;
use crate::contender::Contender;
use crate::redis::Redis;
use crate::scenario::Scenario;
use crate::scratch::Scratch;

/// Measures session libraries side by side, each as a separate server, on one Redis, and writes
/// bench/RESULTS.md.
///
/// Takes about a quarter of an hour.
#[derive(Parser)]
#[command(name = "./script/bench")]
struct Options {
    /// Give a first impression of reads within two minutes; write no file.
    #[arg(long)]
    quick: bool,
    /// Number of measurements per contender [default: 7 for reads and 5 for the rest, quick: 3].
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of each measurement in seconds [default: 2 for reads and 1.5 for the rest, quick: 1].
    #[arg(long)]
    seconds: Option<f64>,
    /// Only contenders whose name contains one of these; write no file.
    #[arg(long, value_delimiter = ',', global = true)]
    only: Vec<String>,
    /// Only these scenarios [default: all, quick: read].
    #[arg(long, value_delimiter = ',', value_enum)]
    scenarios: Vec<Scenario>,
    #[command(subcommand)]
    run: Option<Run>,
}

/// Long runs, each started separately.
#[derive(Subcommand)]
enum Run {
    /// Effects of overlapping requests on each other.
    Races,
    /// Redis and server memory per session.
    Memory {
        /// Number of sessions that each contender creates.
        #[arg(long, default_value_t = 100_000)]
        sessions: u64,
    },
    /// Instructions of the server per request, counted by callgrind; needs valgrind.
    Instructions {
        /// Requests to send.
        #[arg(long, value_enum, default_value_t = Scenario::Read)]
        scenario: Scenario,
        /// Number of requests to count.
        #[arg(long, default_value_t = 4000)]
        requests: u64,
    },
    /// Load, list and revoke with few and with many sessions in Redis; only tracera.
    Latency {
        /// The numbers of sessions.
        #[arg(long, value_delimiter = ',', default_values_t = [15_000, 1_000_000])]
        sessions: Vec<u64>,
        /// Use a cluster of three primaries in place of one Redis.
        #[arg(long)]
        cluster: bool,
    },
    /// Cost of client tracking in Redis, and the effect of a table that is too small; only tracera.
    Tracking {
        /// Number of sessions that are read; a near-cache holds 100,000.
        #[arg(long, default_value_t = 50_000)]
        sessions: u64,
    },
    /// Open event streams on the whole service: memory, idle CPU, delay until they end.
    Streams {
        /// Number of streams.
        #[arg(long, default_value_t = 10_000)]
        open: u64,
    },
    /// Delay until one server refuses a session ended by another, both at full load; only tracera.
    Revocation {
        /// Number of trials of each way of ending a session.
        #[arg(long, default_value_t = 1000)]
        trials: u64,
    },
    /// The comparison with sessions in PostgreSQL.
    Sql,
    /// The mixed load for a long time; only tracera.
    Soak {
        /// Length in minutes.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let contenders: Vec<Contender> =
        contender::ALL.into_iter().filter(|contender| options.wants(contender)).collect();
    anyhow::ensure!(
        !contenders.is_empty(),
        "no contender's name contains {}",
        options.only.join(" or ")
    );
    let scratch = Scratch::new()?;
    let mut redis = Redis::start()?;
    let report = Report::new(&options)?;
    match options.run {
        None => compare_all(&options, &contenders, &mut redis, &scratch.0, &report),
        Some(Run::Races) => {
            let (rows, failures) = races::run(&contenders, &mut redis)?;
            let table = report::failed(races::table::table(&rows), &failures);
            report.share("../crates/session/README.md", "races", &table)?;
            report.add("races", &format!("{}\n{table}", races::table::TITLE), &[])
        }
        Some(Run::Memory { sessions }) => {
            let (measured, failures) = memory::run(&contenders, sessions, &mut redis, &scratch.0)?;
            report.add("memory", &report::failed(memory::table(&measured), &failures), &[])
        }
        Some(Run::Instructions { scenario, requests }) => {
            let present: Vec<_> =
                contenders.into_iter().filter(|contender| scenario.includes(contender)).collect();
            let profiles = contender::bench_dir().join("target/instructions");
            let counts =
                instructions::run(scenario, &present, requests, &mut redis, &scratch.0, &profiles)?;
            let part = format!("instructions-{}", name(scenario));
            report.add(&part, &instructions::table(scenario, requests, &counts), &[])?;
            println!("Where they are:\n{}", instructions::profiles(&counts));
            Ok(())
        }
        Some(Run::Latency { sessions, cluster }) => {
            let (part, place) = if cluster {
                ("latency-cluster", "a cluster of three")
            } else {
                ("latency", "one Redis")
            };
            let mut stores = if cluster { Stores::cluster(&scratch.0)? } else { Stores::one()? };
            let scale = scale::run(&sessions, &mut stores)?;
            report.add(part, &scale::table(&scale, place), &scale::goals(&scale))
        }
        Some(Run::Tracking { sessions }) => {
            let steps = tracking::run(sessions, &mut redis, &scratch.0)?;
            report.add("tracking", &tracking::table(sessions, &steps), &[])
        }
        Some(Run::Streams { open }) => {
            let streams = streams::run(open, &mut redis, &scratch.0)?;
            report.add("streams", &streams::table(&streams), &streams::goals(&streams))
        }
        Some(Run::Revocation { trials }) => {
            let revocation = revocation::run(trials, &mut redis, &scratch.0)?;
            report.add(
                "revocation",
                &revocation::table(&revocation),
                &revocation::goals(&revocation),
            )?;
            revocation.verdict()
        }
        Some(Run::Sql) => {
            let plan = |scenario| options.plan(scenario);
            let scenarios = sql::run(plan, &mut redis, &scratch.0)?;
            report.add("sql", &sql::table(&scenarios), &[])
        }
        Some(Run::Soak { minutes }) => {
            let stretches = soak::run(minutes, &mut redis, &scratch.0)?;
            report.add("soak", &soak::table(&stretches), &soak::goals(&stretches))
        }
    }
}

fn compare_all(
    options: &Options,
    contenders: &[Contender],
    redis: &mut Redis,
    scratch: &Path,
    report: &Report,
) -> anyhow::Result<()> {
    for scenario in options.scenarios() {
        let present: Vec<_> =
            contenders.iter().copied().filter(|contender| scenario.includes(contender)).collect();
        if present.is_empty() {
            continue;
        }
        let measured = compare::run(scenario, &present, options.plan(scenario), redis, scratch)?;
        let goals = goals::of_rows(scenario, &measured.rows);
        report.add(&name(scenario), &report::rows(scenario, &measured), &goals)?;
        if scenario == Scenario::Read {
            report.draw(&chart::draw(&measured.rows))?;
        }
    }
    if options.scenarios.is_empty() {
        let times = if options.quick { 3 } else { 10 };
        let starts = start::run(&start::contenders(contenders), times, redis, scratch)?;
        report.add("start", &report::starts(&starts), &goals::of_starts(&starts))?;
    }
    Ok(())
}

fn name(scenario: Scenario) -> String {
    scenario.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl Options {
    fn wants(&self, contender: &Contender) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| contender.name.contains(part.as_str()))
    }

    fn scenarios(&self) -> Vec<Scenario> {
        match (self.scenarios.as_slice(), self.quick) {
            ([], true) => vec![Scenario::Read],
            ([], false) => Scenario::ALL.to_vec(),
            (chosen, _) => chosen.to_vec(),
        }
    }

    /// The most important scenario gets more rounds.
    fn plan(&self, scenario: Scenario) -> Plan {
        let (rounds, seconds) = match (self.quick, scenario) {
            (true, _) => (3, 1.0),
            (false, Scenario::Read) => (7, 2.0),
            (false, _) => (5, 1.5),
        };
        Plan {
            rounds: self.rounds.unwrap_or(rounds).clamp(1, 100),
            seconds: self.seconds.unwrap_or(seconds).clamp(0.1, 60.0),
            warm_up: 0.5,
        }
    }
}

/// Prints each part and, after a full run, saves it in `bench/`.
struct Report {
    machine: String,
    keep: Option<PathBuf>,
}

impl Report {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let whole = !options.quick && options.only.is_empty();
        Ok(Self { machine: machine::describe()?, keep: whole.then(contender::bench_dir) })
    }

    fn add(&self, name: &str, table: &str, goals: &[goals::Goal]) -> anyhow::Result<()> {
        let goals = report::goals(goals);
        println!("\n{table}\n{goals}");
        let Some(directory) = &self.keep else { return Ok(()) };
        let goals = if goals.is_empty() { goals } else { format!("```text\n{goals}```\n") };
        let text = format!("{table}\n{goals}\nMeasured on {}.", self.machine);
        report::replace_part(&directory.join("RESULTS.md"), name, &text)
    }

    /// Saves a part in another document too. The path is relative to `bench/`.
    fn share(&self, document: &str, name: &str, text: &str) -> anyhow::Result<()> {
        let Some(directory) = &self.keep else { return Ok(()) };
        report::replace_part(&directory.join(document), name, text)
    }

    fn draw(&self, svg: &str) -> anyhow::Result<()> {
        let Some(directory) = &self.keep else { return Ok(()) };
        Ok(std::fs::write(directory.join("results.svg"), svg)?)
    }
}
