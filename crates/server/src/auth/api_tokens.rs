//! Verifies API tokens, and remembers the ones in use.
//!
//! 1. Text that is no token by its form or checksum costs no question to any store.
//! 2. A token is cached until its owner's sessions change, which the session store announces to
//!    every instance. Revoking a token, or signing its owner out everywhere, makes such a change.
//! 3. The lease is taken before the query whose result is cached, so that no change is missed.
//!    Where the store sends no invalidations, the database is asked each time.
//! 4. The limit is kept per token, where the service keeps its limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use time::OffsetDateTime;
use tracera_guard::{Decision, RateLimit, RateLimitError, RateLimiter};
use tracera_session::{Sessions, UserId, UserLease};
use uuid::Uuid;

use crate::auth::api_token::ApiToken;
use crate::auth::service_error::ServiceError;
use crate::domain::scope::Scopes;
use crate::store::tokens::{self, StoredToken};
use crate::store::{Database, StoreError};
use crate::telemetry::RequestId;

/// How many requests a token is good for within a minute.
pub const LIMIT: RateLimit = RateLimit::new("token", 600, Duration::from_mins(1));

/// How many tokens are remembered, at about 300 bytes each.
const REMEMBERED: usize = 10_000;

/// How often it is noted that a token is in use.
const NOTE_EVERY: i64 = 60;

/// Verifies tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiTokens {
    database: Database,
    sessions: Sessions,
    limit: RateLimiter,
    known: Arc<Cache<[u8; 32], Arc<Known>>>,
}

/// A token that was looked up.
#[derive(Debug)]
struct Known {
    verified: VerifiedToken,
    expires_at: OffsetDateTime,
    lease: UserLease,
    /// When its use was last noted, in seconds since 1970.
    noted_at: AtomicI64,
}

/// Whose token it is, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Its name.
    pub id: Uuid,
    /// Its owner.
    pub user: Uuid,
    /// What it may be used for.
    pub scopes: Scopes,
}

impl ApiTokens {
    /// `limit` keeps [`LIMIT`].
    pub fn new(database: Database, sessions: Sessions, limit: RateLimiter) -> Self {
        Self { database, sessions, limit, known: Arc::new(Cache::new(REMEMBERED)) }
    }

    /// The token, if it is one that lives now.
    ///
    /// # Errors
    /// [`ServiceError`] when it has to be looked up and the database does not answer.
    pub async fn verify(
        &self,
        token: &ApiToken,
        now: OffsetDateTime,
    ) -> Result<Option<VerifiedToken>, ServiceError> {
        let hash = token.hash();
        let known = match self.known.get(&hash) {
            Some(known) if known.lease.is_valid() => known,
            _ => match self.look_up(&hash, now).await? {
                Some(known) => known,
                None => {
                    self.known.remove(&hash);
                    return Ok(None);
                }
            },
        };
        if known.expires_at <= now {
            return Ok(None);
        }
        self.note_use(&known, now);
        Ok(Some(known.verified))
    }

    /// Counts a request of this token.
    ///
    /// # Errors
    /// [`RateLimitError::Unavailable`].
    pub async fn count(&self, token: Uuid) -> Result<Decision, RateLimitError> {
        self.limit.check(&token.simple().to_string()).await
    }

    async fn look_up(
        &self,
        hash: &[u8; 32],
        now: OffsetDateTime,
    ) -> Result<Option<Arc<Known>>, ServiceError> {
        // Whose it is has to be known before there can be a lease; what counts is the second look.
        let Some(first) = tokens::find(&self.database, hash, now).await? else { return Ok(None) };
        let owner =
            UserId::new(first.user_id.as_bytes()).map_err(tracera_session::SessionError::from)?;
        let lease = self.sessions.lease(&owner).await?;
        let Some(found) = tokens::find(&self.database, hash, now).await? else { return Ok(None) };
        let known = Arc::new(Known::new(&found, lease));
        self.known.insert(*hash, known.clone());
        Ok(Some(known))
    }

    /// Notes in passing that the token is in use: at most once in [`NOTE_EVERY`] seconds.
    fn note_use(&self, known: &Known, now: OffsetDateTime) {
        let (noted_at, now_secs) = (known.noted_at.load(Ordering::Relaxed), now.unix_timestamp());
        let is_ours = now_secs - noted_at >= NOTE_EVERY
            && known
                .noted_at
                .compare_exchange(noted_at, now_secs, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_ours {
            let (database, id) = (self.database.clone(), known.verified.id);
            RequestId::spawn(async move {
                if let Err(error) = tokens::note_use(&database, id, now).await {
                    tracing::error!(%error, "the use of a token could not be noted");
                }
            });
        }
    }
}

impl Known {
    fn new(found: &StoredToken, lease: UserLease) -> Self {
        let verified = VerifiedToken {
            id: found.id,
            user: found.user_id,
            scopes: Scopes::parse(&found.scopes),
        };
        let noted_at = found.last_used_at.map_or(0, OffsetDateTime::unix_timestamp);
        let noted_at = AtomicI64::new(noted_at);
        Self { verified, expires_at: found.expires_at, lease, noted_at }
    }
}

/// Whether a token of that name is still there, for what stays open.
///
/// # Errors
/// [`StoreError`] as for every store operation.
pub async fn lives(
    database: &Database,
    token: VerifiedToken,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let all = tokens::of_user(database, token.user, now).await?;
    Ok(all.iter().any(|one| one.id == token.id))
}
