//! Why signing in or linking by a provider failed.

use tracera_session::SessionError;

use crate::auth::service_error::ServiceError;
use crate::domain::provider::Provider;
use crate::store::StoreError;

/// The reason. It holds nothing that a provider wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The person said no at the provider.
    #[error("cancelled at the provider")]
    Cancelled,
    /// No such transaction, or not this browser's, not this provider's, too old, used.
    #[error("no transaction of this browser")]
    Expired,
    /// The provider says no, or says something that does not hold.
    #[error("refused by or because of {0}")]
    Refused(Provider),
    /// The provider does not answer, or not in its language.
    #[error("{0} does not answer at the moment, please try again later")]
    Unavailable(Provider),
    /// A new person without an address that is proved.
    #[error("no verified address")]
    EmailUnverified,
    /// The address has an account, which this identity does not open.
    #[error("the address has an account already")]
    AccountExists,
    /// The same, and a sign-in link is on its way to the address.
    #[error("the address has an account already, a link was mailed")]
    ProofMailed,
    /// The identity belongs to another account.
    #[error("the identity belongs to another account")]
    IdentityTaken,
    /// A user who was to confirm their identity came back as another one.
    #[error("the identity does not open the account that is signed in")]
    OtherAccount,
    /// The account has another identity of this provider.
    #[error("the account has another identity of this provider")]
    AlreadyLinked,
    /// Only passkeys and recovery codes open the account.
    #[error("only a passkey or a recovery code opens this account")]
    PasskeyOnly,
    /// Another user is signed in than began to link, or the user signed out everywhere meanwhile.
    #[error("the session is not the one that it began with")]
    SessionChanged,
    /// Something of ours does not answer.
    #[error("unavailable")]
    Service,
}

impl ProviderError {
    /// The stable code, which goes into the address of the final page.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Expired => "sign_in_expired",
            Self::Refused(Provider::Google) => "google_refused",
            Self::Refused(Provider::Github) => "github_refused",
            Self::Refused(Provider::Steam) => "steam_refused",
            Self::Unavailable(Provider::Google) => "google_unavailable",
            Self::Unavailable(Provider::Github) => "github_unavailable",
            Self::Unavailable(Provider::Steam) => "steam_unavailable",
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

    /// All of them.
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

    /// The one of that code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::all().find(|error| error.code() == code)
    }
}

impl From<ServiceError> for ProviderError {
    /// Writes the cause to the log: the answer to a person will be a redirect.
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
