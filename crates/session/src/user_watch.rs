//! Follows the sessions of one user: for a page that shows them, or that must go when its own is
//! over.

use std::fmt;
use std::sync::Arc;

use crate::info::SessionInfo;
use crate::inner::Inner;
use crate::store::StoreError;
use crate::watch::{Asked, Look, POLL, Subject, Watch, in_a_task};

/// Waits for changes among the live sessions of one user, on whatever node they are made; from
/// [`Sessions::watch`](crate::Sessions::watch).
///
/// Within 100 ms where the store tells what changes, else within about a second. All who watch the
/// same user share one question to the store per change, and where the store tells, one per minute
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
    /// The last look; `None` before the first.
    asked: Option<Asked>,
    known: Option<Arc<[SessionInfo]>>,
}

impl UserWatch {
    pub(crate) fn new(inner: Arc<Inner>, watch: Watch) -> Self {
        Self { inner, watch, asked: None, known: None }
    }

    /// The user's live sessions, the most recently seen first: at once when asked for the first
    /// time, from then on as soon as they differ from those returned before.
    ///
    /// While the store cannot be asked nothing is known to have changed. Sessions that cannot be
    /// read are none. Dropping the future loses nothing.
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

/// The look of another who watches the same user, if that is still good.
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
