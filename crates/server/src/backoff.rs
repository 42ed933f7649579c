//! Waits between attempts.

use std::time::Duration;

/// A wait that grows with each consecutive failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The wait after the first failure.
    pub(crate) first: Duration,
    /// The factor for each further failure.
    pub(crate) factor: u32,
    /// The maximum, before jitter.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The wait after this many consecutive failures.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let times = self.factor.saturating_pow(failures.saturating_sub(1));
        jittered(self.first.saturating_mul(times).min(self.longest))
    }
}

/// Adds up to a quarter at random, so that clients that failed together do not retry together.
pub(crate) fn jittered(wait: Duration) -> Duration {
    // Without randomness, which should never happen, the plain wait is used.
    let share = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
    wait.mul_f64(1.0 + share / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_differ() {
        let backoff =
            Backoff { first: Duration::from_secs(2), factor: 3, longest: Duration::from_mins(1) };
        for (failures, wait) in [(0, 2), (1, 2), (2, 6), (3, 18), (4, 54), (5, 60), (u32::MAX, 60)]
        {
            let wait = Duration::from_secs(wait);
            let range = wait..=wait + wait / 4;
            let waits: Vec<_> = (0..8).map(|_| backoff.after(failures)).collect();
            assert!(waits.iter().all(|wait| range.contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}: {waits:?}");
        }
    }
}
