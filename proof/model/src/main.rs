//! Checks the protocol of the session layer in every state of a small model, with all its rules and
//! without each of them.

use std::process::ExitCode;

use clap::Parser;
use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::protocol::{Protocol, Step};
use crate::rule::{Facts, Fault, RULES};
use crate::state::{Kind, OPERATIONS, SERVERS, SESSIONS};

mod protocol;
mod rule;
mod server;
mod state;
mod store;

/// Checks a model of the session protocol: every state of two servers, two sessions and a few
/// operations. Then it removes one rule of the code at a time and shows which property fails. Exits
/// 0 only if all properties hold, and each rule's removal breaks one.
///
/// Without options it checks every history of three operations, and every history of two operations
/// and a fault. Faults are a broken connection, a passed deadline, a lost answer and the like.
#[derive(Parser)]
#[command(name = "prove model")]
struct Arguments {
    /// Only check histories of two operations and a fault, and the rules.
    #[arg(long)]
    short: bool,
    /// Only check histories of this many operations, 1 to 3.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3), conflicts_with = "short")]
    operations: Option<u8>,
    /// With --operations: maximum number of faults in one history.
    #[arg(long, default_value_t = 0, requires = "operations")]
    faults: u8,
    /// Number of threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Also print where each rule is in the code, and the steps to each failure.
    #[arg(long)]
    steps: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let sizes = match arguments.operations {
        Some(operations) => vec![(operations, arguments.faults)],
        None if arguments.short => vec![(2, 1)],
        None => vec![(2, 1), (3, 0)],
    };
    let mut holds = true;
    for (operations, faults) in sizes {
        println!(
            "{SERVERS} servers, {SESSIONS} sessions, {operations} operations of {} kinds, at most \
             {faults} faults of {} kinds:",
            Kind::ALL.len(),
            Fault::ALL.len()
        );
        holds &= whole(usize::from(operations), faults, arguments.threads);
    }
    for facts in RULES {
        holds &= without(facts, arguments.steps);
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks every state with all rules.
fn whole(operations: usize, most_faults: u8, threads: usize) -> bool {
    let protocol = Protocol {
        without: None,
        kinds: Kind::ALL.to_vec(),
        faults: Fault::ALL.to_vec(),
        operations,
        browsers: SESSIONS,
        most_faults,
    };
    let checker = protocol
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let failures = checker.discoveries();
    if failures.is_empty() {
        println!("{states} states, all properties hold");
        return true;
    }
    for (property, path) in failures {
        let steps = path.into_actions();
        println!("{property} fails after {} steps", steps.len());
        print_steps(&steps);
    }
    false
}

/// The shortest path to a failure without the rule.
fn counterexample(facts: &Facts) -> Option<Vec<Step>> {
    let property = facts.property.name();
    let protocol = Protocol {
        without: Some(facts.rule),
        kinds: facts.kinds.to_vec(),
        faults: facts.faults.to_vec(),
        operations: OPERATIONS,
        browsers: 1,
        most_faults: 1,
    };
    // A single thread visits states in the order of their distance.
    let checker = protocol
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .spawn_bfs()
        .join();
    checker.discovery(property).map(Path::into_actions)
}

fn without(facts: &Facts, with_steps: bool) -> bool {
    let (name, property) = (facts.name, facts.property.name());
    let Some(steps) = counterexample(facts) else {
        println!("without {name}: {property} holds, so the model does not see the rule");
        return false;
    };
    println!("without {name}: {property} fails after {} steps", steps.len());
    if with_steps {
        let code = &facts.code;
        println!("  the rule is {}, crates/session/src/{}", code.function, code.file);
        print_steps(&steps);
    }
    true
}

fn print_steps(steps: &[Step]) {
    for (number, step) in steps.iter().enumerate() {
        println!("  {:>2}. {step:?}", number + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use super::*;
    use crate::rule::Property;

    #[test]
    fn each_rule_is_seen_by_the_property_it_keeps() {
        for facts in RULES {
            assert!(counterexample(facts).is_some(), "{}", facts.name);
        }
    }

    #[test]
    fn all_properties_hold_with_all_rules() {
        assert!(whole(2, 0, 2));
    }

    /// Appends all source files below `crates`.
    fn sources(folder: &FilePath, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn each_test_and_property_the_page_names_is_there() {
        let root = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = std::fs::read_to_string(root.join("docs/proof.md")).unwrap();
        let mut source = String::new();
        sources(&root.join("crates/session"), &mut source);
        let (_, table) = page.split_once("## What carries each promise").unwrap();
        let mut seen = 0;
        for row in table.lines().filter(|line| line.starts_with("| ") && !line.contains("---")) {
            for test in row.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
                assert!(source.contains(&format!("{test}(")), "{test}");
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen}");
        for property in Property::ALL {
            assert!(table.contains(property.name()), "{}", property.name());
        }
    }

    #[test]
    fn each_property_is_kept_by_a_rule() {
        for property in Property::ALL {
            assert!(RULES.iter().any(|facts| facts.property == property), "{}", property.name());
        }
    }

    #[test]
    fn each_rule_stands_where_it_is_said_to() {
        for code in RULES.iter().map(|facts| &facts.code) {
            let path =
                format!("{}/../../crates/session/src/{}", env!("CARGO_MANIFEST_DIR"), code.file);
            let source =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(source.contains(code.line), "{}: no {:?} in {path}", code.function, code.line);
        }
    }
}
