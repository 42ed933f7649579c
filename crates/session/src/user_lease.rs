//! Says how long a copy of what an application keeps about a user may be used.

use std::fmt;

use crate::watch::{Asked, Watch};

/// A lease on copies of what belongs to a user: valid until a change among the user's sessions is
/// told, on whatever node it was made; from [`Sessions::lease`](crate::Sessions::lease).
///
/// It lets an application cache what it keeps elsewhere, such as the tokens of a user, and end such
/// a copy on every node by a write to one of the user's sessions or by
/// [`Sessions::revoke_all`](crate::Sessions::revoke_all). Take the lease first, then read what is
/// to be copied, so that no change falls between.
///
/// Changes end it as soon as they end a session in the near-cache: within milliseconds, and after
/// [`MAX_STALENESS`](crate::MAX_STALENESS) at the latest if the store falls silent. It ends by
/// itself after a minute. Where the store does not tell what changes, it is never valid.
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

    /// Whether copies made under it may still be used. Asks nobody.
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
