//! Follows a session beyond its request, for what stays open: event streams, web sockets, long downloads.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::changes::{Changes, Listener};
use crate::session::Ended;
use crate::sessions::Sessions;
use crate::store::{SessionStore, StoreError};
use crate::token::{SessionId, Tag};

/// How often the store is asked where it does not tell what changes.
const POLL: Duration = Duration::from_secs(1);
/// How often it is asked all the same where it does.
const RECHECK: Duration = Duration::from_mins(1);
/// Changes that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(10);

/// Waits for the end of one session. Owned, so it can go where the response goes; from
/// [`Session::guard`](crate::Session::guard).
///
/// ```
/// # use tracera_session::{Session, SessionError};
/// # async fn send_events() {}
/// async fn events(session: Session) -> Result<(), SessionError> {
///     let guard = session.guard()?;
///     tokio::spawn(async move {
///         tokio::select! {
///             () = send_events() => {}
///             _why = guard.ended() => {}
///         }
///     });
///     Ok(())
/// }
/// ```
pub struct SessionGuard {
    sessions: Sessions,
    id: SessionId,
}

impl SessionGuard {
    pub(crate) fn new(sessions: Sessions, id: SessionId) -> Self {
        Self { sessions, id }
    }

    /// Resolves when the session is signed out or revoked, on whatever node, when its id is rotated, or when it expires.
    ///
    /// Within 100 ms where the store tells what changes, else within about a second. While the store cannot be asked the
    /// session counts as alive; the outage itself ends no stream.
    pub async fn ended(&self) -> Ended {
        let inner = &self.sessions.0;
        let mut watch = inner.watches.watch(&self.id.tag, &inner.store);
        let mut deadline = None;
        loop {
            // Before the question, so that no change between it and the answer goes unseen.
            let is_told = watch.begin();
            let look_again = if is_told { RECHECK } else { POLL };
            let wait = match self.sessions.read_watched(&self.id).await {
                Ok(Ok(snapshot)) => {
                    let until = snapshot.deadline(inner.config.idle);
                    deadline = Some(until);
                    until.since(self.sessions.now()).min(look_again)
                }
                Ok(Err(Ended::Absent)) if deadline.is_some_and(|until| self.sessions.now() >= until) => {
                    return Ended::Expired;
                }
                Ok(Err(why)) => return why,
                Err(StoreError::Corrupt(_)) => return Ended::Undecodable,
                Err(StoreError::Unavailable(_)) => POLL,
            };
            tokio::select! {
                () = watch.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl fmt::Debug for SessionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionGuard({})", self.id.handle())
    }
}

/// Who waits for changes under which tag.
#[derive(Default)]
pub(crate) struct Watches {
    waiting: Arc<Waiting>,
    /// Asked of the store when the first guard is made; `None` when it cannot tell.
    changes: OnceLock<Option<Changes>>,
}

#[derive(Default)]
struct Waiting(Mutex<HashMap<Tag, watch::Sender<()>>>);

struct Watch<'a> {
    waiting: &'a Waiting,
    changes: Option<&'a Changes>,
    tag: Tag,
    /// Taken when dropped.
    receiver: Option<watch::Receiver<()>>,
}

impl Watches {
    fn watch(&self, tag: &Tag, store: &impl SessionStore) -> Watch<'_> {
        let changes = self.changes.get_or_init(|| {
            let changes = store.changes()?;
            let listener: Weak<Waiting> = Arc::downgrade(&self.waiting);
            changes.listen(listener);
            Some(changes)
        });
        let receiver = self.waiting.lock().entry(*tag).or_default().subscribe();
        Watch { waiting: &self.waiting, changes: changes.as_ref(), tag: *tag, receiver: Some(receiver) }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<Tag, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Waiting {
    fn changed(&self, tag: &Tag) {
        if let Some(waiting) = self.lock().get(tag) {
            waiting.send_replace(());
        }
    }

    fn lost(&self) {
        for waiting in self.lock().values() {
            waiting.send_replace(());
        }
    }
}

impl Watch<'_> {
    /// Changes count from here on. Whether they are told at the moment.
    fn begin(&mut self) -> bool {
        self.receiver().mark_unchanged();
        self.changes.is_some_and(Changes::is_complete)
    }

    async fn changed(&mut self) {
        self.receiver().changed().await.expect("the sender stays as long as there is a receiver");
    }

    fn receiver(&mut self) -> &mut watch::Receiver<()> {
        self.receiver.as_mut().expect("taken only when dropped")
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        self.receiver = None;
        if waiting.get(&self.tag).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.tag);
        }
    }
}
