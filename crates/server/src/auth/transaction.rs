//! Transactions: the state between the redirect to a provider and the callback.
//!
//! 1. `state` is 256 random bits. The database keeps its hash, for ten minutes.
//! 2. A cookie identifies the browser in which a transaction began. The browser keeps the cookie
//!    for later transactions. So several can be pending in it, each with its own state.
//! 3. The first callback with a state, in the right browser, spends the transaction by one `DELETE
//!    … RETURNING`, even if it then fails. Other callbacks change nothing.
//! 4. A transaction is bound to one provider and one purpose; linking and confirming also to their
//!    session. Any mismatch is [`ProviderError::Expired`], without a reason.
//! 5. `nonce` and the PKCE verifier never leave the server.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::provider_error::ProviderError;
use crate::auth::token::{fresh_token, token_hash};
use crate::domain::provider::Provider;
use crate::store::transactions::{self, Link, NewTransaction, SpentTransaction};
use crate::store::{Database, StoreError};

/// How long a user may take at the provider.
pub const LIFETIME: Duration = Duration::from_mins(10);

/// Begins and ends transactions.
#[derive(Clone, Debug)]
pub struct Transactions {
    database: Database,
}

/// The purpose of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Sign in any user.
    SignIn,
    /// Link the identity to this user, in this session only.
    Link {
        /// The user who began it.
        user: Uuid,
        /// Hash of the session's binding.
        session_hash: [u8; 32],
    },
    /// Confirm that this user is still the one who uses this session.
    Confirm {
        /// The signed-in user.
        user: Uuid,
        /// Hash of the session's binding.
        session_hash: [u8; 32],
    },
}

/// The start of a transaction: the browser, and the page to return to.
#[derive(Clone, Debug, Default)]
pub struct Leaving {
    /// The value of the browser's cookie, if it has one.
    pub browser: Option<String>,
    /// The page to return to.
    pub return_to: Option<String>,
    /// Whether it begins on a page of ours, rather than of another site.
    pub is_own: bool,
}

/// A transaction that has begun: the values for the redirect.
pub struct Begun {
    /// The `state` parameter.
    pub state: String,
    /// The nonce expected in the ID token.
    pub nonce: String,
    /// The S256 challenge of the PKCE verifier.
    pub challenge: String,
    /// The value for the cookie that identifies the browser.
    pub browser: String,
}

/// A transaction spent by its browser, not yet validated.
pub struct Spent(SpentTransaction);

/// A transaction that ended in the right browser at the right provider in time.
pub struct Ended {
    /// The purpose.
    pub purpose: Purpose,
    /// The nonce expected in the ID token.
    pub nonce: String,
    /// The PKCE verifier.
    pub verifier: String,
    /// See [`Leaving::is_own`].
    pub is_own: bool,
}

impl Transactions {
    /// Keeps the transactions in this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn begin(
        &self,
        provider: Provider,
        purpose: &Purpose,
        leaving: Leaving,
        now: OffsetDateTime,
    ) -> Result<Begun, StoreError> {
        let [state, nonce, verifier] = std::array::from_fn(|_| fresh_token());
        let browser = leaving.browser.unwrap_or_else(fresh_token);
        let link = match purpose {
            Purpose::SignIn => None,
            Purpose::Link { user, session_hash } | Purpose::Confirm { user, session_hash } => {
                Some(Link { user: *user, session_hash: *session_hash })
            }
        };
        let transaction = NewTransaction {
            state_hash: token_hash(&state),
            browser_hash: token_hash(&browser),
            provider,
            link,
            confirms: matches!(purpose, Purpose::Confirm { .. }),
            is_own: leaving.is_own,
            nonce: &nonce,
            verifier: &verifier,
            return_to: leaving.return_to.as_deref(),
            expires_at: now + LIFETIME,
        };
        transactions::begin(&self.database, &transaction, now).await?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        Ok(Begun { state, nonce, challenge, browser })
    }

    /// Spends the transaction of this state and this browser, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn spend(&self, state: &str, browser: &str) -> Result<Option<Spent>, StoreError> {
        let spent =
            transactions::spend(&self.database, &token_hash(state), &token_hash(browser)).await?;
        Ok(spent.map(Spent))
    }
}

impl Spent {
    /// The page to return to.
    pub fn return_to(&self) -> Option<&str> {
        self.0.return_to.as_deref()
    }

    /// Validates and ends it.
    ///
    /// # Errors
    /// [`ProviderError::Expired`] if it belongs to another provider or has expired.
    pub fn end(self, provider: Provider, now: OffsetDateTime) -> Result<Ended, ProviderError> {
        let Self(spent) = self;
        if spent.provider != provider || spent.expires_at <= now {
            return Err(ProviderError::Expired);
        }
        let purpose = match spent.link {
            None => Purpose::SignIn,
            Some(Link { user, session_hash }) if spent.confirms => {
                Purpose::Confirm { user, session_hash }
            }
            Some(Link { user, session_hash }) => Purpose::Link { user, session_hash },
        };
        let SpentTransaction { nonce, verifier, is_own, .. } = spent;
        Ok(Ended { purpose, nonce, verifier, is_own })
    }
}
