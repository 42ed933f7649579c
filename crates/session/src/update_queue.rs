//! Serialises the updates of one session in one process, so that they do not race each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Field = [u8; 16];

/// The queues of updates, by session.
#[derive(Default)]
pub(crate) struct UpdateQueue {
    turns: Mutex<HashMap<Field, Arc<tokio::sync::Mutex<()>>>>,
}

/// A turn in the queue. The next one begins when this is dropped.
pub(crate) struct Turn<'a> {
    queue: &'a UpdateQueue,
    field: Field,
    lock: Arc<tokio::sync::Mutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl UpdateQueue {
    /// Waits for a turn with the session.
    pub(crate) async fn enter(&self, field: Field) -> Turn<'_> {
        let lock = self.lock().entry(field).or_default().clone();
        let mut entered = Turn { queue: self, field, lock, guard: None };
        entered.guard = Some(entered.lock.clone().lock_owned().await);
        entered
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Field, Arc<tokio::sync::Mutex<()>>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.queue.lock();
        self.guard = None;
        // Only the map and this turn hold the lock, so nobody waits.
        if Arc::strong_count(&self.lock) == 2 {
            turns.remove(&self.field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_of_one_session_come_one_after_the_other_and_leave_nothing() {
        let queue = UpdateQueue::default();
        let first = queue.enter([1; 16]).await;
        let _other = queue.enter([2; 16]).await;
        let mut second = Box::pin(queue.enter([1; 16]));
        let waits = std::future::poll_fn(|context| {
            std::task::Poll::Ready(second.as_mut().poll(context).is_pending())
        });
        assert!(waits.await);
        drop(first);
        drop(second.await);
        let given_up = queue.enter([2; 16]);
        drop(given_up);
        assert_eq!(queue.lock().len(), 1);
    }
}
