//! Client tracking in Redis: memory per session and server, and the effect of a table that is too
//! small.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::compare::create_sessions;
use crate::contender::{ALL, NEAR_CACHE, Running, Setup};
use crate::load::Order;
use crate::redis::Redis;

/// The number of servers that keep the sessions in memory, started one after another.
const SERVERS: u64 = 3;

/// The state of Redis' tracking table after one more step.
pub(crate) struct Step {
    what: String,
    tracked: u64,
    /// Redis' memory in bytes beyond that without tracked sessions, per session.
    bytes: f64,
    /// Commands per request while the last server reads all sessions.
    commands: f64,
}

/// Lets one server after another read all of `sessions` sessions, then halves the table.
pub(crate) fn run(sessions: u64, redis: &mut Redis, scratch: &Path) -> anyhow::Result<Vec<Step>> {
    redis.flush()?;
    let contender =
        ALL.into_iter().find(|contender| contender.name == NEAR_CACHE).expect("it is in the list");
    let url = redis.url(1);
    let first = contender.start(&url, Setup::default())?;
    let cookies = scratch.join("cookies-tracking");
    create_sessions(&first, sessions, &cookies)?;
    drop(first);
    let mut running: Vec<Running> = Vec::new();
    let mut steps = Vec::new();
    let untracked = redis.memory()?;
    for servers in 1..=SERVERS {
        eprintln!("  tracking · {servers} servers");
        running.push(contender.start(&url, Setup::default())?);
        let last = running.last().context("just started")?;
        turn(last, sessions, &cookies)?;
        steps.push(step(
            format!("{servers} servers have read them"),
            last,
            sessions,
            untracked,
            redis,
            &cookies,
        )?);
    }
    eprintln!("  tracking · half the table");
    redis.ask(&format!("CONFIG SET tracking-table-max-keys {}", sessions / 2))?;
    let last = running.last().context("some were started")?;
    // Redis removes excess entries little by little.
    for _ in 0..3 {
        turn(last, sessions, &cookies)?;
    }
    steps.push(step(
        "room for half of them".to_owned(),
        last,
        sessions,
        untracked,
        redis,
        &cookies,
    )?);
    redis.ask("CONFIG SET tracking-table-max-keys 1000000")?;
    Ok(steps)
}

/// Reads all sessions once.
fn turn(server: &Running, sessions: u64, cookies: &Path) -> anyhow::Result<()> {
    let order = Order {
        address: server.address,
        mode: "read",
        cookies: Some(cookies),
        seconds: 120.0,
        requests: Some(sessions),
        first_user: 0,
    };
    order.run().map(drop)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn step(
    what: String,
    server: &Running,
    sessions: u64,
    untracked: u64,
    redis: &mut Redis,
    cookies: &Path,
) -> anyhow::Result<Step> {
    let asked = |redis: &mut Redis| -> anyhow::Result<u64> {
        let commands = redis.commands()?;
        Ok(commands.get("hmget").copied().unwrap_or(0))
    };
    let before = asked(redis)?;
    turn(server, sessions, cookies)?;
    let commands = (asked(redis)? - before) as f64 / sessions as f64;
    let bytes = redis.memory()?.saturating_sub(untracked) as f64 / sessions as f64;
    Ok(Step { what, tracked: redis.stat("tracking_total_keys")?, bytes, commands })
}

/// The table of the results.
pub(crate) fn table(sessions: u64, steps: &[Step]) -> String {
    let mut text = format!(
        "## What Redis remembers of its readers\n\n{sessions} sessions, read by one server after \
         the other with the near-cache. Bytes are those Redis allocated more than before anybody \
         read, buffers of connections included.\n\n| | keys in the table | Redis, bytes per \
         session | reads asked of Redis per request, next turn |\n|---|--:|--:|--:|\n"
    );
    for Step { what, tracked, bytes, commands } in steps {
        writeln!(text, "| {what} | {tracked} | {bytes:.0} | {commands:.2} |")
            .expect("writing to memory does not fail");
    }
    text
}
