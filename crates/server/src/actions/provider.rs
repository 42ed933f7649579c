//! To a provider and back: signing in with it, and linking it.

use std::sync::Arc;

use time::OffsetDateTime;
use tracera_session::Session;
use uuid::Uuid;

use crate::actions::sign_in::{SignInMethod, SignedIn, sign_in};
use crate::actions::{Accounts, ActionError, REAUTH_WINDOW, user_id};
use crate::auth::accounts::{self as rules, Entry};
use crate::auth::callback::OauthCallback;
use crate::auth::client::ClientInfo;
use crate::auth::events::{Kind, Notice};
use crate::auth::magic_link::{MagicLinks, Requester};
use crate::auth::provider_error::ProviderError;
use crate::auth::providers::Providers;
use crate::auth::token::token_hash;
use crate::auth::transaction::{Ended, LIFETIME, Purpose, Spent};
use crate::domain::provider::Provider;
use crate::store::passkeys;
use crate::store::users::{self, User};
use crate::telemetry::metrics;
use crate::telemetry::task::run_to_completion;

/// A browser is on its way to a provider.
pub struct Departure {
    /// Where it goes.
    pub url: String,
    /// For the transaction cookie, by which the browser is known when it comes back.
    pub browser: String,
}

/// Why nobody was sent to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginRefusal {
    /// See [`super::NotRecent`]. Only when linking.
    NotRecent,
    /// This server does not use the provider.
    NotConfigured,
    /// The provider cannot be used now.
    Provider(ProviderError),
}

/// Begins to sign in with a provider.
///
/// # Errors
/// [`BeginRefusal`].
pub async fn begin(
    accounts: &Accounts,
    providers: &Providers,
    provider: Provider,
) -> Result<Departure, ActionError<BeginRefusal>> {
    depart(accounts, providers, provider, &Purpose::SignIn).await
}

pub(super) async fn depart(
    accounts: &Accounts,
    providers: &Providers,
    provider: Provider,
    purpose: &Purpose,
) -> Result<Departure, ActionError<BeginRefusal>> {
    if !providers.is_configured(provider) {
        return Err(ActionError::Refused(BeginRefusal::NotConfigured));
    }
    let now = accounts.now();
    let begun = providers.transactions.begin(provider, purpose, now).await?;
    match providers.authorize_url(provider, purpose, &begun, now).await {
        Ok(url) => Ok(Departure { url: url.into(), browser: begun.browser }),
        Err(error) => Err(ActionError::Refused(BeginRefusal::Provider(error))),
    }
}

/// Somebody has come back from a provider.
pub struct Arrival {
    /// The session of the browser, if it has one.
    pub session: Session,
    /// The browser.
    pub client: ClientInfo,
    /// What its transaction cookie holds.
    pub browser: Option<String>,
    /// The query it came with.
    pub query: String,
    /// By whose address it came.
    pub provider: Provider,
    /// Whether it came to link; `None` where the address does not tell.
    pub linking: Option<bool>,
}

/// What became of it.
#[derive(Debug)]
pub enum Arrived {
    /// Somebody is in.
    SignedIn(SignedIn),
    /// The provider is linked.
    Linked,
}

/// What became of it, and whether the transaction was spent by it: what has none leaves others
/// alone.
pub struct Finished {
    /// Whether the browser's transaction was spent.
    pub spent: bool,
    /// What became of it.
    pub outcome: Result<Arrived, ProviderError>,
}

/// Ends the transaction of somebody who has come back.
pub async fn finish(
    accounts: Accounts,
    providers: Arc<Providers>,
    links: Option<MagicLinks>,
    arrival: Arrival,
) -> Finished {
    let returning = Returning { accounts, providers, links, arrival };
    run_to_completion(async move { returning.finish().await }).await
}

struct Returning {
    accounts: Accounts,
    providers: Arc<Providers>,
    links: Option<MagicLinks>,
    arrival: Arrival,
}

impl Returning {
    async fn finish(self) -> Finished {
        let callback = OauthCallback::parse(&self.arrival.query);
        match self.spend(&callback).await {
            Ok(spent) => Finished { spent: true, outcome: self.proceed(spent, &callback).await },
            Err(error) => Finished { spent: false, outcome: Err(self.stray(error)) },
        }
    }

    fn method(&self) -> &'static str {
        self.arrival.provider.as_str()
    }

    async fn spend(&self, callback: &OauthCallback) -> Result<Spent, ProviderError> {
        let (Some(state), Some(browser)) = (&callback.state, &self.arrival.browser) else {
            return Err(ProviderError::Expired);
        };
        let spent = self.providers.transactions.spend(state, browser).await?;
        spent.ok_or(ProviderError::Expired)
    }

    async fn proceed(
        &self,
        spent: Spent,
        callback: &OauthCallback,
    ) -> Result<Arrived, ProviderError> {
        let transaction = self.end(spent, callback).map_err(|error| self.stray(error))?;
        let method = self.method();
        match &transaction.purpose {
            Purpose::SignIn => {
                let entered = self.sign_in(&transaction, callback).await;
                entered.map(Arrived::SignedIn).inspect_err(|error| {
                    let code = error.code();
                    tracing::warn!(event = "sign_in_failed", method, code, "nobody was signed in");
                    metrics::tried_to_sign_in(method, "failed");
                })
            }
            Purpose::Link { user, session_hash } => {
                let linked = self.link(&transaction, callback, *user, session_hash).await;
                if let Err(error) = linked {
                    let code = error.code();
                    tracing::warn!(event = "link_failed", %user, method, code, "nothing was linked");
                    self.record(*user, Kind::LinkFailed).await;
                }
                linked.map(|()| Arrived::Linked)
            }
        }
    }

    fn end(&self, spent: Spent, callback: &OauthCallback) -> Result<Ended, ProviderError> {
        let Arrival { provider, linking, .. } = self.arrival;
        let ended = spent.end(provider, self.now())?;
        let is_link = matches!(ended.purpose, Purpose::Link { .. });
        if linking.is_some_and(|linking| linking != is_link) {
            return Err(ProviderError::Expired);
        }
        if callback.repeated {
            return Err(ProviderError::Refused(provider));
        }
        Ok(ended)
    }

    /// Says in the log that nothing was begun that this belongs to.
    fn stray(&self, error: ProviderError) -> ProviderError {
        let (method, code) = (self.method(), error.code());
        tracing::warn!(
            event = "callback_refused",
            method,
            code,
            "a callback fits nothing that was begun"
        );
        metrics::tried_to_sign_in(method, "stray");
        error
    }

    async fn sign_in(
        &self,
        transaction: &Ended,
        callback: &OauthCallback,
    ) -> Result<SignedIn, ProviderError> {
        let Arrival { session, client, query, provider, .. } = &self.arrival;
        let now = self.now();
        let person = self.providers.identify(*provider, transaction, callback, query, now).await?;
        match rules::enter(&self.accounts.database, &person, self.now()).await? {
            Entry::Open(user) => {
                if passkeys::is_passkey_only(&self.accounts.database, user.id).await? {
                    self.record(user.id, Kind::SignInFailed).await;
                    return Err(ProviderError::PasskeyOnly);
                }
                let by = SignInMethod::Identity(&person.identity);
                Ok(sign_in(&self.accounts, session, user, by, client).await?)
            }
            Entry::ProofNeeded(owner) => {
                self.record(owner.id, Kind::SignInFailed).await;
                Err(self.ask_for_proof(owner).await?)
            }
        }
    }

    /// Mails the owner of the address a link to sign in, unless somebody is signed in already.
    async fn ask_for_proof(&self, owner: User) -> Result<ProviderError, ProviderError> {
        let Arrival { session, client, .. } = &self.arrival;
        let (Some(links), Some(email), Err(_)) = (&self.links, owner.email, session.user()) else {
            return Ok(ProviderError::AccountExists);
        };
        // No code: it would be for this browser, which may be anybody's.
        let requester = Requester { browser: None, client };
        links.request(email, &requester, self.now()).await?;
        Ok(ProviderError::ProofMailed)
    }

    async fn link(
        &self,
        transaction: &Ended,
        callback: &OauthCallback,
        user: Uuid,
        session_hash: &[u8; 32],
    ) -> Result<(), ProviderError> {
        let Arrival { client, query, provider, .. } = &self.arrival;
        let (database, now) = (&self.accounts.database, self.now());
        self.require_session(user, session_hash).await?;
        let person = self.providers.identify(*provider, transaction, callback, query, now).await?;
        // Again, because the provider may have taken its time.
        self.require_session(user, session_hash).await?;
        if rules::link(database, user, &person, self.now()).await? {
            // And once more, because the owner of the mailbox may have come and ended it.
            if let Err(ended) = self.require_session(user, session_hash).await {
                rules::undo_link(database, user, &person).await?;
                return Err(ended);
            }
            tracing::info!(event = "linked", %user, method = self.method(), "linked");
            self.record(user, Kind::Linked).await;
            let owner = users::find_by_id(database, user).await?;
            let email = owner.and_then(|owner| owner.email);
            self.accounts.notify(email.as_ref(), &Notice::Linked(*provider), client);
        }
        Ok(())
    }

    /// The session that began to link has to be this one, and alive by the store's own account.
    async fn require_session(
        &self,
        user: Uuid,
        session_hash: &[u8; 32],
    ) -> Result<(), ProviderError> {
        let session = &self.arrival.session;
        let present = session.user().ok().and_then(|id| user_id(&id).ok());
        let binding = session.binding().map(token_hash);
        if present != Some(user) || binding.as_ref() != Some(session_hash) {
            return Err(ProviderError::SessionChanged);
        }
        session
            .require_fresh(REAUTH_WINDOW + LIFETIME)
            .await
            .map_err(|_| ProviderError::SessionChanged)
    }

    async fn record(&self, user: Uuid, kind: Kind) {
        self.accounts.record(user, kind, Some(self.method()), &self.arrival.client).await;
    }

    fn now(&self) -> OffsetDateTime {
        self.accounts.now()
    }
}
