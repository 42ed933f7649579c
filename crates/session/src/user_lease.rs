//! Limits how long an application may use its copies of a user's data.

use std::fmt;

use crate::watch::{Asked, Watch};

/// A lease on copies of a user's data, from [`Sessions::lease`](crate::Sessions::lease). It is
/// valid until a change of the user's sessions, made on any node, is announced.
///
/// It lets an application cache data that it keeps elsewhere, such as a user's API tokens. A write
/// to one of the user's sessions, or [`Sessions::revoke_all`](crate::Sessions::revoke_all), ends
/// the lease on every node. Take the lease first and then read the data, so that no change is
/// missed.
///
/// Changes end it as fast as they end a session in the near-cache: within milliseconds, or within
/// [`MAX_STALENESS`](crate::MAX_STALENESS) if the store falls silent. It expires after a minute.
/// Where the store sends no invalidations, it is never valid.
///
/// ```
/// use tracera_session::{SessionError, Sessions, UserId, UserLease};
///
/// async fn copied<T>(
///     sessions: &Sessions, user: &UserId, read: impl Future<Output = T>,
/// ) -> Result<(UserLease, T), SessionError> {
///     let lease = sessions.lease(user).await?;
///     Ok((lease, read.await)) // to be used while lease.is_valid()
/// }
/// ```
pub struct UserLease {
    watch: Watch,
    asked: Asked,
}

impl UserLease {
    pub(crate) fn new(watch: Watch, asked: Asked) -> Self {
        Self { watch, asked }
    }

    /// Whether copies made under the lease may still be used. Costs no round trip.
    pub fn is_valid(&self) -> bool {
        self.watch.subject().is_current(&self.asked)
    }
}

impl fmt::Debug for UserLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_valid() { "UserLease(valid)" } else { "UserLease(ended)" })
    }
}

#[cfg(all(test, feature = "embedded"))]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use http::HeaderMap;

    use crate::{EmbeddedStore, KeyRing, SessionConfig, Sessions, SignIn, UserId};

    fn sessions() -> Sessions {
        let keys = KeyRing::new(b"at least 32 bytes for the tests of leases").unwrap();
        Sessions::new(EmbeddedStore::in_memory().unwrap(), keys, SessionConfig::default())
    }

    #[tokio::test]
    async fn a_lease_ends_with_any_change_of_its_user_and_no_other() {
        let sessions = sessions();
        let [alice, bob] = ["alice", "bob"].map(|name| UserId::new(name).unwrap());
        let session = sessions.open(&HeaderMap::new()).await;
        session.sign_in(SignIn::new(alice.clone(), "password")).await.unwrap();

        let lease = sessions.lease(&alice).await.unwrap();
        assert!(lease.is_valid());
        sessions.revoke_all(&bob).await.unwrap();
        assert!(lease.is_valid(), "another user's change");
        session.increment("changes", 1).await.unwrap();
        assert!(!lease.is_valid(), "a write to a session");

        let lease = sessions.lease(&alice).await.unwrap();
        assert!(lease.is_valid());
        sessions.revoke_all(&alice).await.unwrap();
        assert!(!lease.is_valid(), "signed out everywhere");
        assert!(sessions.lease(&alice).await.unwrap().is_valid(), "no session is needed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_by_itself_after_a_minute() {
        let sessions = sessions();
        let lease = sessions.lease(&UserId::new("alice").unwrap()).await.unwrap();
        tokio::time::advance(std::time::Duration::from_secs(59)).await;
        assert!(lease.is_valid());
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(!lease.is_valid());
    }
}
