//! Decides whether a history of sessions is explainable; see the library of this crate.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use prove_check::{check, read};

/// Decides whether a history is explainable by the guarantees of the session layer. Exits 0 if it
/// is, 1 with the first impossible line, 2 if a line is unreadable.
///
/// A history is JSON lines. Each has start and end in microseconds of one clock, client, server,
/// op, user, session, field, value and outcome. The op is `sign_in`, `load`, `commit`, `rotate`,
/// `sign_out`, `revoke`, `revoke_all`, or fault with its kind. The value is the one written or
/// read, null for absent. The outcome is ok, refused, unavailable or unknown.
#[derive(Parser)]
#[command(name = "prove check")]
struct Arguments {
    /// The file of the history.
    file: PathBuf,
    /// No fault may have lost a confirmed end. For a history with `SESSION_REPLICA_ACK`.
    #[arg(long)]
    replicated: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let unreadable = |what: String| {
        eprintln!("prove check: {what}");
        ExitCode::from(2)
    };
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => return unreadable(format!("{}: {error}", arguments.file.display())),
    };
    let events = match read(&text) {
        Ok(events) => events,
        Err(error) => return unreadable(error.to_string()),
    };
    let verdict = check(&events);
    if let Some(first) = verdict.impossible.first() {
        println!("{first}");
        println!("{}", text.lines().nth(first.line - 1).unwrap_or_default());
        return ExitCode::FAILURE;
    }
    println!(
        "{} operations of {} sessions: all explainable, {} of the sessions because a fault lost \
         what a primary had answered",
        verdict.operations, verdict.sessions, verdict.lost
    );
    if !arguments.replicated {
        return ExitCode::SUCCESS;
    }
    for session in &verdict.revived {
        println!("session {session} lived on though its end had been confirmed");
    }
    if verdict.revived.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
