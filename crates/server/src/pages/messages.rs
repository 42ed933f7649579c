//! Notices about the last step: each has a code in the URL and a sentence.

use http::Uri;
use url::form_urlencoded;

use crate::auth::provider_error::ProviderError;
use crate::domain::provider::Provider;

/// The query parameter with the code of a [`Done`].
pub const DONE: &str = "done";
/// The query parameter with the code of a [`Problem`].
pub const ERROR: &str = "error";

/// The query parameter by which a page starts a download.
pub const DOWNLOAD: &str = "download";

/// Whether a URL has a notice about the last step, or starts a download.
pub fn is_said_by(address: &Uri) -> bool {
    let query = address.query().unwrap_or_default();
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    names.any(|name| [DONE, ERROR, DOWNLOAD].contains(&&*name))
}

/// Why the last step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A mailed link or code does not work.
    LinkInvalid,
    /// The page's session has ended.
    SignedOut,
    /// The form's session has expired.
    SessionOver,
    /// The session that was to be ended has already ended.
    SessionGone,
    /// The provider is the account's only sign-in method.
    LastWayIn,
    /// The provider to unlink is not linked.
    NotLinked,
    /// This server does not offer the sign-in method.
    NotConfigured,
    /// Another account has the address.
    EmailTaken,
    /// The typed text is not an e-mail address.
    InvalidEmail,
    /// The typed text is not the phrase that confirms a deletion.
    WrongPhrase,
    /// "Passkey only" needs two passkeys, or one passkey and recovery codes.
    PasskeysMissing,
    /// A token was requested without a name or a scope.
    NoSuchToken,
    /// The account has the maximum number of tokens.
    TooManyTokens,
    /// See [`ProviderError`].
    Provider(ProviderError),
}

impl Problem {
    fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::LinkInvalid,
            Self::SignedOut,
            Self::SessionOver,
            Self::SessionGone,
            Self::LastWayIn,
            Self::NotLinked,
            Self::NotConfigured,
            Self::EmailTaken,
            Self::InvalidEmail,
            Self::WrongPhrase,
            Self::PasskeysMissing,
            Self::NoSuchToken,
            Self::TooManyTokens,
        ];
        own.into_iter().chain(ProviderError::all().map(Self::Provider))
    }

    /// Parses [`Problem::code`].
    pub fn parse(code: &str) -> Option<Self> {
        Self::all().find(|problem| problem.code() == code)
    }

    /// The code in the URL.
    pub fn code(self) -> &'static str {
        match self {
            Self::LinkInvalid => "link_invalid",
            Self::SignedOut => "signed_out",
            Self::SessionOver => "session_over",
            Self::SessionGone => "session_gone",
            Self::LastWayIn => "last_way_in",
            Self::NotLinked => "not_linked",
            Self::NotConfigured => "method_not_configured",
            Self::EmailTaken => "email_taken",
            Self::InvalidEmail => "invalid_email",
            Self::WrongPhrase => "wrong_phrase",
            Self::PasskeysMissing => "passkeys_missing",
            Self::NoSuchToken => "invalid_token_request",
            Self::TooManyTokens => "too_many_tokens",
            Self::Provider(error) => error.code(),
        }
    }

    /// The sentence on the page.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::LinkInvalid => "That link or code no longer works. Ask for a new one below.",
            Self::SignedOut => "You have been signed out on this device. Sign in again to go on.",
            Self::SessionOver => "You were signed out. What you typed is kept: sign in to go on.",
            Self::SessionGone => "That session had ended already.",
            Self::LastWayIn => {
                "That is the only way into your account. Add an e-mail address or link another \
                 method first."
            }
            Self::NotLinked => "That method was not linked any more.",
            Self::NotConfigured => "This server does not offer that way to sign in.",
            Self::EmailTaken => "Another account has this address. Sign in to that one instead.",
            Self::InvalidEmail => "That is not an e-mail address we can write to.",
            Self::WrongPhrase => "Nothing was deleted: the confirmation was not typed as shown.",
            Self::PasskeysMissing => {
                "Passkey only takes two passkeys, or one and recovery codes. Add another one, or \
                 make codes, first."
            }
            Self::NoSuchToken => "A token needs a name, and something that it may do.",
            Self::TooManyTokens => "You have as many API tokens as one may have. Revoke one first.",
            Self::Provider(error) => of_provider(error),
        }
    }
}

/// The sentence for an error code, including unknown codes.
pub fn problem(code: &str) -> &'static str {
    Problem::parse(code).map_or("That did not work. Please try again.", Problem::sentence)
}

fn of_provider(error: ProviderError) -> &'static str {
    use Provider::{Github, Google, Oidc, Steam};
    match error {
        ProviderError::Cancelled => "You cancelled. Nothing has changed.",
        ProviderError::Expired => {
            "That took too long or began in another browser. Please try again."
        }
        ProviderError::Refused(Google) => "Google did not confirm who you are. Please try again.",
        ProviderError::Refused(Github) => "GitHub did not confirm who you are. Please try again.",
        ProviderError::Refused(Steam) => "Steam did not confirm who you are. Please try again.",
        ProviderError::Refused(Oidc) => {
            "The identity provider did not confirm who you are. Please try again."
        }
        ProviderError::Unavailable(Google) => {
            "Google does not answer at the moment. Please try again later."
        }
        ProviderError::Unavailable(Github) => {
            "GitHub does not answer at the moment. Please try again later."
        }
        ProviderError::Unavailable(Steam) => {
            "Steam does not answer at the moment. Please try again later."
        }
        ProviderError::Unavailable(Oidc) => {
            "The identity provider does not answer at the moment. Please try again later."
        }
        ProviderError::EmailUnverified => {
            "Your account there has no verified e-mail address. Verify it there first, or sign in \
             by e-mail."
        }
        ProviderError::AccountExists => {
            "Your e-mail address has an account here already. Sign in the way you did before, then \
             link this one on your account page."
        }
        ProviderError::ProofMailed => {
            "We have mailed you a link to sign in. Opened in this browser, it links that account \
             to yours as well."
        }
        ProviderError::IdentityTaken => {
            "That account opens another Tracera account. Sign in with it and unlink it there, or \
             delete that account if it has no other way in; then link it here."
        }
        ProviderError::OtherAccount => {
            "That opens another account. Confirm with one of the ways into this one, or sign out \
             first."
        }
        ProviderError::AlreadyLinked => {
            "Another account of that provider is linked already. Unlink it first."
        }
        ProviderError::PasskeyOnly => {
            "Only a passkey or a recovery code opens this account, as its owner wanted."
        }
        ProviderError::SessionChanged => "You signed out or in again meanwhile. Please try again.",
        ProviderError::Service => "The service is briefly unavailable. Please try again.",
    }
}

/// The result of the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The user signed out.
    SignedOut,
    /// The account will be deleted.
    DeletionAsked,
    /// The deletion was cancelled.
    Kept,
    /// Nothing happened: a signed-in user opened an already used link of their account.
    AlreadyIn,
    /// The changes were undone.
    Undone,
    /// Another session was ended.
    SessionEnded,
    /// All other sessions were ended.
    OthersEnded,
    /// A provider was linked.
    Linked(Provider),
    /// A provider was unlinked.
    Unlinked,
    /// A link was sent to the new address.
    EmailSent,
    /// The address was changed.
    EmailChanged,
    /// A passkey was added.
    PasskeyAdded,
    /// A passkey was removed.
    PasskeyRemoved,
    /// "Passkey only" was turned on.
    PasskeyOnlyOn,
    /// "Passkey only" was turned off.
    PasskeyOnlyOff,
    /// A token was revoked.
    TokenRevoked,
}

impl Done {
    fn all() -> impl Iterator<Item = Self> {
        let linked = Provider::ALL.into_iter().map(Self::Linked);
        linked.chain([
            Self::SignedOut,
            Self::DeletionAsked,
            Self::Kept,
            Self::AlreadyIn,
            Self::Undone,
            Self::SessionEnded,
            Self::OthersEnded,
            Self::Unlinked,
            Self::EmailSent,
            Self::EmailChanged,
            Self::PasskeyAdded,
            Self::PasskeyRemoved,
            Self::PasskeyOnlyOn,
            Self::PasskeyOnlyOff,
            Self::TokenRevoked,
        ])
    }

    /// Parses [`Done::code`].
    pub fn parse(code: &str) -> Option<Self> {
        Self::all().find(|done| done.code() == code)
    }

    /// The code in the URL.
    pub fn code(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::DeletionAsked => "deletion_asked",
            Self::Kept => "account_kept",
            Self::AlreadyIn => "already_signed_in",
            Self::Undone => "undone",
            Self::SessionEnded => "session_ended",
            Self::OthersEnded => "others_ended",
            Self::Linked(Provider::Google) => "google_linked",
            Self::Linked(Provider::Github) => "github_linked",
            Self::Linked(Provider::Steam) => "steam_linked",
            Self::Linked(Provider::Oidc) => "oidc_linked",
            Self::Unlinked => "unlinked",
            Self::EmailSent => "email_sent",
            Self::EmailChanged => "email_changed",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::PasskeyOnlyOn => "passkey_only_on",
            Self::PasskeyOnlyOff => "passkey_only_off",
            Self::TokenRevoked => "token_revoked",
        }
    }

    /// The sentence on the page.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::SignedOut => "You are signed out.",
            Self::DeletionAsked => {
                "Your account and everything in it will be deleted in 7 days. You are signed out \
                 everywhere. Sign in until then to keep it."
            }
            Self::Kept => "Your account stays, with everything in it.",
            Self::AlreadyIn => "You are signed in. That link has done its work.",
            Self::Undone => {
                "Your account is yours again, and all its sessions have ended. Sign in by mail."
            }
            Self::SessionEnded => "The session is over. Whoever used it is signed out.",
            Self::OthersEnded => "You are signed out everywhere else.",
            Self::Linked(Provider::Google) => "Google is linked.",
            Self::Linked(Provider::Github) => "GitHub is linked.",
            Self::Linked(Provider::Steam) => "Steam is linked.",
            Self::Linked(Provider::Oidc) => "Your account there is linked.",
            Self::Unlinked => "It is no longer linked to your account.",
            Self::EmailSent => {
                "A mail with a link is on its way. Nothing changes before you open it."
            }
            Self::PasskeyAdded => "The passkey is added. It signs you in from now on.",
            Self::PasskeyRemoved => {
                "The passkey is removed, and other sessions that began by a passkey have ended."
            }
            Self::PasskeyOnlyOn => "Only your passkeys and recovery codes open your account now.",
            Self::PasskeyOnlyOff => "Every way in opens your account again.",
            Self::TokenRevoked => "The token is revoked.",
            Self::EmailChanged => "Your address is confirmed.",
        }
    }
}

/// The URL of a page that shows the result.
pub fn after(path: &str, done: Done) -> String {
    format!("{path}?{DONE}={}", done.code())
}

/// The URL of a page that shows the problem.
pub fn after_problem(path: &str, problem: Problem) -> String {
    format!("{path}?{ERROR}={}", problem.code())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_problem_has_a_code_and_a_sentence_of_its_own() {
        let codes: HashSet<_> = Problem::all().map(Problem::code).collect();
        let sentences: HashSet<_> = Problem::all().map(Problem::sentence).collect();
        assert_eq!((codes.len(), sentences.len()), (Problem::all().count(), codes.len()));
        for code in codes {
            assert_eq!(problem(code), Problem::parse(code).unwrap().sentence());
        }
        assert_eq!(Problem::parse("<script>"), None);
        assert_eq!(problem("<script>"), "That did not work. Please try again.");
    }

    #[test]
    fn everything_done_has_a_code_and_a_sentence_of_its_own() {
        let codes: HashSet<_> = Done::all().map(Done::code).collect();
        let sentences: HashSet<_> = Done::all().map(Done::sentence).collect();
        assert_eq!((codes.len(), sentences.len()), (Done::all().count(), codes.len()));
        for done in Done::all() {
            assert_eq!(Done::parse(done.code()), Some(done));
        }
    }
}
