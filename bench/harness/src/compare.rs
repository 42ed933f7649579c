//! The comparison: each round measures every contender once, in a rotating order, so that other
//! load on the machine affects all alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::contender::{Contender, Kind, Running};
use crate::load::{Load, Order};
use crate::redis::Redis;
use crate::scenario::Scenario;
use crate::stats::Spread;

/// The number of sessions that are read and written.
pub(crate) const SESSIONS: u64 = 10_000;
/// The number of the first user in the scenario `sign-in`, so that every sign-in is a user's first.
const FIRST_NEW_USER: u64 = 1_000_000;
/// The creation of sessions is given up below this rate.
const LEAST_CREATED_PER_SEC: u64 = 300;
/// The time limit of the first turn through all sessions, which fills caches and is not measured.
const WARMING_SECS: f64 = 30.0;

/// The length and number of measurements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up: f64,
}

/// The result of one contender in one round.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) load: Load,
    /// The server's CPU time per request, in microseconds.
    pub(crate) server_cpu: f64,
    /// Redis' CPU time per request, in microseconds.
    pub(crate) redis_cpu: f64,
    /// Resident memory of the server in bytes.
    pub(crate) memory: u64,
}

/// The results of one contender in all rounds.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) contender: Contender,
    /// One per round, in the same order for all rows.
    pub(crate) samples: Vec<Sample>,
    /// Redis commands per request over all rounds, by name, including those inside scripts.
    pub(crate) commands: BTreeMap<String, f64>,
}

impl Row {
    pub(crate) fn spread(&self, value: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(value)).expect("there is at least one round")
    }

    /// The ratio of each round's value to that of `other` in the same round.
    pub(crate) fn ratio(&self, other: &Self, value: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(
            self.samples.iter().zip(&other.samples).map(|(own, other)| value(own) / value(other)),
        )
        .expect("there is at least one round")
    }
}

struct Entry {
    running: Running,
    cookies: PathBuf,
    samples: Vec<Sample>,
    commands: BTreeMap<String, u64>,
    next_user: u64,
}

/// The results of a scenario.
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    /// The peers that failed, each with the reason.
    pub(crate) failures: Vec<String>,
}

/// Measures a scenario. A peer that fails or answers wrongly is left out of the scenario. A floor
/// or this repository's own contender that does so fails the run.
pub(crate) fn run(
    scenario: Scenario,
    contenders: &[Contender],
    plan: Plan,
    redis: &mut Redis,
    scratch: &Path,
) -> anyhow::Result<Measured> {
    redis.flush()?;
    let (mut entries, mut failures) = (Vec::new(), Vec::new());
    for (number, contender) in contenders.iter().enumerate() {
        let cookies = scratch.join(format!("cookies-{number}"));
        match Entry::prepare(*contender, &redis.url(number + 1), scenario, cookies) {
            Ok(entry) => entries.push(entry),
            Err(error) => failures.push(forgive(contender, error)?),
        }
    }
    for round in 0..plan.rounds {
        eprintln!("  {} · round {} of {}", scenario.title(), round + 1, plan.rounds);
        let count = entries.len();
        let mut failed = Vec::new();
        for turn in 0..count {
            let index = (round + turn) % count;
            let entry = &mut entries[index];
            let measured = entry
                .order(scenario, plan.warm_up, None)
                .and_then(|_| entry.measure(scenario, plan.seconds, redis));
            if let Err(error) = measured {
                failures.push(forgive(&entry.running.contender, error)?);
                failed.push(index);
            }
        }
        failed.sort_unstable();
        for index in failed.into_iter().rev() {
            entries.remove(index);
        }
    }
    Ok(Measured { rows: entries.into_iter().map(Entry::into_row).collect(), failures })
}

/// A peer's error as a line of the report. The error of any other contender is returned.
pub(crate) fn forgive(contender: &Contender, error: anyhow::Error) -> anyhow::Result<String> {
    if contender.kind != Kind::Peer {
        return Err(error.context(contender.name));
    }
    let line = format!("{} did not get through: {error:#}", contender.name);
    eprintln!("  {line}");
    Ok(line)
}

/// Signs users in through the contender's own route and stores their cookies.
pub(crate) fn create_sessions(running: &Running, count: u64, cookies: &Path) -> anyhow::Result<()> {
    if running.contender.kind == Kind::Constant {
        // As long as a real cookie, because reading it costs time too.
        std::fs::write(cookies, format!("nobody\tsession={:0112}\n", 0))?;
        return Ok(());
    }
    Order {
        address: running.address,
        mode: if running.contender.is_service() { "mail" } else { "login" },
        cookies: Some(cookies),
        seconds: std::time::Duration::from_secs(30 + count / LEAST_CREATED_PER_SEC).as_secs_f64(),
        requests: Some(count),
        first_user: 0,
    }
    .run()?;
    let created = std::fs::read_to_string(cookies)?.lines().count();
    anyhow::ensure!(
        created as u64 == count,
        "only {created} of {count} sessions were created in time"
    );
    Ok(())
}

impl Entry {
    /// Starts the contender, signs all users in, and reads every session once.
    fn prepare(
        contender: Contender,
        redis: &str,
        scenario: Scenario,
        cookies: PathBuf,
    ) -> anyhow::Result<Self> {
        let running = contender.start(redis, scenario.setup())?;
        create_sessions(&running, SESSIONS, &cookies)?;
        let (samples, commands) = (Vec::new(), BTreeMap::new());
        let mut entry = Self { running, cookies, samples, commands, next_user: FIRST_NEW_USER };
        entry.order(scenario, WARMING_SECS, Some(SESSIONS))?;
        Ok(entry)
    }

    fn order(
        &mut self,
        scenario: Scenario,
        seconds: f64,
        requests: Option<u64>,
    ) -> anyhow::Result<Load> {
        let mode = scenario.mode(self.running.contender.kind);
        let cookies = (mode != "login").then_some(&*self.cookies);
        let order = Order {
            address: self.running.address,
            mode,
            cookies,
            seconds,
            requests,
            first_user: self.next_user,
        };
        let load = order.run()?;
        self.next_user += load.requests;
        Ok(load)
    }

    fn measure(
        &mut self,
        scenario: Scenario,
        seconds: f64,
        redis: &mut Redis,
    ) -> anyhow::Result<()> {
        let commands = redis.commands()?;
        let (server, store) = (self.running.process.cpu()?, redis.process.cpu()?);
        let load = self.order(scenario, seconds, None)?;
        let server = self.running.process.cpu()?.saturating_sub(server);
        let store = redis.process.cpu()?.saturating_sub(store);
        for (name, count) in redis.commands()? {
            let before = commands.get(&name).copied().unwrap_or(0);
            *self.commands.entry(name).or_default() += count - before;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let per_request =
            |time: std::time::Duration| time.as_secs_f64() * 1e6 / load.requests as f64;
        self.samples.push(Sample {
            server_cpu: per_request(server),
            redis_cpu: per_request(store),
            memory: self.running.process.memory()?,
            load,
        });
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    fn into_row(self) -> Row {
        let requests: u64 = self.samples.iter().map(|sample| sample.load.requests).sum();
        let commands = self
            .commands
            .into_iter()
            .filter(|(name, _)| name != "info")
            .map(|(name, count)| (name, count as f64 / requests as f64))
            .collect();
        Row { contender: self.running.contender, samples: self.samples, commands }
    }
}

impl Sample {
    /// Requests per second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    pub(crate) fn throughput(&self) -> f64 {
        self.load.requests as f64 / self.load.seconds
    }

    /// The median response time in milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        millis(self.load.p50_micros)
    }

    /// The 99th percentile of the response time in milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        millis(self.load.p99_micros)
    }

    /// The 99.9th percentile of the response time in milliseconds.
    pub(crate) fn p999(&self) -> f64 {
        millis(self.load.p999_micros)
    }

    /// Resident memory in MiB.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    pub(crate) fn mebibytes(&self) -> f64 {
        self.memory as f64 / f64::from(1 << 20)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
