//! The comparison with sessions in PostgreSQL, which `./script/bench sql` starts.

use std::fmt::Write as _;
use std::path::Path;

use crate::compare::{self, Measured, Plan, Sample};
use crate::contender;
use crate::redis::Redis;
use crate::scenario::Scenario;

const SCENARIOS: [Scenario; 3] = [Scenario::Read, Scenario::SignIn, Scenario::Write];

/// Measures each scenario with all contenders in turns.
pub(crate) fn run(
    plan: impl Fn(Scenario) -> Plan,
    redis: &mut Redis,
    scratch: &Path,
) -> anyhow::Result<Vec<(Scenario, Measured)>> {
    SCENARIOS
        .into_iter()
        .map(|scenario| {
            compare::run(scenario, &contender::SQL, plan(scenario), redis, scratch)
                .map(|measured| (scenario, measured))
        })
        .collect()
}

/// The table of all scenarios. The first contender is the one that others are compared with.
pub(crate) fn table(scenarios: &[(Scenario, Measured)]) -> String {
    let mut text = "## Sessions in PostgreSQL\n\n| | | server CPU, µs per request | × the first | \
                    requests/s | p50 | p99, ms |\n|---|---|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for (scenario, measured) in scenarios {
        for row in &measured.rows {
            let cpu = row.spread(|sample| sample.server_cpu);
            let ratio = row.ratio(&measured.rows[0], |sample| sample.server_cpu).median;
            writeln!(
                text,
                "| {} | {} | **{:.1}** ({:.1}–{:.1}) | {ratio:.2} | {:.0} | {:.2} | {:.2} |",
                scenario.title(),
                row.contender.name,
                cpu.median,
                cpu.min,
                cpu.max,
                row.spread(Sample::throughput).median,
                row.spread(Sample::p50).median,
                row.spread(Sample::p99).median,
            )
            .expect("writing to memory does not fail");
        }
    }
    let failures: Vec<_> =
        scenarios.iter().flat_map(|(_, measured)| measured.failures.clone()).collect();
    crate::report::failed(text, &failures)
}
