//! The queue for requests to Steam, one per process. It sends one request at a time, with a gap
//! between them, and none during a pause that Steam requires.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::backoff::Backoff;

/// Maximum pause, whatever Steam requires and however often it refused.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// Grants turns in the order of requests.
#[derive(Debug)]
pub struct SteamQueue {
    gate: Mutex<Gate>,
    spacing: Duration,
    first_pause: Duration,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Gate {
    open_at: Option<Instant>,
    /// Refusals since the last success.
    refusals: u32,
}

/// Steam requires a longer pause than the queue's patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused(pub Duration);

/// Permission to send one request. The gap to the next turn starts when this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    gate: MutexGuard<'a, Gate>,
    queue: &'a SteamQueue,
}

impl SteamQueue {
    /// Spaces turns by `spacing`. After a refusal it pauses for `first_pause`, doubled with each
    /// further one. A pause longer than `patience` is an error instead.
    pub fn new(spacing: Duration, first_pause: Duration, patience: Duration) -> Self {
        Self { gate: Mutex::default(), spacing, first_pause, patience }
    }

    /// Waits for a turn. Calls `on_wait` with the waiting time once it is known.
    ///
    /// # Errors
    /// [`Paused`], without waiting, when the pause is longer than the queue's patience.
    pub async fn turn(&self, on_wait: impl FnOnce(Duration)) -> Result<Turn<'_>, Paused> {
        let gate = self.gate.lock().await;
        let wait =
            gate.open_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if wait > self.patience.max(self.spacing) {
            return Err(Paused(wait));
        }
        if !wait.is_zero() {
            on_wait(wait);
            tokio::time::sleep(wait).await;
        }
        Ok(Turn { gate, queue: self })
    }

    /// Whether the queue is in a pause after Steam refused a request.
    pub fn is_limited(&self) -> bool {
        // While a turn is in use there is no pause.
        self.gate
            .try_lock()
            .is_ok_and(|gate| gate.refusals > 0 && gate.open_at > Some(Instant::now()))
    }
}

impl Turn<'_> {
    /// Reports a response from Steam that was not a refusal.
    pub fn answered(mut self) {
        self.gate.refusals = 0;
    }

    /// Reports that Steam refused because of its limit. Returns the pause that follows.
    pub fn refused(mut self, retry_after: Option<Duration>) -> Duration {
        self.gate.refusals += 1;
        let backoff = Backoff { first: self.queue.first_pause, factor: 2, longest: MAX_PAUSE };
        let pause = retry_after.unwrap_or_else(|| backoff.after(self.gate.refusals));
        let pause = pause.clamp(self.queue.spacing.min(MAX_PAUSE), MAX_PAUSE);
        self.gate.open_at = Some(Instant::now() + pause);
        pause
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let spaced = Instant::now() + self.queue.spacing;
        self.gate.open_at = Some(self.gate.open_at.map_or(spaced, |at| at.max(spaced)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACING: Duration = Duration::from_secs(3);

    fn queue() -> SteamQueue {
        SteamQueue::new(SPACING, Duration::from_mins(1), Duration::from_secs(30))
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_spaced_and_one_at_a_time() {
        let queue = queue();
        let begin = Instant::now();
        queue.turn(|_| panic!("the first need not wait")).await.unwrap().answered();
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let turn = queue.turn(|wait| assert_eq!(wait, SPACING)).await.unwrap();
        assert_eq!(begin.elapsed(), SPACING);
        assert!(
            tokio::time::timeout(Duration::from_secs(9), queue.turn(|_| ())).await.is_err(),
            "one at a time"
        );
        drop(turn);
        queue.turn(|_| ()).await.unwrap().answered();
        assert_eq!(begin.elapsed(), SPACING + Duration::from_secs(9) + SPACING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_pauses_everybody_and_pauses_double() {
        let queue = queue();
        for minutes in [1_u32, 2, 4] {
            let pause = queue.turn(|_| ()).await.unwrap().refused(None);
            let least = Duration::from_mins(u64::from(minutes));
            assert!(pause >= least && pause <= least.mul_f64(1.25), "{pause:?}");
            assert!(matches!(queue.turn(|_| ()).await, Err(Paused(wait)) if wait == pause));
            assert!(queue.is_limited());
            tokio::time::advance(pause).await;
            assert!(!queue.is_limited());
        }
        queue.turn(|_| ()).await.unwrap().answered();
        tokio::time::advance(SPACING).await;
        let pause = queue.turn(|_| ()).await.unwrap().refused(None);
        assert!(pause < Duration::from_mins(2), "a success starts anew: {pause:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_steam_asks_for_is_done_within_reason() {
        let queue = queue();
        let pause = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(queue.turn(|_| ()).await.unwrap().refused(pause(20)), Duration::from_secs(20));
        let begin = Instant::now();
        let turn = queue.turn(|_| ()).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::from_secs(20), "short pauses are waited for");
        assert_eq!(turn.refused(pause(0)), SPACING);
        assert_eq!(queue.turn(|_| ()).await.unwrap().refused(pause(999_999)), MAX_PAUSE);
    }
}
