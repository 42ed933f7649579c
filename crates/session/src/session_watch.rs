//! Follows a session beyond its request, for long responses: event streams, web sockets, downloads.

use std::fmt;
use std::sync::Arc;

use crate::ended::Ended;
use crate::inner::Inner;
use crate::store::StoreError;
use crate::token::SessionId;
use crate::watch::{POLL, in_a_task};

/// Waits for the end of one session. Returned by [`Session::watch`](crate::Session::watch). Owned,
/// so that a response body can hold it.
///
/// ```
/// # use tracera_session::{Session, SessionError};
/// # async fn send_events() {}
/// async fn events(session: Session) -> Result<(), SessionError> {
///     let watch = session.watch()?;
///     tokio::spawn(async move {
///         tokio::select! {
///             () = send_events() => {}
///             _why = watch.ended() => {}
///         }
///     });
///     Ok(())
/// }
/// ```
pub struct SessionWatch {
    inner: Arc<Inner>,
    id: SessionId,
}

impl SessionWatch {
    pub(crate) fn new(inner: Arc<Inner>, id: SessionId) -> Self {
        Self { inner, id }
    }

    /// Resolves when the session expires, or is signed out, revoked or rotated on any node.
    ///
    /// Within 100 ms where the store sends invalidations, else within about a second. While the
    /// store is unavailable the session counts as alive, so that an outage ends no stream.
    pub async fn ended(&self) -> Ended {
        let inner = &self.inner;
        let mut watch = inner.watches.watch(&self.id.tag, &inner.store);
        let mut deadline = None;
        loop {
            let (subject, asking, id) = (watch.subject().clone(), inner.clone(), self.id);
            let (answer, asked) =
                in_a_task(async move { subject.ask(asking.read_watched(&id)).await }).await;
            let asked = match answer {
                Ok(Ok(snapshot)) => {
                    let until = snapshot.deadline(inner.config.idle);
                    deadline = Some(until);
                    asked.at_most(until.since(inner.now()))
                }
                Ok(Err(Ended::Absent)) if deadline.is_some_and(|until| inner.now() >= until) => {
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

impl fmt::Debug for SessionWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionWatch({})", self.id.handle())
    }
}
