//! Why a sign-in or a link by a provider came to nothing: a code in the address of the page it ends
//! on, and there a sentence.

use http::StatusCode;

use crate::domain::provider::Provider;
use crate::http::error::AppError;

/// Why. Tells the person what to do; says nothing of what a provider wrote.
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
    #[error("{0} is unavailable")]
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
    /// The account has another identity of this provider.
    #[error("the account has another identity of this provider")]
    AlreadyLinked,
    /// Who is signed in is not who began to link, or signed out everywhere while signing in.
    #[error("the session is not the one that it began with")]
    SessionChanged,
    /// Something of ours does not answer.
    #[error("unavailable")]
    Service,
}

impl ProviderError {
    /// The stable code.
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
            Self::AlreadyLinked => "already_linked",
            Self::SessionChanged => "session_changed",
            Self::Service => "unavailable",
        }
    }

    /// What a page says of a code; `None` for a code that is not ours.
    pub fn sentence(code: &str) -> Option<&'static str> {
        Some(match code {
            "cancelled" => "You cancelled. Nothing has changed.",
            "sign_in_expired" => {
                "That took too long or began in another browser. Please try again."
            }
            "google_refused" => "Google did not confirm who you are. Please try again.",
            "github_refused" => "GitHub did not confirm who you are. Please try again.",
            "steam_refused" => "Steam did not confirm who you are. Please try again.",
            "google_unavailable" => "Google does not answer at the moment. Please try again later.",
            "github_unavailable" => "GitHub does not answer at the moment. Please try again later.",
            "steam_unavailable" => "Steam does not answer at the moment. Please try again later.",
            "email_unverified" => {
                "Your account there has no verified e-mail address. Verify it there first, or sign in by e-mail."
            }
            "account_exists" => {
                "Your e-mail address has an account here already. Sign in the way you did before, then link this one on your account page."
            }
            "proof_mailed" => {
                "Your e-mail address has an account here already. We have mailed you a link to sign in; after that you can link this one on your account page."
            }
            "identity_taken" => {
                "That account opens another Tracera account. Sign in with it and unlink it there, or delete that account if it has no other way in; then link it here."
            }
            "already_linked" => {
                "Another account of that provider is linked already. Unlink it first."
            }
            "session_changed" => "You signed out or in again meanwhile. Please try again.",
            "unavailable" => "The service is briefly unavailable. Please try again.",
            _ => return None,
        })
    }
}

impl From<AppError> for ProviderError {
    /// The cause goes to the log here, for the answer will be a redirect.
    fn from(error: AppError) -> Self {
        error.log();
        match error.status() {
            // `sign_in_superseded`
            StatusCode::CONFLICT => Self::SessionChanged,
            _ => Self::Service,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_sentence_of_its_own() {
        let providers = Provider::ALL.into_iter();
        let mut all: Vec<ProviderError> = providers
            .flat_map(|provider| {
                [ProviderError::Refused(provider), ProviderError::Unavailable(provider)]
            })
            .collect();
        all.extend([
            ProviderError::Cancelled,
            ProviderError::Expired,
            ProviderError::EmailUnverified,
            ProviderError::AccountExists,
            ProviderError::ProofMailed,
            ProviderError::IdentityTaken,
            ProviderError::AlreadyLinked,
            ProviderError::SessionChanged,
            ProviderError::Service,
        ]);
        let sentences: std::collections::HashSet<_> =
            all.iter().map(|failure| ProviderError::sentence(failure.code()).unwrap()).collect();
        assert_eq!(sentences.len(), all.len());
        assert_eq!(ProviderError::sentence("<script>"), None);
    }
}
