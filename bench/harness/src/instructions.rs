//! Instructions per request, counted by callgrind: equal on a busy and an idle machine. Unlike CPU
//! time they exclude the kernel. Valgrind does not support SHA instructions, so SHA-256 runs in
//! software there and takes several times as many; it is counted separately.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::compare::create_sessions;
use crate::contender::{Contender, FLOOR_A, FLOOR_B};
use crate::load::Order;
use crate::profile::Profile;
use crate::redis::Redis;
use crate::scenario::Scenario;

/// Few, because everything takes fifty times as long.
const SESSIONS: u64 = 1000;
/// The time limit of one turn.
const PATIENCE_SECS: f64 = 120.0;

/// The instructions of one contender's requests.
pub(crate) struct Count {
    contender: Contender,
    /// Without `hashing`.
    per_request: f64,
    /// The instructions of SHA-256.
    hashing: f64,
    /// Callgrind's file about the last turn, for `callgrind_annotate`.
    profile: PathBuf,
}

/// Counts each contender in turn. The profiles stay in `directory`.
pub(crate) fn run(
    scenario: Scenario,
    contenders: &[Contender],
    requests: u64,
    redis: &mut Redis,
    scratch: &Path,
    directory: &Path,
) -> anyhow::Result<Vec<Count>> {
    ensure!(requests >= SESSIONS, "at least {SESSIONS} requests are needed");
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    redis.flush()?;
    let mut counts = Vec::new();
    for (number, contender) in contenders.iter().enumerate() {
        eprintln!("  {} · {}", scenario.title(), contender.name);
        let cookies = scratch.join(format!("cookies-{number}"));
        let count =
            count(scenario, *contender, requests, &redis.url(number + 1), &cookies, directory);
        counts.push(count.with_context(|| contender.name)?);
    }
    Ok(counts)
}

/// Runs `requests` requests and then twice as many. The difference leaves out the cost of opening
/// connections.
fn count(
    scenario: Scenario,
    contender: Contender,
    requests: u64,
    redis: &str,
    cookies: &Path,
    directory: &Path,
) -> anyhow::Result<Count> {
    let stem = format!("{}-{}", scenario.title(), contender.name)
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let profile = directory.join(format!("{}.callgrind", stem.to_lowercase()));
    let out = format!("--callgrind-out-file={}", profile.display());
    let wrapper =
        ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", "--fair-sched=yes", &out];
    let running = contender.start_under(&wrapper, redis, scenario.setup())?;
    create_sessions(&running, SESSIONS, cookies)?;
    let mode = scenario.mode(contender.kind);
    let mut first_user = SESSIONS;
    let mut turn = |requests: u64| -> anyhow::Result<()> {
        let order = Order {
            address: running.address,
            mode,
            cookies: (mode != "login").then_some(cookies),
            seconds: PATIENCE_SECS,
            requests: Some(requests),
            first_user,
        };
        let answered = order.run()?.requests;
        first_user += answered;
        ensure!(
            answered == requests,
            "only {answered} of {requests} requests were answered in time"
        );
        Ok(())
    };
    let pid = running.process.pid().to_string();
    monitor(&pid, "instrumentation on")?;
    turn(SESSIONS)?;
    let mut counted = |requests: u64| -> anyhow::Result<Profile> {
        monitor(&pid, "zero")?;
        turn(requests)?;
        monitor(&pid, "dump")?;
        take_dump(&profile)
    };
    let (once, twice) = (counted(requests)?, counted(requests * 2)?);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 instructions")]
    let per_request =
        |part: fn(&Profile) -> u64| (part(&twice) - part(&once)) as f64 / requests as f64;
    Ok(Count {
        contender,
        per_request: per_request(|profile| profile.all - profile.hashing),
        hashing: per_request(|profile| profile.hashing),
        profile,
    })
}

/// Sends a command to valgrind.
fn monitor(pid: &str, command: &str) -> anyhow::Result<()> {
    let output = Command::new("vgdb")
        .arg(format!("--pid={pid}"))
        .args(["--max-invoke-ms=1000", "--wait=10"])
        .args(command.split(' '))
        .output()
        .context("cannot run vgdb, a part of valgrind")?;
    if !output.status.success() {
        bail!("vgdb {command} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Moves the newest dump to `profile` and reads it.
fn take_dump(profile: &Path) -> anyhow::Result<Profile> {
    let dump = (1..=9)
        .map(|number| PathBuf::from(format!("{}.{number}", profile.display())))
        .find(|path| path.exists())
        .context("callgrind wrote no profile")?;
    std::fs::rename(&dump, profile)?;
    Profile::parse(&std::fs::read_to_string(profile)?)
}

/// The table of the results.
pub(crate) fn table(scenario: Scenario, requests: u64, counts: &[Count]) -> String {
    let mut text = format!(
        "## Instructions: {}\n\nCounted by callgrind over {requests} requests on 64 connections, \
         without what the kernel does. Valgrind knows no SHA instructions: SHA-256 runs in \
         software there, several times as long as without valgrind, and is counted apart.\n\n| | \
         instructions per request | × floor A | × floor B | SHA-256 |\n|---|--:|--:|--:|--:|\n",
        scenario.title().to_lowercase()
    );
    let floor = |name| {
        counts.iter().find(|count| count.contender.name == name).map(|count| count.per_request)
    };
    for Count { contender, per_request, hashing, .. } in counts {
        let ratio = |name| {
            floor(name).map_or_else(String::new, |floor| format!("{:.2}", per_request / floor))
        };
        let (a, b) = (ratio(FLOOR_A), ratio(FLOOR_B));
        writeln!(text, "| {} | **{per_request:.0}** | {a} | {b} | {hashing:.0} |", contender.name)
            .expect("writing to memory does not fail");
    }
    text
}

/// The list of the profiles' paths.
pub(crate) fn profiles(counts: &[Count]) -> String {
    counts.iter().fold(String::new(), |text, count| {
        format!("{text}callgrind_annotate --auto=yes {}\n", count.profile.display())
    })
}
