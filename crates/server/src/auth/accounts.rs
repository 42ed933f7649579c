//! Decides which account an identity signs in to. docs/sign-in.md has a table row for each rule:
//!
//! 1. A linked identity signs in to its account, whatever the provider claims about addresses.
//! 2. An address alone signs in to nothing. If an account has it already, or the provider has not
//!    verified it, a link is mailed there. The link also links the identity, in the browser where
//!    the sign-in began.
//! 3. A new user needs a verified address. Steam provides none, so its users get an account without
//!    one.
//! 4. An identity is never moved from one account to another.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::provider_error::ProviderError;
use crate::domain::email::Email;
use crate::domain::provider::{EmailClaim, Identity, Person, Provider};
use crate::store::Database;
use crate::store::identities::{self, Creation, Linking, NewAccount};
use crate::store::users::{self, User};

/// The decision about a sign-in.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Signs in to this account.
    SignIn(Uuid),
    /// Creates an account with this address. The provider is set if it vouches for the address
    /// without running the mailbox.
    Create(Option<(Email, Option<Provider>)>),
    /// The address has an account or is unverified, so the user must first prove the mailbox.
    AskForProof(Email),
    /// There is no verified address, so no account is created.
    RefuseUnverified,
}

/// The rules for signing in. `owner` has the identity linked; `account_of_address` has the claimed
/// address.
pub fn decide(
    provider: Provider,
    email: &EmailClaim,
    owner: Option<Uuid>,
    account_of_address: Option<Uuid>,
) -> Decision {
    if let Some(owner) = owner {
        return Decision::SignIn(owner);
    }
    let (email, vouched_by) = match email {
        EmailClaim::Nothing if provider == Provider::Steam => return Decision::Create(None),
        EmailClaim::Nothing => return Decision::RefuseUnverified,
        // The same whether or not there is an account, which strangers are not to learn.
        EmailClaim::Claimed(email) => return Decision::AskForProof(email.clone()),
        EmailClaim::Vouched(email) => (email, Some(provider)),
        EmailClaim::Authoritative(email) => (email, None),
    };
    match account_of_address {
        Some(_) => Decision::AskForProof(email.clone()),
        None => Decision::Create(Some((email.clone(), vouched_by))),
    }
}

/// The result of a sign-in.
#[derive(Debug)]
pub enum Entry {
    /// Signs in to this account, new or existing.
    Open(User),
    /// [`Decision::AskForProof`]: the user must first prove this mailbox.
    ProofNeeded {
        /// The mailbox.
        email: Email,
        /// The account with this address, if the provider has verified the address.
        owner: Option<User>,
    },
}

/// Finds or creates the account for a sign-in.
///
/// # Errors
/// [`ProviderError::EmailUnverified`], [`ProviderError::Service`].
pub async fn enter(
    database: &Database,
    person: &Person,
    now: OffsetDateTime,
) -> Result<Entry, ProviderError> {
    // A concurrent request may take the identity or the address between the reads and the write.
    // The second pass sees its result.
    for _ in 0..2 {
        let owner = identities::owner(database, &person.identity).await?;
        let holder = match &person.email {
            EmailClaim::Vouched(email) | EmailClaim::Authoritative(email) => {
                users::find_by_email(database, email).await?
            }
            EmailClaim::Nothing | EmailClaim::Claimed(_) => None,
        };
        let provider = person.identity.provider;
        match decide(provider, &person.email, owner, holder.as_ref().map(|user| user.id)) {
            Decision::SignIn(id) => {
                if let Some(user) = users::find_by_id(database, id).await? {
                    return Ok(Entry::Open(user));
                }
            }
            Decision::AskForProof(email) => {
                return Ok(Entry::ProofNeeded { email, owner: holder });
            }
            Decision::RefuseUnverified => return Err(ProviderError::EmailUnverified),
            Decision::Create(email) => {
                let account = NewAccount {
                    identity: &person.identity,
                    email: email.as_ref().map(|(email, vouched_by)| (email, *vouched_by)),
                    name: person.name.as_deref(),
                    avatar_url: person.avatar_url.as_deref(),
                };
                if let Creation::Created(user) =
                    identities::create_account(database, &account, now).await?
                {
                    return Ok(Entry::Open(user));
                }
            }
        }
    }
    Err(ProviderError::Service)
}

/// Links the identity to the account; `true` if it was not linked before.
///
/// # Errors
/// [`ProviderError::IdentityTaken`], [`ProviderError::AlreadyLinked`], [`ProviderError::Service`].
pub async fn link(
    database: &Database,
    user: Uuid,
    identity: &Identity,
    now: OffsetDateTime,
) -> Result<bool, ProviderError> {
    match identities::link(database, user, identity, now).await? {
        Linking::Linked => Ok(true),
        Linking::AlreadyTheirs => Ok(false),
        Linking::Taken => Err(ProviderError::IdentityTaken),
        Linking::HasAnother => Err(ProviderError::AlreadyLinked),
    }
}

/// Undoes [`link`].
///
/// # Errors
/// [`ProviderError::Service`].
pub async fn undo_link(
    database: &Database,
    user: Uuid,
    identity: &Identity,
) -> Result<(), ProviderError> {
    Ok(identities::undo_link(database, user, identity).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_as_a_table() {
        use Decision::{AskForProof, Create, RefuseUnverified, SignIn};
        use Provider::{Github, Google, Oidc, Steam};
        let email = Email::parse("a@example.com").unwrap();
        let vouched = || EmailClaim::Vouched(email.clone());
        let claimed = || EmailClaim::Claimed(email.clone());
        let runs_it = || EmailClaim::Authoritative(email.clone());
        let (me, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let create = |by: Option<Provider>| Create(Some((email.clone(), by)));
        for (provider, claim, owner, holder, decision) in [
            // Nobody has linked the identity: the address decides.
            (Google, runs_it(), None, None, create(None)),
            (Google, vouched(), None, None, create(Some(Google))),
            (Github, vouched(), None, None, create(Some(Github))),
            (Google, runs_it(), None, Some(other), AskForProof(email.clone())),
            (Google, vouched(), None, Some(other), AskForProof(email.clone())),
            (Github, vouched(), None, Some(other), AskForProof(email.clone())),
            (Oidc, vouched(), None, None, create(Some(Oidc))),
            (Oidc, vouched(), None, Some(other), AskForProof(email.clone())),
            (Oidc, claimed(), None, None, AskForProof(email.clone())),
            (Oidc, claimed(), None, Some(other), AskForProof(email.clone())),
            (Oidc, EmailClaim::Nothing, None, None, RefuseUnverified),
            (Google, EmailClaim::Nothing, None, None, RefuseUnverified),
            (Github, EmailClaim::Nothing, None, None, RefuseUnverified),
            (Steam, EmailClaim::Nothing, None, None, Create(None)),
            // Somebody has linked the identity: nothing else counts.
            (Google, runs_it(), Some(me), None, SignIn(me)),
            (Google, runs_it(), Some(me), Some(me), SignIn(me)),
            (Google, runs_it(), Some(me), Some(other), SignIn(me)),
            (Google, vouched(), Some(me), Some(other), SignIn(me)),
            (Google, EmailClaim::Nothing, Some(me), None, SignIn(me)),
            (Oidc, claimed(), Some(me), Some(other), SignIn(me)),
            (Github, vouched(), Some(me), None, SignIn(me)),
            (Github, vouched(), Some(me), Some(me), SignIn(me)),
            (Github, vouched(), Some(me), Some(other), SignIn(me)),
            (Github, EmailClaim::Nothing, Some(me), None, SignIn(me)),
            (Steam, EmailClaim::Nothing, Some(me), None, SignIn(me)),
        ] {
            let decided = decide(provider, &claim, owner, holder);
            assert_eq!(decided, decision, "{provider} {claim:?} {owner:?} {holder:?}");
        }
    }
}
