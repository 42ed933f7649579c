//! Verifies API tokens, and caches those in use.
//!
//! 1. Text with the wrong form or checksum causes no query to any store.
//! 2. A token stays cached until its owner's sessions change, which the session store announces to
//!    every instance. Revoking a token is such a change; so is ending all sessions of its owner.
//! 3. The cache lease is taken before the query whose result is cached, so that no change is
//!    missed. If the store sends no invalidations, the database is queried each time.
//! 4. Requests are limited per token, in the service's rate limit store.

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

/// Request limit of one token.
pub const LIMIT: RateLimit = RateLimit::new("token", 600, Duration::from_mins(1));

/// Maximum number of cached tokens, at about 300 bytes each.
const REMEMBERED: usize = 10_000;

/// Minimum interval between updates of `last_used_at`, in seconds.
const NOTE_EVERY: i64 = 60;

/// Verifies tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiTokens {
    database: Database,
    sessions: Sessions,
    limit: RateLimiter,
    known: Arc<Cache<[u8; 32], Arc<Known>>>,
}

/// A cached token.
#[derive(Debug)]
struct Known {
    verified: VerifiedToken,
    expires_at: OffsetDateTime,
    lease: UserLease,
    /// The last recorded use, in seconds since 1970.
    noted_at: AtomicI64,
}

/// A verified token: its owner and scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The token's id.
    pub id: Uuid,
    /// The owner's account.
    pub user: Uuid,
    /// The permissions it grants.
    pub scopes: Scopes,
}

impl ApiTokens {
    /// `limit` must enforce [`LIMIT`].
    pub fn new(database: Database, sessions: Sessions, limit: RateLimiter) -> Self {
        Self { database, sessions, limit, known: Arc::new(Cache::new(REMEMBERED)) }
    }

    /// Verifies a token; `None` if it is unknown, expired or revoked.
    ///
    /// # Errors
    /// [`ServiceError`] when the token is not cached and the database does not answer.
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

    /// Counts a request against the token's limit.
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
        // The lease needs the owner's id, which only the token's row has. The second query is the
        // one whose result counts.
        let Some(first) = tokens::find(&self.database, hash, now).await? else { return Ok(None) };
        let owner =
            UserId::new(first.user_id.as_bytes()).map_err(tracera_session::SessionError::from)?;
        let lease = self.sessions.lease(&owner).await?;
        let Some(found) = tokens::find(&self.database, hash, now).await? else { return Ok(None) };
        let known = Arc::new(Known::new(&found, lease));
        self.known.insert(*hash, known.clone());
        Ok(Some(known))
    }

    /// Records the use in the background, at most once per [`NOTE_EVERY`] seconds.
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

/// Whether the token still exists. For connections that stay open.
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
