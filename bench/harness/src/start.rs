//! Cold start: the time from starting the process to the first authenticated response, and the
//! memory at that point.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use crate::compare::create_sessions;
use crate::contender::{Contender, Kind, SERVE, Setup};
use crate::load::Order;
use crate::redis::Redis;
use crate::stats::Spread;

/// A contender's starts.
pub(crate) struct Start {
    pub(crate) contender: Contender,
    /// Milliseconds from the spawn until it listens, plus those of the first authenticated
    /// response.
    pub(crate) millis: Spread,
    /// Resident bytes after that response.
    pub(crate) memory: Spread,
}

/// Each of `chosen` once, because the service answers the same request in both of its modes.
pub(crate) fn contenders(chosen: &[Contender]) -> Vec<Contender> {
    let mut all = Vec::new();
    for contender in chosen {
        match contender.kind {
            Kind::Portfolio => {}
            Kind::Service => all.extend([*contender, SERVE]),
            _ => all.push(*contender),
        }
    }
    all
}

/// Starts each contender `times` times. Every contender connects to Redis before it listens.
pub(crate) fn run(
    contenders: &[Contender],
    times: usize,
    redis: &mut Redis,
    scratch: &Path,
) -> anyhow::Result<Vec<Start>> {
    redis.flush()?;
    let mut starts = Vec::new();
    for (number, contender) in contenders.iter().enumerate() {
        let url = redis.url(number + 1);
        let cookies = scratch.join(format!("cookies-{number}"));
        create_sessions(&contender.for_signing_in().start(&url, Setup::default())?, 1, &cookies)
            .with_context(|| contender.name)?;
        let (mut millis, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let spawned = Instant::now();
            let running = contender.start(&url, Setup::default())?;
            let listening = spawned.elapsed().as_secs_f64() * 1000.0;
            let first = Order {
                address: running.address,
                mode: match contender.kind {
                    Kind::Constant => "constant",
                    Kind::Service => "status",
                    _ => "read",
                },
                cookies: Some(&cookies),
                seconds: 10.0,
                requests: Some(1),
                first_user: 0,
            };
            let answer = first.run().with_context(|| contender.name)?.seconds * 1000.0;
            millis.push(listening + answer);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
            memory.push(running.process.memory()? as f64);
        }
        let spread = |values| Spread::of(values).context("at least one start");
        starts.push(Start {
            contender: *contender,
            millis: spread(millis)?,
            memory: spread(memory)?,
        });
    }
    Ok(starts)
}
