//! Load, list and revoke with few and with many sessions: runs the program that does it and shows what it prints.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::contender::sibling;
use crate::redis::Redis;

/// Latencies of one operation at one number of sessions.
#[derive(Debug, Deserialize)]
pub(crate) struct Latency {
    sessions: u64,
    operation: String,
    p50_micros: u64,
    p99_micros: u64,
}

/// Measures at each of the numbers of sessions.
pub(crate) fn run(sizes: &[u64], redis: &mut Redis) -> anyhow::Result<Vec<Latency>> {
    let mut measured = Vec::new();
    for size in sizes {
        eprintln!("  latency · {size} sessions");
        redis.flush()?;
        let output = Command::new(sibling("scale")?)
            .args([&redis.url(1), &size.to_string()])
            .output()
            .context("cannot run scale")?;
        if !output.status.success() {
            bail!("scale failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            measured.push(serde_json::from_str(line).context("the report of scale")?);
        }
    }
    redis.flush()?;
    Ok(measured)
}

/// The table.
pub(crate) fn table(measured: &[Latency]) -> String {
    let mut text =
        "## Latency against the number of sessions\n\nOne operation at a time, from a process of its own to \
                    Redis over loopback; every user has three sessions.\n\n\
                    | operation | sessions in Redis | p50, µs | p99, µs |\n|---|--:|--:|--:|\n"
            .to_owned();
    let mut sorted: Vec<_> = measured.iter().collect();
    sorted.sort_by(|a, b| (&a.operation, a.sessions).cmp(&(&b.operation, b.sessions)));
    for Latency { sessions, operation, p50_micros, p99_micros } in sorted {
        writeln!(text, "| {operation} | {sessions} | {p50_micros} | {p99_micros} |")
            .expect("writing to memory does not fail");
    }
    text
}
