//! Waits for changes under a tag: by the store's invalidations, or by polling every second.
//!
//! 1. An answer is current until something changes after its read was sent, and for a limited time
//!    ([`Asked`]).
//! 2. A store announces the next change after a watched read, so every read is a watched one.
//! 3. At most [`AT_ONCE`] reads are under way. After a loss every watch reads again; ten thousand
//!    reads at once would time out, and requests with them.
//! 4. A read holds its turn only while the store works: see [`in_a_task`].

use std::collections::HashMap;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::info::SessionInfo;
use crate::invalidations::{Invalidations, Listener};
use crate::store::SessionStore;
use crate::token::Tag;

/// How often the store is polled without invalidations, and while it does not answer.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// How often the store is read although it sends invalidations.
const RECHECK: Duration = Duration::from_secs(60);
/// Invalidations within this time cause one read.
const SETTLE: Duration = Duration::from_millis(10);
/// How many reads are under way at once.
const AT_ONCE: usize = 64;

/// The watches, by tag.
#[derive(Default)]
pub(crate) struct Watches {
    waiting: Arc<Waiting>,
    /// The store's feed, fetched for the first watch; `None` when it has none.
    changes: OnceLock<Option<Invalidations>>,
}

struct Waiting {
    tags: Mutex<HashMap<Tag, Arc<Watched>>>,
    turns: Semaphore,
}

/// A watched tag.
#[derive(Default)]
struct Watched {
    /// Counts the changes.
    version: watch::Sender<u64>,
    look: tokio::sync::Mutex<Option<Look>>,
}

/// The last answer about the sessions under a tag.
#[derive(Clone)]
pub(crate) struct Look {
    pub(crate) asked: Asked,
    /// `None` when the store did not answer.
    pub(crate) sessions: Option<Arc<[SessionInfo]>>,
}

/// A tag, with what a read of it needs.
#[derive(Clone)]
pub(crate) struct Subject {
    waiting: Arc<Waiting>,
    changes: Option<Invalidations>,
    tag: Tag,
    watched: Arc<Watched>,
}

/// One watch for changes under a tag.
pub(crate) struct Watch {
    subject: Subject,
    /// `None` only once dropped.
    receiver: Option<watch::Receiver<u64>>,
    settle: Duration,
}

/// When a read was sent, and until when its answer may be used.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    version: u64,
    /// Whether the feed was complete when the read was sent.
    is_told: bool,
    /// Whether a change arrived before the answer.
    is_overtaken: bool,
    until: Instant,
}

impl Watches {
    pub(crate) fn watch(&self, tag: &Tag, store: &impl SessionStore) -> Watch {
        let changes = self.changes.get_or_init(|| {
            let changes = store.invalidations()?;
            let listener: Weak<Waiting> = Arc::downgrade(&self.waiting);
            changes.listen(listener);
            Some(changes)
        });
        let mut tags = self.waiting.lock();
        let watched = tags.entry(*tag).or_default().clone();
        // Under the lock, so that a leaving watch sees a new one.
        let receiver = Some(watched.version.subscribe());
        drop(tags);
        let (waiting, changes) = (self.waiting.clone(), changes.clone());
        Watch {
            subject: Subject { waiting, changes, tag: *tag, watched },
            receiver,
            settle: SETTLE,
        }
    }
}

impl Subject {
    pub(crate) fn tag(&self) -> &Tag {
        &self.tag
    }

    /// The answer that all watches of this tag share.
    pub(crate) fn look(&self) -> &tokio::sync::Mutex<Option<Look>> {
        &self.watched.look
    }

    /// Runs a read as soon as fewer than [`AT_ONCE`] are under way. Call it [in a task](in_a_task).
    pub(crate) async fn ask<T>(&self, question: impl Future<Output = T>) -> (T, Asked) {
        let _turn = self.waiting.turns.acquire().await.expect("the semaphore is never closed");
        let is_told = self.changes.as_ref().is_some_and(Invalidations::is_complete);
        let until = Instant::now() + if is_told { RECHECK } else { POLL };
        let version = self.version();
        let answer = question.await;
        (answer, Asked { version, is_told, is_overtaken: self.version() != version, until })
    }

    /// Whether the answer is out of date.
    pub(crate) fn is_outdated(&self, asked: &Asked) -> bool {
        (asked.is_told && self.version() != asked.version) || Instant::now() >= asked.until
    }

    /// Whether the feed is complete and has announced no change since the read was sent.
    pub(crate) fn is_current(&self, asked: &Asked) -> bool {
        let is_told =
            asked.is_told && self.changes.as_ref().is_some_and(Invalidations::is_complete);
        is_told && !self.is_outdated(asked)
    }

    fn version(&self) -> u64 {
        *self.watched.version.borrow()
    }
}

/// Runs work that holds a permit or a lock in a separate task, which ends with the caller. A caller
/// whose client has stopped reading is not polled, and would hold the permit all that time.
pub(crate) async fn in_a_task<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await.expect("one was spawned").map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime is shutting down, and the caller with it.
        Err(Err(_)) => pending().await,
    }
}

impl Watch {
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Waits until the answer is out of date.
    pub(crate) async fn outdated(&mut self, asked: &Asked) {
        if !asked.is_told {
            return sleep_until(asked.until).await;
        }
        // A change overtook this read: the store cannot watch the tag, or the user writes all the
        // time. The pause before the next read grows.
        self.settle = if asked.is_overtaken { (self.settle * 2).min(POLL) } else { SETTLE };
        let receiver = self.receiver.as_mut().expect("taken only when dropped");
        let changed =
            async { receiver.wait_for(|version| *version != asked.version).await.map(drop) };
        tokio::select! {
            _ = changed => sleep(self.settle).await,
            () = sleep_until(asked.until) => {}
        }
    }
}

impl Asked {
    /// Limits how long the answer may be used from now on.
    pub(crate) fn at_most(self, left: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + left), ..self }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<Tag, Arc<Watched>>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self { tags: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Watched {
    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

impl Listener for Waiting {
    fn changed(&self, tag: &Tag) {
        if let Some(watched) = self.lock().get(tag) {
            watched.changed();
        }
    }

    fn lost(&self) {
        self.lock().values().for_each(|watched| watched.changed());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Subject { waiting, tag, watched, .. } = &self.subject;
        let mut tags = waiting.lock();
        self.receiver = None;
        if watched.version.receiver_count() == 0 {
            tags.remove(tag);
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::embedded::EmbeddedStore;

    const TAG: Tag = Tag([1; 15]);

    #[tokio::test(start_paused = true)]
    async fn a_store_that_tells_a_change_under_every_question_is_asked_less_and_less() {
        let store = EmbeddedStore::in_memory().unwrap();
        let changes = store.invalidations().unwrap();
        let mut watch = Watches::default().watch(&TAG, &store);
        let (begun, mut questions) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(10) {
            let ((), asked) = watch.subject().ask(async { changes.changed(&TAG) }).await;
            watch.outdated(&asked).await;
            questions += 1;
        }
        assert!(questions < 20, "{questions}");

        let ((), asked) = watch.subject().ask(async {}).await;
        changes.changed(&TAG);
        let begun = Instant::now();
        watch.outdated(&asked).await;
        assert!(begun.elapsed() < 2 * SETTLE, "an answer in peace makes it prompt again");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_told_one_asks_once_a_second_and_else_once_a_minute() {
        let store = EmbeddedStore::in_memory().unwrap();
        let untold = Watches { changes: OnceLock::from(None), ..Watches::default() };
        for (watches, pause) in [(untold, POLL), (Watches::default(), RECHECK)] {
            let mut watch = watches.watch(&TAG, &store);
            let ((), asked) = watch.subject().ask(async {}).await;
            let begun = Instant::now();
            watch.outdated(&asked).await;
            assert_eq!(begun.elapsed(), pause);
        }
    }

    #[tokio::test]
    async fn questions_take_turns() {
        let store = EmbeddedStore::in_memory().unwrap();
        let (watches, most) = (Watches::default(), Arc::new(AtomicUsize::new(0)));
        let mut asking = tokio::task::JoinSet::new();
        let open = Arc::new(AtomicUsize::new(0));
        for number in 0..=u8::MAX {
            let watch = watches.watch(&Tag([number; 15]), &store);
            let (open, most) = (open.clone(), most.clone());
            asking.spawn(async move {
                let question = async {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    open.fetch_sub(1, Ordering::SeqCst);
                };
                let ((), _) = watch.subject().ask(question).await;
            });
        }
        asking.join_all().await;
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
        assert!(watches.waiting.lock().is_empty(), "who waits no more costs no memory");
    }
}
