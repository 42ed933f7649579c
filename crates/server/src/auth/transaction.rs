//! Transactions: the state kept between the redirect to a provider and the return.
//!
//! 1. `state` is 256 random bits. The database keeps its hash, for ten minutes.
//! 2. A cookie identifies the browser in which a transaction began. A browser keeps its cookie from
//!    one to the next. So several can be under way in it, each with its own state.
//! 3. The first callback with a state, in the browser it was made for, spends it by one `DELETE …
//!    RETURNING`, even if it fails then. Others change nothing.
//! 4. A transaction is bound to one provider and one purpose; linking and confirming also to the
//!    session that began them. Anything else is [`ProviderError::Expired`], without a reason.
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

/// How long somebody may stay at the provider.
pub const LIFETIME: Duration = Duration::from_mins(10);

/// Begins and ends transactions.
#[derive(Clone, Debug)]
pub struct Transactions {
    database: Database,
}

/// What a transaction is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To sign in, whoever it will be.
    SignIn,
    /// To link the identity to this user, while this session lasts.
    Link {
        /// Who began it.
        user: Uuid,
        /// Hash of the binding of the session it began in.
        session_hash: [u8; 32],
    },
    /// To show that it is still this user who uses this session.
    Confirm {
        /// Who is signed in.
        user: Uuid,
        /// Hash of the binding of their session.
        session_hash: [u8; 32],
    },
}

/// The start of a transaction: its browser, and what to do on return.
#[derive(Clone, Debug, Default)]
pub struct Leaving {
    /// What the cookie of the browser holds, if it has one.
    pub browser: Option<String>,
    /// The page to go on to.
    pub return_to: Option<String>,
}

/// A transaction that has begun: what goes into the redirect.
pub struct Begun {
    /// Comes back with the callback.
    pub state: String,
    /// To be found in the ID token.
    pub nonce: String,
    /// The S256 challenge of the PKCE verifier.
    pub challenge: String,
    /// For a cookie that makes the browser recognisable.
    pub browser: String,
}

/// A transaction that was spent by its browser.
pub struct Spent(SpentTransaction);

/// A transaction that has just ended, by the right browser at the right provider.
pub struct Ended {
    /// What it was for.
    pub purpose: Purpose,
    /// What the ID token has to hold.
    pub nonce: String,
    /// The PKCE verifier.
    pub verifier: String,
}

impl Transactions {
    /// Kept in this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Begins one.
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
    /// The page that was wanted.
    pub fn return_to(&self) -> Option<&str> {
        self.0.return_to.as_deref()
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`ProviderError::Expired`] unless it is of this provider and not yet too old.
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
        Ok(Ended { purpose, nonce: spent.nonce, verifier: spent.verifier })
    }
}
