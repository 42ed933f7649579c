//! A session as its user sees it.

use std::net::IpAddr;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::record::{Authentication, Record};
use crate::token::{Handle, SessionId};

/// One of a user's sessions as shown to that user. As JSON an object of these fields, times in
/// milliseconds since the Unix epoch.
///
/// ```
/// use tracera_session::{CurrentUser, SessionError, Sessions};
///
/// async fn devices(
///     sessions: Sessions,
///     CurrentUser(user): CurrentUser,
/// ) -> Result<Vec<String>, SessionError> {
///     let sessions = sessions.list(&user).await?;
///     Ok(sessions.into_iter().map(|session| session.client.into()).collect())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's public name.
    pub handle: Handle,
    /// When the user signed in.
    pub created: Timestamp,
    /// The absolute deadline.
    pub expires: Timestamp,
    /// When the session was last written as used: at sign-in, and with an idle timeout at most a
    /// touch interval ago.
    pub last_seen: Timestamp,
    /// When and how the user last proved who they are.
    pub authentication: Option<Authentication>,
    /// The client as given at sign-in, perhaps shortened.
    pub client: Box<str>,
    /// The client's address at sign-in; of IPv6 the first 64 bits.
    pub address: Option<IpAddr>,
}

impl SessionInfo {
    pub(crate) fn new(id: &SessionId, record: Record) -> Self {
        Self {
            handle: id.handle(),
            created: record.created,
            expires: record.deadline(None),
            last_seen: record.last_seen,
            authentication: record.authentication,
            client: record.client,
            address: record.address,
        }
    }

    /// The most recently seen first.
    pub(crate) fn list(alive: Vec<(SessionId, Record)>) -> Vec<Self> {
        let mut all: Vec<_> =
            alive.into_iter().map(|(id, record)| Self::new(&id, record)).collect();
        all.sort_by_key(|session| std::cmp::Reverse((session.last_seen, session.created)));
        all
    }
}
