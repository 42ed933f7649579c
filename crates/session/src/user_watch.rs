//! Follows the sessions of one user, for a page that shows them or must close when its own ends.

use std::fmt;
use std::sync::Arc;

use crate::info::SessionInfo;
use crate::inner::Inner;
use crate::store::StoreError;
use crate::watch::{Asked, Look, POLL, Subject, Watch, in_a_task};

/// Waits for changes of one user's live sessions, made on any node; from
/// [`Sessions::watch`](crate::Sessions::watch).
///
/// A change arrives within 100 ms where the store sends invalidations, else within about a second.
/// All watches of a user share one read per change. With invalidations they read once a minute
/// while nothing happens.
///
/// ```
/// # use tracera_session::{Sessions, UserId};
/// # fn show(_: &[tracera_session::SessionInfo]) {}
/// async fn page(sessions: Sessions, user: UserId) {
///     let mut watch = sessions.watch(&user);
///     loop {
///         show(&watch.next().await);
///     }
/// }
/// ```
pub struct UserWatch {
    inner: Arc<Inner>,
    watch: Watch,
    /// The last read; `None` before the first.
    asked: Option<Asked>,
    known: Option<Arc<[SessionInfo]>>,
}

impl UserWatch {
    pub(crate) fn new(inner: Arc<Inner>, watch: Watch) -> Self {
        Self { inner, watch, asked: None, known: None }
    }

    /// The user's live sessions, the most recently seen first. The first call returns at once,
    /// later calls when the sessions differ from those returned before.
    ///
    /// While the store is unavailable it waits. Unreadable records are left out. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Vec<SessionInfo> {
        loop {
            if let Some(asked) = &self.asked {
                self.watch.outdated(asked).await;
            }
            let looking = look(self.inner.clone(), self.watch.subject().clone());
            let Look { asked, sessions } = in_a_task(looking).await;
            self.asked = Some(asked);
            if let Some(sessions) = sessions
                && self.known.as_ref() != Some(&sessions)
            {
                self.known = Some(sessions.clone());
                return sessions.to_vec();
            }
        }
    }
}

/// Returns the read of another watch of the same user if it is still current, else reads.
async fn look(inner: Arc<Inner>, subject: Subject) -> Look {
    let mut shared = subject.look().lock().await;
    match &*shared {
        Some(look) if !subject.is_outdated(&look.asked) => look.clone(),
        _ => shared.insert(ask(&inner, &subject).await).clone(),
    }
}

async fn ask(inner: &Inner, subject: &Subject) -> Look {
    let (answer, asked) = subject.ask(inner.alive_watched(subject.tag())).await;
    match answer {
        Ok(alive) => {
            let now = inner.now();
            let ends = alive.iter().map(|(_, record)| record.deadline(inner.config.idle));
            let asked = ends.min().map_or(asked, |first| asked.at_most(first.since(now)));
            Look { asked, sessions: Some(SessionInfo::list(alive).into()) }
        }
        Err(StoreError::Corrupt(_)) => Look { asked, sessions: Some([].into()) },
        Err(StoreError::Unavailable(_)) => Look { asked: asked.at_most(POLL), sessions: None },
    }
}

impl fmt::Debug for UserWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserWatch({} sessions)", self.known.as_ref().map_or(0, |known| known.len()))
    }
}
