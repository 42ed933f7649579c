//! Load, list and revoke with few and with many sessions: runs the program that measures them and
//! shows its output.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::cluster::Stores;
use crate::contender::sibling;
use crate::goals::Goal;

/// The maximum ratio of the median with the most sessions to that with the fewest.
const FLAT: f64 = 1.5;

/// The latencies of one operation at one number of sessions.
#[derive(Debug, Deserialize)]
struct Latency {
    sessions: u64,
    operation: String,
    p50_micros: u64,
    p99_micros: u64,
}

/// The results.
pub(crate) struct Scale {
    latencies: Vec<Latency>,
    /// Numbers of sessions, and Redis' bytes per session for each.
    memory: Vec<(u64, f64)>,
}

/// Measures at each number of sessions.
pub(crate) fn run(sizes: &[u64], stores: &mut Stores) -> anyhow::Result<Scale> {
    let (mut latencies, mut memory) = (Vec::<Latency>::new(), Vec::new());
    for size in sizes {
        eprintln!("  latency · {size} sessions");
        stores.flush()?;
        let before = stores.memory()?;
        let mut child = Command::new(sibling("scale")?)
            .args([stores.url(), &size.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run scale")?;
        let lines = BufReader::new(child.stdout.take().context("the output is not piped")?).lines();
        for (number, line) in lines.enumerate() {
            let latency: Latency = serde_json::from_str(&line?).context("the report of scale")?;
            if number == 0 {
                // At this point all sessions exist and none is revoked yet.
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
                let each = stores.memory()?.saturating_sub(before) as f64 / latency.sessions as f64;
                memory.push((latency.sessions, each));
            }
            latencies.push(latency);
        }
        ensure!(child.wait()?.success(), "scale failed");
    }
    stores.flush()?;
    latencies.sort_by(|a, b| (&a.operation, a.sessions).cmp(&(&b.operation, b.sessions)));
    Ok(Scale { latencies, memory })
}

/// The table of the results.
pub(crate) fn table(scale: &Scale, where_: &str) -> String {
    let mut text = format!(
        "## Latency against the number of sessions, {where_}\n\nOne operation at a time, from a \
         process of its own over loopback; every user has three sessions.\n\n| operation | \
         sessions in Redis | p50, µs | p99, µs |\n|---|--:|--:|--:|\n"
    );
    for Latency { sessions, operation, p50_micros, p99_micros } in &scale.latencies {
        writeln!(text, "| {operation} | {sessions} | {p50_micros} | {p99_micros} |")
            .expect("writing to memory does not fail");
    }
    text.push_str("\n| sessions in Redis | bytes per session |\n|--:|--:|\n");
    for (sessions, bytes) in &scale.memory {
        writeln!(text, "| {sessions} | {bytes:.0} |").expect("writing to memory does not fail");
    }
    text
}

/// The goals: neither time nor memory per session grows with the number of sessions.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
pub(crate) fn goals(scale: &Scale) -> Vec<Goal> {
    let mut goals = Vec::new();
    for pair in scale.latencies.chunk_by(|a, b| a.operation == b.operation) {
        let [few, .., many] = pair else { continue };
        let got = many.p50_micros as f64 / few.p50_micros.max(1) as f64;
        let wanted = format!(
            "p50 of {} with {} sessions at most {FLAT:.2} × that with {}",
            many.operation, many.sessions, few.sessions
        );
        goals.push(Goal { wanted, got, reached: got <= FLAT });
    }
    if let [few, .., many] = &*scale.memory {
        let got = many.1 / few.1;
        let wanted = format!(
            "Redis memory per session with {} sessions at most 1.10 × that with {}",
            many.0, few.0
        );
        goals.push(Goal { wanted, got, reached: got <= 1.1 });
    }
    goals
}
