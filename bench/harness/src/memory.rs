//! Redis memory per session, and what the server process grows by.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::compare::create_sessions;
use crate::contender::{Contender, Kind};
use crate::redis::Redis;

/// What one contender's sessions take.
pub(crate) struct Memory {
    contender: Contender,
    sessions: u64,
    /// Bytes Redis allocated per session.
    redis: f64,
    /// Bytes the server's resident memory grew by per session.
    server: f64,
}

/// Creates `sessions` sessions of as many users with each contender in turn.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn run(
    contenders: &[Contender],
    sessions: u64,
    redis: &mut Redis,
    scratch: &Path,
) -> anyhow::Result<Vec<Memory>> {
    let mut measured = Vec::new();
    for (number, contender) in contenders.iter().enumerate() {
        if contender.kind == Kind::Constant {
            continue;
        }
        eprintln!("  {} · {sessions} sessions", contender.name);
        redis.flush()?;
        let running = contender.start(&redis.url(number + 1), false)?;
        let cookies = scratch.join("cookies-memory");
        // Scripts, buffers and pools are there after a few.
        create_sessions(&running, 1000, &cookies)?;
        redis.flush()?;
        let (store, server) = (redis.memory()?, running.process.memory()?);
        create_sessions(&running, sessions, &cookies).with_context(|| contender.name)?;
        let per_session = |after: u64, before: u64| after.saturating_sub(before) as f64 / sessions as f64;
        measured.push(Memory {
            contender: *contender,
            sessions,
            redis: per_session(redis.memory()?, store),
            server: per_session(running.process.memory()?, server),
        });
    }
    redis.flush()?;
    Ok(measured)
}

/// The table.
pub(crate) fn table(measured: &[Memory]) -> String {
    let sessions = measured.first().map_or(0, |memory| memory.sessions);
    let mut text = format!(
        "## Memory per session\n\n{sessions} sessions of as many users, created through each contender's sign-in; \
         `used_memory` of Redis and resident memory of the server, before and after.\n\n\
         | | Redis, bytes per session | server, bytes per session |\n|---|--:|--:|\n"
    );
    for memory in measured {
        writeln!(text, "| {} | **{:.0}** | {:.0} |", memory.contender.name, memory.redis, memory.server)
            .expect("writing to memory does not fail");
    }
    text
}
