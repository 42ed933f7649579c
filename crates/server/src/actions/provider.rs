//! Signing in with a provider, and linking one: the redirect there and the return.

use std::sync::Arc;

use time::OffsetDateTime;
use tracera_session::{Session, SessionError};
use uuid::Uuid;

use crate::actions::linking;
use crate::actions::redemption::{self, Turn};
use crate::actions::sign_in::{SignInMethod, SignedIn, sign_in};
use crate::actions::{Accounts, ActionError, Caller, REAUTH_WINDOW, require_recent, user_id};
use crate::auth::accounts::{self as rules, Entry};
use crate::auth::callback::OauthCallback;
use crate::auth::client::ClientInfo;
use crate::auth::events::Kind;
use crate::auth::magic_link::{MagicLinks, Requester};
use crate::auth::provider_error::ProviderError;
use crate::auth::providers::Providers;
use crate::auth::token::token_hash;
use crate::auth::transaction::{Ended, LIFETIME, Leaving, Purpose, Spent};
use crate::domain::email::Email;
use crate::domain::provider::{Identity, Provider};
use crate::store::magic_links::WaitingIdentity;
use crate::store::redemptions::{Redemption, RedemptionKey};
use crate::store::users;
use crate::store::{identities, passkeys};
use crate::telemetry::metrics;
use crate::telemetry::task::run_to_completion;

/// The redirect of a browser to a provider.
pub struct Departure {
    /// The URL at the provider.
    pub url: String,
    /// The value of the transaction cookie, which identifies the browser on return.
    pub browser: String,
}

/// Why no redirect was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginRefusal {
    /// See [`super::NotRecent`]. Only when linking.
    NotRecent,
    /// The provider is not configured on this server.
    NotConfigured,
    /// The provider is unavailable.
    Provider(ProviderError),
}

/// Starts a sign-in with a provider.
///
/// # Errors
/// [`BeginRefusal`].
pub async fn begin(
    accounts: &Accounts,
    providers: &Providers,
    provider: Provider,
    leaving: Leaving,
) -> Result<Departure, ActionError<BeginRefusal>> {
    depart(accounts, providers, provider, &Purpose::SignIn, leaving).await
}

/// Starts a confirmation: the caller proves at a provider that they still use their session.
///
/// # Errors
/// [`BeginRefusal`].
pub async fn begin_confirming(
    accounts: &Accounts,
    providers: &Providers,
    caller: &Caller,
    provider: Provider,
    leaving: Leaving,
) -> Result<Departure, ActionError<BeginRefusal>> {
    let binding = caller.session.binding().ok_or(SessionError::Unauthenticated)?;
    let purpose = Purpose::Confirm { user: caller.user, session_hash: token_hash(binding) };
    depart(accounts, providers, provider, &purpose, leaving).await
}

/// Starts linking a provider to the caller's account.
///
/// # Errors
/// [`BeginRefusal`].
pub async fn begin_linking(
    accounts: &Accounts,
    providers: &Providers,
    caller: &Caller,
    provider: Provider,
    leaving: Leaving,
) -> Result<Departure, ActionError<BeginRefusal>> {
    require_recent(&caller.session, BeginRefusal::NotRecent).await?;
    let binding = caller.session.binding().ok_or(SessionError::Unauthenticated)?;
    let purpose = Purpose::Link { user: caller.user, session_hash: token_hash(binding) };
    depart(accounts, providers, provider, &purpose, leaving).await
}

async fn depart(
    accounts: &Accounts,
    providers: &Providers,
    provider: Provider,
    purpose: &Purpose,
    leaving: Leaving,
) -> Result<Departure, ActionError<BeginRefusal>> {
    if !providers.is_configured(provider) {
        return Err(ActionError::Refused(BeginRefusal::NotConfigured));
    }
    let now = accounts.now();
    let begun = providers.transactions.begin(provider, purpose, leaving, now).await?;
    match providers.authorize_url(provider, purpose, &begun, now).await {
        Ok(url) => Ok(Departure { url: url.into(), browser: begun.browser }),
        Err(error) => Err(ActionError::Refused(BeginRefusal::Provider(error))),
    }
}

/// A browser that returns from a provider.
pub struct Arrival {
    /// The session of the browser, if it has one.
    pub session: Session,
    /// The browser.
    pub client: ClientInfo,
    /// The value of the transaction cookie.
    pub browser: Option<String>,
    /// The query of the callback.
    pub query: String,
    /// The provider of the callback's path.
    pub provider: Provider,
    /// Whether the callback's path is for linking; `None` where the path is shared.
    pub linking: Option<bool>,
}

/// The successful outcome.
#[derive(Debug)]
pub enum Arrived {
    /// The user is signed in.
    SignedIn(SignedIn),
    /// The provider is linked.
    Linked,
}

/// The outcome of a return, and the page to continue on.
pub struct Finished {
    /// Whether a transaction of this browser matches.
    pub is_known: bool,
    /// The page to return to, stored when the browser left.
    pub return_to: Option<String>,
    /// The outcome.
    pub outcome: Result<Arrived, ProviderError>,
}

/// The code of a successful link in the stored outcome.
const LINKED: &str = "linked";

/// Ends the transaction of a returned browser. If the same browser returns again within some
/// seconds, it gets the same outcome.
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
        let (Some(state), Some(browser)) = (&callback.state, &self.arrival.browser) else {
            return self.unknown(ProviderError::Expired);
        };
        let key =
            RedemptionKey { proof_hash: token_hash(state), browser_hash: token_hash(browser) };
        match redemption::take_turn(&self.accounts, &key).await {
            Ok(Turn::First) => self.finish_first(&key, &callback, state, browser).await,
            Ok(Turn::Repeat(redemption)) => self.repeat(&key, redemption).await,
            Ok(Turn::Nothing) => self.unknown(ProviderError::Expired),
            Err(error) => self.unknown(error.into()),
        }
    }

    async fn finish_first(
        &self,
        key: &RedemptionKey,
        callback: &OauthCallback,
        state: &str,
        browser: &str,
    ) -> Finished {
        let spent = match self.providers.transactions.spend(state, browser).await {
            Ok(Some(spent)) => spent,
            nothing => {
                redemption::abandon(&self.accounts, key).await;
                return self.unknown(nothing.err().map_or(ProviderError::Expired, Into::into));
            }
        };
        let return_to = spent.return_to().map(ToOwned::to_owned);
        let outcome = self.proceed(spent, callback).await;
        let (code, user_id) = match &outcome {
            Ok(Arrived::SignedIn(entered)) => (redemption::SIGNED_IN, Some(entered.user.id)),
            Ok(Arrived::Linked) => (LINKED, None),
            Err(error) => (error.code(), None),
        };
        let session = self.arrival.session.info().map(|info| info.handle.to_string());
        let kept = Redemption {
            outcome: Some(code.to_owned()),
            user_id,
            session: session.filter(|_| user_id.is_some()),
            return_to: return_to.clone(),
        };
        redemption::conclude(&self.accounts, key, &kept).await;
        Finished { is_known: true, return_to, outcome }
    }

    async fn repeat(&self, key: &RedemptionKey, redemption: Redemption) -> Finished {
        let Arrival { session, client, .. } = &self.arrival;
        let outcome = match redemption.outcome.as_deref() {
            Some(redemption::SIGNED_IN) => {
                let again =
                    redemption::sign_in_again(&self.accounts, session, key, &redemption, client);
                match again.await {
                    Ok(Some(entered)) => Ok(Arrived::SignedIn(entered)),
                    Ok(None) => Err(ProviderError::Expired),
                    Err(error) => Err(error.into()),
                }
            }
            Some(LINKED) => Ok(Arrived::Linked),
            code => Err(code.and_then(ProviderError::parse).unwrap_or(ProviderError::Expired)),
        };
        Finished { is_known: true, return_to: redemption.return_to, outcome }
    }

    /// Logs that the callback matches no transaction.
    fn unknown(&self, error: ProviderError) -> Finished {
        Finished { is_known: false, return_to: None, outcome: Err(self.stray(error)) }
    }

    fn method(&self) -> &'static str {
        self.arrival.provider.as_str()
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
            Purpose::Confirm { user, session_hash } => {
                let entered = self.confirm(&transaction, callback, *user, session_hash).await;
                if entered.is_err() {
                    self.record(*user, Kind::SignInFailed).await;
                }
                entered.map(Arrived::SignedIn)
            }
            Purpose::Link { user, session_hash } => {
                let linked = self.link(&transaction, callback, *user, session_hash).await;
                if let Err(error) = linked {
                    let code = error.code();
                    tracing::warn!(event = "link_failed", %user, method, code,
                        "nothing was linked");
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

    /// Logs that the callback matches no transaction.
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
            Entry::ProofNeeded { email, owner } => {
                if let Some(owner) = &owner {
                    self.record(owner.id, Kind::SignInFailed).await;
                }
                let identity = person.identity;
                Err(self
                    .ask_for_proof(email, owner.is_some(), identity, transaction.is_own)
                    .await?)
            }
        }
    }

    /// Mails the address a sign-in link, unless somebody is signed in. In this browser the link
    /// also links the identity, if the sign-in began on a page of this server. Another site may
    /// have signed the browser in at the provider as somebody else.
    async fn ask_for_proof(
        &self,
        email: Email,
        has_account: bool,
        identity: Identity,
        is_own: bool,
    ) -> Result<ProviderError, ProviderError> {
        let Arrival { session, client, browser, .. } = &self.arrival;
        let (Some(links), Err(_)) = (&self.links, session.user()) else {
            return Ok(if has_account {
                ProviderError::AccountExists
            } else {
                ProviderError::EmailUnverified
            });
        };
        let browser = browser.as_deref().filter(|_| is_own);
        let waiting =
            browser.map(|browser| WaitingIdentity { identity, browser_hash: token_hash(browser) });
        // No code is sent: it would work in this browser, which may belong to someone else.
        let requester = Requester { browser: None, client, waiting: waiting.as_ref() };
        links.request(email, &requester, self.now()).await?;
        Ok(ProviderError::ProofMailed)
    }

    /// Confirms the signed-in user. It never signs in another account or creates one.
    async fn confirm(
        &self,
        transaction: &Ended,
        callback: &OauthCallback,
        user: Uuid,
        session_hash: &[u8; 32],
    ) -> Result<SignedIn, ProviderError> {
        let Arrival { session, client, query, provider, .. } = &self.arrival;
        let database = &self.accounts.database;
        self.require_binding(user, session_hash)?;
        let now = self.now();
        let person = self.providers.identify(*provider, transaction, callback, query, now).await?;
        if identities::owner(database, &person.identity).await? != Some(user) {
            return Err(ProviderError::OtherAccount);
        }
        if passkeys::is_passkey_only(database, user).await? {
            return Err(ProviderError::PasskeyOnly);
        }
        let owner = users::find_by_id(database, user).await?;
        let owner = owner.ok_or(ProviderError::SessionChanged)?;
        let by = SignInMethod::Identity(&person.identity);
        Ok(sign_in(&self.accounts, session, owner, by, client).await?)
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
        // Checked again, because the request to the provider takes time.
        self.require_session(user, session_hash).await?;
        let linked_at = self.now();
        if rules::link(database, user, &person.identity, linked_at).await? {
            // Checked once more, because the mailbox owner may have ended the session meanwhile.
            if let Err(ended) = self.require_session(user, session_hash).await {
                rules::undo_link(database, user, &person.identity).await?;
                return Err(ended);
            }
            linking::tell_linked(&self.accounts, user, *provider, client, linked_at).await?;
        }
        Ok(())
    }

    /// Requires that this is the session that began the link, and that the session store still has
    /// it.
    async fn require_session(
        &self,
        user: Uuid,
        session_hash: &[u8; 32],
    ) -> Result<(), ProviderError> {
        self.require_binding(user, session_hash)?;
        self.arrival
            .session
            .require_fresh(REAUTH_WINDOW + LIFETIME)
            .await
            .map_err(|_| ProviderError::SessionChanged)
    }

    fn require_binding(&self, user: Uuid, session_hash: &[u8; 32]) -> Result<(), ProviderError> {
        let session = &self.arrival.session;
        let present = session.user().ok().and_then(|id| user_id(&id).ok());
        let binding = session.binding().map(token_hash);
        if present != Some(user) || binding.as_ref() != Some(session_hash) {
            return Err(ProviderError::SessionChanged);
        }
        Ok(())
    }

    async fn record(&self, user: Uuid, kind: Kind) {
        self.accounts.record(user, kind, Some(self.method()), &self.arrival.client).await;
    }

    fn now(&self) -> OffsetDateTime {
        self.accounts.now()
    }
}
