//! The feed of invalidations: a store announces which tags changed, so that copies may be kept.
//!
//! 1. A copy may be used only while the feed is complete: every change older than [`MAX_STALENESS`]
//!    has been announced.
//! 2. Over a connection, completeness is a lease. An answered [`Heartbeat`] proves that every
//!    change made before it was sent has arrived. It extends the lease from that moment on.
//! 3. The lease expires by itself when the process is suspended or the connection falls silent.
//! 4. When changes may have been missed, [`lost`](Invalidations::lost) is called: all copies and
//!    all answers under way are dropped.

use std::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::millis;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::token::Tag;

/// The longest time a copy is used after it was last known to be current.
pub const MAX_STALENESS: Duration = Duration::from_secs(2);

/// A feed of changes from a store to the keepers of copies. Cheap to clone; clones are the same
/// feed.
#[derive(Clone)]
pub struct Invalidations(Arc<Feed>);

struct Feed {
    start: Instant,
    /// The end of the lease, in milliseconds after `start`.
    complete_until: AtomicU64,
    /// When the last answered heartbeat was sent, in milliseconds after `start`.
    proved_at: AtomicU64,
    /// Held while listeners drop their copies after a loss, so that no heartbeat extends the lease
    /// before they are gone.
    telling: Mutex<Telling>,
}

struct Telling {
    losses: u64,
    listeners: Vec<Weak<dyn Listener>>,
}

/// A keeper of copies. It is called on the task that receives the change, so it must not block.
pub(crate) trait Listener: Send + Sync {
    /// Something under this tag changed.
    fn changed(&self, tag: &Tag);
    /// Anything may have changed.
    fn lost(&self);
}

/// A command under way to the store.
#[derive(Debug)]
pub struct Heartbeat {
    changes: Invalidations,
    asked: Instant,
    losses: u64,
}

impl Invalidations {
    /// A feed that is always complete, for a store that makes all changes itself and announces each
    /// before the write returns.
    pub fn complete() -> Self {
        Self::until(u64::MAX)
    }

    /// A feed that is complete only while heartbeats are answered, and incomplete before the first
    /// answer.
    pub fn with_heartbeat() -> Self {
        Self::until(0)
    }

    fn until(complete_until: u64) -> Self {
        let telling = Mutex::new(Telling { losses: 0, listeners: Vec::new() });
        let complete_until = AtomicU64::new(complete_until);
        let proved_at = AtomicU64::new(0);
        Self(Arc::new(Feed { start: Instant::now(), complete_until, proved_at, telling }))
    }

    /// Something under this tag changed.
    pub fn changed(&self, tag: &Tag) {
        for listener in self.telling().listeners.iter().filter_map(Weak::upgrade) {
            listener.changed(tag);
        }
    }

    /// Invalidations may have been missed. With heartbeats the feed is not complete until one begun
    /// after this is answered.
    pub fn lost(&self) {
        let mut telling = self.telling();
        telling.losses += 1;
        if self.0.complete_until.load(Ordering::Acquire) != u64::MAX {
            self.0.complete_until.store(0, Ordering::Release);
        }
        telling.listeners.retain(|listener| listener.strong_count() > 0);
        for listener in telling.listeners.iter().filter_map(Weak::upgrade) {
            listener.lost();
        }
    }

    /// Call it right before a command is sent on the connection that carries the changes. That
    /// connection must keep the order.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat { changes: self.clone(), asked: Instant::now(), losses: self.telling().losses }
    }

    pub(crate) fn is_complete(&self) -> bool {
        let until = self.0.complete_until.load(Ordering::Acquire);
        until == u64::MAX || self.since_start(Instant::now()) < until
    }

    /// The time since the feed was last known to be complete; since its start if it never was.
    pub(crate) fn staleness(&self) -> Duration {
        if self.0.complete_until.load(Ordering::Acquire) == u64::MAX {
            return Duration::ZERO;
        }
        let proved_at = self.0.proved_at.load(Ordering::Acquire);
        Duration::from_millis(self.since_start(Instant::now()).saturating_sub(proved_at))
    }

    pub(crate) fn listen(&self, listener: Weak<dyn Listener>) {
        self.telling().listeners.push(listener);
    }

    fn since_start(&self, at: Instant) -> u64 {
        millis(at.duration_since(self.0.start))
    }

    fn telling(&self) -> MutexGuard<'_, Telling> {
        self.0.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    /// The store has answered. Without effect if changes were lost meanwhile.
    pub fn answered(self) {
        let telling = self.changes.telling();
        if telling.losses == self.losses {
            let Self { changes, asked, .. } = &self;
            changes.0.proved_at.fetch_max(changes.since_start(*asked), Ordering::AcqRel);
            let until = changes.since_start(*asked + MAX_STALENESS);
            changes.0.complete_until.fetch_max(until, Ordering::AcqRel);
        }
    }
}

impl fmt::Debug for Invalidations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_complete() {
            "Invalidations(complete)"
        } else {
            "Invalidations(incomplete)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_lease_counts_from_the_question_not_from_the_answer() {
        let changes = Invalidations::with_heartbeat();
        assert!(!changes.is_complete());
        let heartbeat = changes.heartbeat();
        tokio::time::advance(MAX_STALENESS.saturating_sub(Duration::from_millis(1))).await;
        heartbeat.answered();
        assert!(changes.is_complete());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!changes.is_complete());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_before_a_loss_proves_nothing() {
        let changes = Invalidations::with_heartbeat();
        let before = changes.heartbeat();
        changes.lost();
        before.answered();
        assert!(!changes.is_complete());
        changes.heartbeat().answered();
        assert!(changes.is_complete());
        changes.lost();
        assert!(!changes.is_complete());
    }

    #[tokio::test(start_paused = true)]
    async fn staleness_counts_from_the_last_question_that_was_answered() {
        let changes = Invalidations::with_heartbeat();
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert_eq!(changes.staleness(), second, "nothing was ever proved");
        let heartbeat = changes.heartbeat();
        tokio::time::advance(second).await;
        heartbeat.answered();
        assert_eq!(changes.staleness(), second);
        let overtaken = changes.heartbeat();
        changes.lost();
        overtaken.answered();
        tokio::time::advance(second).await;
        assert_eq!(changes.staleness(), 2 * second, "a loss makes nothing fresh");
        changes.heartbeat().answered();
        assert_eq!(changes.staleness(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_tells_everything_needs_no_heartbeat() {
        let changes = Invalidations::complete();
        tokio::time::advance(Duration::from_secs(99 * 3600)).await;
        assert!(changes.is_complete() && changes.staleness().is_zero());
        changes.lost();
        assert!(changes.is_complete());
    }
}
