//! Why signing in with a provider, or linking one, failed.

use tracera_session::SessionError;

use crate::auth::service_error::ServiceError;
use crate::domain::provider::Provider;
use crate::store::StoreError;

/// The reason. It contains no text from a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The user cancelled at the provider.
    #[error("cancelled at the provider")]
    Cancelled,
    /// The transaction is unknown, of another browser or provider, expired or used.
    #[error("no transaction of this browser")]
    Expired,
    /// The provider refused, or its response failed verification.
    #[error("refused by or because of {0}")]
    Refused(Provider),
    /// The provider does not answer, or its response is unusable.
    #[error("{0} does not answer at the moment, please try again later")]
    Unavailable(Provider),
    /// The user is new and has no verified address.
    #[error("no verified address")]
    EmailUnverified,
    /// Another account has the address, and the identity is not linked to it.
    #[error("the address has an account already")]
    AccountExists,
    /// The address has an account or is unverified; a sign-in link was sent to it.
    #[error("the mailbox must be proved first, a link was mailed")]
    ProofMailed,
    /// The identity belongs to another account.
    #[error("the identity belongs to another account")]
    IdentityTaken,
    /// A user who was to confirm their identity returned as another user.
    #[error("the identity does not open the account that is signed in")]
    OtherAccount,
    /// The account has another identity of this provider.
    #[error("the account has another identity of this provider")]
    AlreadyLinked,
    /// The account accepts only passkeys and recovery codes.
    #[error("only a passkey or a recovery code opens this account")]
    PasskeyOnly,
    /// The session is not the one that began the transaction: another user, or ended meanwhile.
    #[error("the session is not the one that it began with")]
    SessionChanged,
    /// A part of this service does not answer.
    #[error("unavailable")]
    Service,
}

impl ProviderError {
    /// The stable code in the URL of the final page.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Expired => "sign_in_expired",
            Self::Refused(Provider::Google) => "google_refused",
            Self::Refused(Provider::Github) => "github_refused",
            Self::Refused(Provider::Steam) => "steam_refused",
            Self::Refused(Provider::Oidc) => "oidc_refused",
            Self::Unavailable(Provider::Google) => "google_unavailable",
            Self::Unavailable(Provider::Github) => "github_unavailable",
            Self::Unavailable(Provider::Steam) => "steam_unavailable",
            Self::Unavailable(Provider::Oidc) => "oidc_unavailable",
            Self::EmailUnverified => "email_unverified",
            Self::AccountExists => "account_exists",
            Self::ProofMailed => "proof_mailed",
            Self::IdentityTaken => "identity_taken",
            Self::OtherAccount => "other_account",
            Self::AlreadyLinked => "already_linked",
            Self::PasskeyOnly => "passkey_only",
            Self::SessionChanged => "session_changed",
            Self::Service => "unavailable",
        }
    }

    /// All variants.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_provider = |provider| [Self::Refused(provider), Self::Unavailable(provider)];
        Provider::ALL.into_iter().flat_map(of_provider).chain([
            Self::Cancelled,
            Self::Expired,
            Self::EmailUnverified,
            Self::AccountExists,
            Self::ProofMailed,
            Self::IdentityTaken,
            Self::OtherAccount,
            Self::AlreadyLinked,
            Self::PasskeyOnly,
            Self::SessionChanged,
            Self::Service,
        ])
    }

    /// Parses [`ProviderError::code`].
    pub fn parse(code: &str) -> Option<Self> {
        Self::all().find(|error| error.code() == code)
    }
}

impl From<ServiceError> for ProviderError {
    /// Logs the cause here, because the user's response is only a redirect.
    fn from(error: ServiceError) -> Self {
        error.log();
        match error {
            ServiceError::Session(SessionError::Superseded) => Self::SessionChanged,
            _ => Self::Service,
        }
    }
}

impl From<StoreError> for ProviderError {
    fn from(error: StoreError) -> Self {
        ServiceError::from(error).into()
    }
}
