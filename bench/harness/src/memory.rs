//! Memory per session in Redis and in the server process.

use std::fmt::Write as _;
use std::path::Path;

use crate::compare::{create_sessions, forgive};
use crate::contender::{Contender, Kind, Setup};
use crate::redis::Redis;

/// The memory of one contender's sessions.
pub(crate) struct Memory {
    contender: Contender,
    sessions: u64,
    /// Bytes allocated by Redis per session.
    redis: f64,
    /// Growth of the server's resident memory in bytes per session.
    server: f64,
}

/// Creates `sessions` sessions, each of another user, with each contender in turn. Also returns the
/// peers that failed, each with the reason.
pub(crate) fn run(
    contenders: &[Contender],
    sessions: u64,
    redis: &mut Redis,
    scratch: &Path,
) -> anyhow::Result<(Vec<Memory>, Vec<String>)> {
    let (mut measured, mut failures) = (Vec::new(), Vec::new());
    for (number, contender) in contenders.iter().enumerate() {
        if contender.kind == Kind::Constant || contender.is_service() {
            continue;
        }
        eprintln!("  {} · {sessions} sessions", contender.name);
        let cookies = scratch.join("cookies-memory");
        match measure(*contender, number + 1, sessions, redis, &cookies) {
            Ok(memory) => measured.push(memory),
            Err(error) => failures.push(forgive(contender, error)?),
        }
    }
    redis.flush()?;
    Ok((measured, failures))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn measure(
    contender: Contender,
    database: usize,
    sessions: u64,
    redis: &mut Redis,
    cookies: &Path,
) -> anyhow::Result<Memory> {
    redis.flush()?;
    let running = contender.start(&redis.url(database), Setup::default())?;
    // A few sessions are enough to load scripts, buffers and pools.
    create_sessions(&running, 1000, cookies)?;
    redis.flush()?;
    let (store, server) = (redis.memory()?, running.process.memory()?);
    create_sessions(&running, sessions, cookies)?;
    let per_session =
        |after: u64, before: u64| after.saturating_sub(before) as f64 / sessions as f64;
    Ok(Memory {
        contender,
        sessions,
        redis: per_session(redis.memory()?, store),
        server: per_session(running.process.memory()?, server),
    })
}

/// The table of the results.
pub(crate) fn table(measured: &[Memory]) -> String {
    let sessions = measured.first().map_or(0, |memory| memory.sessions);
    let mut text = format!(
        "## Memory per session\n\n{sessions} sessions of as many users, created through each \
         contender's sign-in; `used_memory` of Redis and resident memory of the server, before \
         and after.\n\n| | Redis, bytes per session | server, bytes per session |\n|---|--:|--:|\n"
    );
    for memory in measured {
        writeln!(
            text,
            "| {} | **{:.0}** | {:.0} |",
            memory.contender.name, memory.redis, memory.server
        )
        .expect("writing to memory does not fail");
    }
    text
}
