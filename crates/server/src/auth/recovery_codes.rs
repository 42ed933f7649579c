//! Recovery codes: ten single-use codes for users who lost their passkeys.
//!
//! 1. A code has 120 random bits, so a plain hash is safe to store.
//! 2. An unknown account, a wrong code and a used code get the same error, after the same work.
//! 3. Attempts are limited per address, whether or not it has an account. The limit affects no
//!    other sign-in method.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tracera_guard::{RateLimit, RateLimiter};
use uuid::Uuid;

use crate::auth::service_error::ServiceError;
use crate::domain::email::Email;
use crate::store::users::{self, User};
use crate::store::{Database, StoreError, recovery_codes};

/// The method's name in sessions, logs and events.
pub const RECOVERY: &str = "recovery";

/// Number of codes per account.
pub const CODES: usize = 10;

/// Attempts per address and hour.
pub const GUESSES: RateLimit = RateLimit::new("recovery", 10, Duration::from_hours(1));

const CODE_CHARS: usize = 24;
/// 32 letters and digits, without those that look alike.
const DIGITS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// Creates and redeems codes.
#[derive(Clone, Debug)]
pub struct RecoveryCodes {
    database: Database,
    guesses: RateLimiter,
}

/// A code in plain text, shown to its owner once. `Debug` redacts it.
#[derive(Clone)]
pub struct RecoveryCode(String);

/// A code that was used up.
#[derive(Debug)]
pub struct ClaimedCode {
    /// The owner.
    pub user: User,
    hash: [u8; 32],
}

/// Why a code was not accepted.
#[derive(Debug)]
pub enum ClaimError {
    /// No account has that address and that code. Contains the account with the address, if there
    /// is one.
    Invalid(Option<User>),
    /// The address had too many attempts; the time to wait.
    TooOften(Duration),
    /// A dependency does not answer.
    Service(ServiceError),
}

impl<E: Into<ServiceError>> From<E> for ClaimError {
    fn from(error: E) -> Self {
        Self::Service(error.into())
    }
}

impl RecoveryCode {
    /// Generates a code: six groups of four characters.
    fn fresh() -> Self {
        let mut bytes = [0; CODE_CHARS];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let digits = bytes.map(|byte| DIGITS[usize::from(byte) % DIGITS.len()]);
        let groups: Vec<_> = digits.chunks(4).map(String::from_utf8_lossy).collect();
        Self(groups.join("-"))
    }

    /// Parses typed text; case, spaces and hyphens do not matter.
    pub fn parse(typed: &str) -> Option<Self> {
        if typed.len() > 4 * CODE_CHARS {
            return None;
        }
        let meant = typed.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let meant: String = meant.map(|c| c.to_ascii_lowercase()).collect();
        let is_code = meant.len() == CODE_CHARS && meant.bytes().all(|c| DIGITS.contains(&c));
        is_code.then(|| {
            let groups: Vec<_> = meant.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
            Self(groups.join("-"))
        })
    }

    /// The plain text, for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The SHA-256 hash kept in the database.
    fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

impl RecoveryCodes {
    /// `guesses` must enforce [`GUESSES`].
    pub fn new(database: Database, guesses: RateLimiter) -> Self {
        Self { database, guesses }
    }

    /// Creates new codes for the account, replacing all earlier ones.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn replace(&self, user: Uuid) -> Result<[RecoveryCode; CODES], StoreError> {
        let codes = std::array::from_fn(|_| RecoveryCode::fresh());
        let hashes: [_; CODES] = std::array::from_fn(|at| RecoveryCode::hash(&codes[at]));
        recovery_codes::replace(&self.database, user, &hashes).await?;
        Ok(codes)
    }

    /// Uses up a code of the account with that address.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(&self, email: &Email, typed: &str) -> Result<ClaimedCode, ClaimError> {
        let key = guesses_key(email);
        let decision = self.guesses.check(&key).await?;
        if !decision.allowed {
            let wait = Duration::from_secs(decision.retry_after_secs());
            return Err(ClaimError::TooOften(wait));
        }
        let user = users::find_by_email(&self.database, email).await?;
        let hash = RecoveryCode::parse(typed).map_or([0; 32], |code| code.hash());
        // The query also runs without an account, so that the response takes the same time.
        let id = user.as_ref().map_or_else(Uuid::nil, |user| user.id);
        match (recovery_codes::claim(&self.database, id, &hash).await?, user) {
            (true, Some(user)) => {
                self.guesses.forget(&key).await?;
                Ok(ClaimedCode { user, hash })
            }
            (_, user) => Err(ClaimError::Invalid(user)),
        }
    }

    /// Restores a claimed code, because its owner could not be signed in.
    pub async fn release(&self, claimed: &ClaimedCode) {
        let done = recovery_codes::release(&self.database, claimed.user.id, &claimed.hash).await;
        if let Err(error) = done {
            tracing::error!(%error, "a recovery code could not be given back");
        }
    }
}

/// The address's key in the limit: a hash, so that the limit's store does not reveal the address.
fn guesses_key(email: &Email) -> String {
    use std::fmt::Write;
    let digest: [u8; 32] = Sha256::digest(email.as_str()).into();
    digest[..16].iter().fold(String::with_capacity(32), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed_and_nothing_else_is() {
        let code = RecoveryCode::fresh();
        assert_eq!(code.expose().len(), 29);
        for typed in [
            code.expose().to_owned(),
            code.expose().to_uppercase(),
            code.expose().replace('-', " "),
            code.expose().replace('-', ""),
            format!("  {}\n", code.expose()),
        ] {
            assert_eq!(RecoveryCode::parse(&typed).unwrap().hash(), code.hash(), "{typed}");
        }
        for typed in ["", "abcd", &code.expose()[1..], &code.expose().repeat(2), &"é".repeat(12)] {
            assert!(RecoveryCode::parse(typed).is_none(), "{typed}");
        }
        assert_eq!(format!("{code:?}"), "RecoveryCode(…)");
    }

    #[test]
    fn codes_do_not_repeat() {
        let codes: std::collections::HashSet<_> =
            (0..10_000).map(|_| RecoveryCode::fresh().0).collect();
        assert_eq!(codes.len(), 10_000);
    }
}
