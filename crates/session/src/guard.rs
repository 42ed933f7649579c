//! Follows a session beyond its request, for what stays open: event streams, web sockets, long
//! downloads.

use std::fmt;

use crate::session::Ended;
use crate::sessions::Sessions;
use crate::store::StoreError;
use crate::token::SessionId;
use crate::watch::{POLL, in_a_task};

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

    /// Resolves when the session is signed out or revoked, on whatever node, when its id is
    /// rotated, or when it expires.
    ///
    /// Within 100 ms where the store tells what changes, else within about a second. While the
    /// store cannot be asked the session counts as alive; the outage itself ends no stream.
    pub async fn ended(&self) -> Ended {
        let inner = &self.sessions.0;
        let mut watch = inner.watches.watch(&self.id.tag, &inner.store);
        let mut deadline = None;
        loop {
            let (subject, sessions, id) = (watch.subject().clone(), self.sessions.clone(), self.id);
            let (answer, asked) =
                in_a_task(async move { subject.ask(sessions.read_watched(&id)).await }).await;
            let asked = match answer {
                Ok(Ok(snapshot)) => {
                    let until = snapshot.deadline(inner.config.idle);
                    deadline = Some(until);
                    asked.at_most(until.since(self.sessions.now()))
                }
                Ok(Err(Ended::Absent))
                    if deadline.is_some_and(|until| self.sessions.now() >= until) =>
                {
                    return Ended::Expired;
                }
                Ok(Err(why)) => return why,
                Err(StoreError::Corrupt(_)) => return Ended::Undecodable,
                Err(StoreError::Unavailable(_)) => asked.at_most(POLL),
            };
            watch.outdated(&asked).await;
        }
    }
}

impl fmt::Debug for SessionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionGuard({})", self.id.handle())
    }
}
