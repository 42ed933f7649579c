//! The goals of the project. They are printed and never fail a run, because the numbers depend on
//! the machine and its load.

use crate::compare::{Row, Sample};
use crate::contender::{
    FLOOR_A, FLOOR_B, NEAR_CACHE, NO_CACHE, PORTFOLIO, SERVE, SERVICE, TOWER_SESSIONS,
};
use crate::scenario::Scenario;
use crate::start::Start;

/// One goal, with the measured value.
pub(crate) struct Goal {
    pub(crate) wanted: String,
    pub(crate) got: f64,
    pub(crate) reached: bool,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

struct Ratio {
    what: &'static str,
    value: fn(&Sample) -> f64,
    of: &'static str,
    bound: Bound,
    to: &'static str,
}

const CPU: fn(&Sample) -> f64 = |sample| sample.server_cpu;
const THROUGHPUT: fn(&Sample) -> f64 = |sample| sample.throughput();
const P99: fn(&Sample) -> f64 = |sample| sample.p99();

const READ: [Ratio; 8] = [
    ratio("server CPU", CPU, NO_CACHE, Bound::AtMost(1.25), FLOOR_B),
    ratio("server CPU", CPU, NO_CACHE, Bound::AtMost(1.10), FLOOR_B),
    ratio("server CPU", CPU, NO_CACHE, Bound::AtMost(0.78), TOWER_SESSIONS),
    ratio("server CPU", CPU, NEAR_CACHE, Bound::AtMost(1.15), FLOOR_A),
    ratio("server CPU", CPU, NEAR_CACHE, Bound::AtMost(0.72), FLOOR_B),
    ratio("throughput", THROUGHPUT, NEAR_CACHE, Bound::AtLeast(1.3), FLOOR_B),
    ratio("throughput", THROUGHPUT, NEAR_CACHE, Bound::AtLeast(1.7), TOWER_SESSIONS),
    ratio("p99", P99, NEAR_CACHE, Bound::AtMost(1.0), FLOOR_B),
];

const LIMITED: [Ratio; 2] = [
    ratio("server CPU", CPU, NEAR_CACHE, Bound::AtMost(1.2), FLOOR_B),
    ratio("server CPU", CPU, NO_CACHE, Bound::AtMost(1.2), FLOOR_B),
];

const SERVICE_RATIOS: [Ratio; 2] = [
    ratio("server CPU", CPU, SERVICE, Bound::AtMost(1.6), FLOOR_A),
    ratio("server CPU", CPU, PORTFOLIO, Bound::AtMost(1.6), FLOOR_A),
];

const fn ratio(
    what: &'static str,
    value: fn(&Sample) -> f64,
    of: &'static str,
    bound: Bound,
    to: &'static str,
) -> Ratio {
    Ratio { what, value, of, bound, to }
}

impl Bound {
    fn met_by(self, got: f64) -> bool {
        match self {
            Self::AtMost(most) => got <= most,
            Self::AtLeast(least) => got >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {most:.2}"),
            Self::AtLeast(least) => format!("at least {least:.2}"),
        }
    }
}

/// The goals of a scenario whose contenders were all measured.
pub(crate) fn of_rows(scenario: Scenario, rows: &[Row]) -> Vec<Goal> {
    let ratios: &[Ratio] = match scenario {
        Scenario::Read => &READ,
        Scenario::Limited => &LIMITED,
        Scenario::Service => &SERVICE_RATIOS,
        _ => &[],
    };
    let find = |name| rows.iter().find(|row| row.contender.name == name);
    let mut goals: Vec<Goal> = ratios
        .iter()
        .filter_map(|ratio| {
            let got = find(ratio.of)?.ratio(find(ratio.to)?, ratio.value).median;
            let wanted = format!(
                "{}: {} of {} {} × {}",
                scenario.title().to_lowercase(),
                ratio.what,
                ratio.of,
                ratio.bound.text(),
                ratio.to
            );
            Some(Goal { wanted, got, reached: ratio.bound.met_by(got) })
        })
        .collect();
    if scenario == Scenario::Read {
        // Each session is read again once a minute for the near-cache, and heartbeats of several
        // servers count as well.
        for (name, commands, spare) in [(NEAR_CACHE, 0, 0.02), (NO_CACHE, 1, 0.01)] {
            if let Some(row) = find(name) {
                let got = row.commands.values().sum();
                let wanted =
                    format!("authenticated read: Redis commands of {name} per request, {commands}");
                goals.push(Goal { wanted, got, reached: got <= f64::from(commands) + spare });
            }
        }
    }
    goals
}

/// The goals of a cold start.
pub(crate) fn of_starts(starts: &[Start]) -> Vec<Goal> {
    starts
        .iter()
        .filter(|start| [NEAR_CACHE, SERVICE, SERVE.name].contains(&start.contender.name))
        .flat_map(|start| {
            let (name, mib) = (start.contender.name, start.memory.median / f64::from(1 << 20));
            [
                (format!("start of {name} in ms, under 150"), start.millis.median, 150.0),
                (format!("idle MiB of {name}, under 20"), mib, 20.0),
            ]
        })
        .map(|(wanted, got, most)| Goal { wanted, got, reached: got < most })
        .collect()
}
