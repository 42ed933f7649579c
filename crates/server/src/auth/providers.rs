//! The configured providers behind one interface: redirect a browser, then identify the user who
//! returns.

use time::OffsetDateTime;
use url::Url;

use crate::auth::callback::OauthCallback;
use crate::auth::github::Github;
use crate::auth::oidc::OidcClient;
use crate::auth::outgoing::Outgoing;
use crate::auth::provider_error::ProviderError;
use crate::auth::steam::Steam;
use crate::auth::transaction::{Begun, Ended, Purpose, Transactions};
use crate::config::{Config, OidcSettings};
use crate::domain::provider::{Person, Provider, ProviderNames};
use crate::store::Database;
use crate::store::identities::SignInMethods;

/// The providers of this server, and the transactions with them.
#[derive(Debug)]
pub struct Providers {
    google: Option<OidcClient>,
    oidc: Option<OidcClient>,
    github: Option<Github>,
    steam: Steam,
    base_url: Url,
    names: ProviderNames,
    /// The pending transactions.
    pub transactions: Transactions,
}

impl Providers {
    /// Sets up the configured providers. Steam needs no configuration.
    pub fn new(config: &Config, database: &Database) -> Self {
        let http = Outgoing::new();
        let base_url = &config.http.base_url;
        let redirect_uri = |provider| callback_url(base_url, provider, false).to_string();
        let oidc = |provider, settings: Option<&OidcSettings>| {
            Some(OidcClient::new(provider, settings?, redirect_uri(provider), http.clone()))
        };
        Self {
            google: oidc(Provider::Google, config.auth.google.as_ref()),
            oidc: oidc(Provider::Oidc, config.auth.oidc.as_ref()),
            github: config
                .auth
                .github
                .clone()
                .map(|github| Github::new(github, redirect_uri(Provider::Github), http.clone())),
            steam: Steam::new(&config.steam, base_url, database.clone(), http),
            transactions: Transactions::new(database.clone()),
            base_url: base_url.clone(),
            names: config.auth.provider_names(),
        }
    }

    /// The display names.
    pub fn names(&self) -> &ProviderNames {
        &self.names
    }

    /// Whether the provider is available.
    pub fn is_configured(&self, provider: Provider) -> bool {
        self.client(provider).is_ok()
    }

    /// The available providers.
    pub fn configured(&self) -> impl Iterator<Item = Provider> {
        Provider::ALL.into_iter().filter(|provider| self.is_configured(*provider))
    }

    /// The available sign-in methods; `email` says whether mail can be sent.
    pub fn sign_in_methods(&self, email: bool) -> SignInMethods {
        SignInMethods { email, providers: self.configured().collect() }
    }

    /// The authorization URL, to redirect the browser to.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when the provider is not configured or cannot be reached.
    pub async fn authorize_url(
        &self,
        provider: Provider,
        purpose: &Purpose,
        begun: &Begun,
        now: OffsetDateTime,
    ) -> Result<Url, ProviderError> {
        match self.client(provider)? {
            Client::Oidc(client) => client.authorize_url(begun, now).await,
            Client::Github(github) => github.authorize_url(begun),
            Client::Steam(steam) => {
                let linking = matches!(purpose, Purpose::Link { .. });
                steam.authorize_url(&callback_url(&self.base_url, provider, linking), &begun.state)
            }
        }
    }

    /// Identifies the user from the callback's query, after the transaction has ended.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn identify(
        &self,
        provider: Provider,
        transaction: &Ended,
        callback: &OauthCallback,
        query: &str,
        now: OffsetDateTime,
    ) -> Result<Person, ProviderError> {
        match self.client(provider)? {
            Client::Oidc(client) => client.identify(callback, transaction, now).await,
            Client::Github(github) => github.identify(callback, transaction).await,
            Client::Steam(steam) => {
                let linking = matches!(transaction.purpose, Purpose::Link { .. });
                let address = callback_url(&self.base_url, provider, linking);
                let state = callback.state.as_deref().unwrap_or_default();
                steam.identify(query, &address, state, now).await
            }
        }
    }

    fn client(&self, provider: Provider) -> Result<Client<'_>, ProviderError> {
        let client = match provider {
            Provider::Google => self.google.as_ref().map(Client::Oidc),
            Provider::Oidc => self.oidc.as_ref().map(Client::Oidc),
            Provider::Github => self.github.as_ref().map(Client::Github),
            Provider::Steam => Some(Client::Steam(&self.steam)),
        };
        client.ok_or(ProviderError::Unavailable(provider))
    }
}

/// One that is configured.
enum Client<'a> {
    Oidc(&'a OidcClient),
    Github(&'a Github),
    Steam(&'a Steam),
}

/// The callback URL of a provider. Steam has a separate one for linking.
fn callback_url(base_url: &Url, provider: Provider, linking: bool) -> Url {
    let mut url = base_url.clone();
    url.set_path(match (provider, linking) {
        (Provider::Google, _) => "/api/v1/auth/google/callback",
        (Provider::Oidc, _) => "/api/v1/auth/oidc/callback",
        (Provider::Github, _) => "/api/v1/auth/github/callback",
        (Provider::Steam, false) => "/api/v1/auth/steam/login/callback",
        (Provider::Steam, true) => "/api/v1/auth/steam/callback",
    });
    url
}
