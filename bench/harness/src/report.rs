//! The results as Markdown. Each part stands between its own marks in one file, so that it can be
//! replaced alone.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::compare::{Measured, Row, Sample};
use crate::contender::{FLOOR_A, FLOOR_B};
use crate::goals::Goal;
use crate::scenario::Scenario;
use crate::start::Start;
use crate::stats::Spread;

const HEAD: &str = "\
# Results

Written by `./script/bench` (the comparison) and its subcommands, which measure it again on any \
                    machine; each part says
on what it was measured. How it measures and how each contender is set up:
[README.md](README.md). CPU is processor time of the server process per request, median over \
                    rounds (least–greatest).

![Server CPU per authenticated request](results.svg)
";

/// Replaces the part `name` by `text`, or appends it.
pub(crate) fn replace_part(path: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let old = if path.exists() { std::fs::read_to_string(path)? } else { HEAD.to_owned() };
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let part = format!("{begin}\n{}\n\n{end}", text.trim());
    let new = match (old.find(&begin), old.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{part}{}", &old[..from], &old[to + end.len()..])
        }
        _ => format!("{}\n\n{part}", old.trim_end()),
    };
    std::fs::write(path, new).with_context(|| path.display().to_string())
}

/// A scenario's table.
pub(crate) fn rows(scenario: Scenario, Measured { rows, failures }: &Measured) -> String {
    let mut text = format!(
        "## {}\n\n| | server CPU, µs per request | × floor A | × floor B | Redis CPU, µs | \
         requests/s | p50 | p99 | p99.9, ms | memory, MiB | Redis commands per request \
         |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
        scenario.title()
    );
    let floor = |name| rows.iter().find(|row| row.contender.name == name);
    for row in rows {
        let cpu = row.spread(|sample| sample.server_cpu);
        let ratio = |name| {
            floor(name).map_or_else(String::new, |floor| {
                format!("{:.2}", row.ratio(floor, |sample| sample.server_cpu).median)
            })
        };
        writeln!(
            text,
            "| {} | **{:.1}** ({:.1}–{:.1}) | {} | {} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} | \
             {:.1} | {} |",
            row.contender.name,
            cpu.median,
            cpu.min,
            cpu.max,
            ratio(FLOOR_A),
            ratio(FLOOR_B),
            row.spread(|sample| sample.redis_cpu).median,
            row.spread(Sample::throughput).median,
            row.spread(Sample::p50).median,
            row.spread(Sample::p99).median,
            row.spread(Sample::p999).median,
            row.spread(Sample::mebibytes).median,
            commands(row),
        )
        .expect("writing to memory does not fail");
    }
    failed(text, failures)
}

/// Appends the failed contenders with their reasons to a table.
pub(crate) fn failed(table: String, failures: &[String]) -> String {
    failures.iter().fold(table, |table, failure| format!("{table}\n{failure}\n"))
}

/// `hget 1.00, evalsha 1.00`, without commands rarer than one in a hundred requests.
fn commands(row: &Row) -> String {
    let mut frequent: Vec<_> = row.commands.iter().filter(|(_, count)| **count >= 0.01).collect();
    frequent.sort_by(|a, b| b.1.total_cmp(a.1));
    if frequent.is_empty() {
        return "none".to_owned();
    }
    frequent.iter().map(|(name, count)| format!("{name} {count:.2}")).collect::<Vec<_>>().join(", ")
}

/// The table of the cold starts.
pub(crate) fn starts(starts: &[Start]) -> String {
    let mut text = "## Cold start\n\n| | spawn to first authenticated answer, ms | memory after \
                    it, MiB |\n|---|--:|--:|\n"
        .to_owned();
    for start in starts {
        let Spread { median, min, max } = start.millis;
        let mib = start.memory.median / f64::from(1 << 20);
        writeln!(
            text,
            "| {} | **{median:.0}** ({min:.0}–{max:.0}) | {mib:.1} |",
            start.contender.name
        )
        .expect("writing to memory does not fail");
    }
    text
}

/// `PASS` and `MISS` lines.
pub(crate) fn goals(goals: &[Goal]) -> String {
    goals.iter().fold(String::new(), |mut text, goal| {
        let verdict = if goal.reached { "PASS" } else { "MISS" };
        writeln!(text, "{verdict}  {} (measured {:.2})", goal.wanted, goal.got)
            .expect("writing to memory does not fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_in_its_place() {
        let path = std::env::temp_dir().join(format!("bench-report-{}", std::process::id()));
        replace_part(&path, "one", "first").unwrap();
        replace_part(&path, "two", "second").unwrap();
        replace_part(&path, "one", "third").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with("# Results"), "{text}");
        assert!(!text.contains("first"), "{text}");
        assert!(text.find("third").unwrap() < text.find("second").unwrap(), "{text}");
    }
}
