//! GitHub or GitHub Enterprise: OAuth 2.0 with PKCE S256, and GitHub's deviations.
//!
//! 1. GitHub reports errors with status 200, so a response without a token is an error.
//! 2. The numeric id identifies the user. Logins can be renamed and taken by others; names are free
//!    text.
//! 3. The address is the one that `/user/emails` lists as primary and verified; the profile's
//!    address is ignored. GitHub Apps have no scopes, so only the request shows whether addresses
//!    are readable: 403 and 404 mean no.
//! 4. `iss` is optional, but if present it must be GitHub's issuer.
//! 5. A noreply address (`…@users.noreply.github.com`) is ignored: it delivers nowhere.
//! 6. The access token is dropped after the sign-in.

use http::header;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::auth::callback::{OauthCallback, code_of};
use crate::auth::outgoing::{Answer, Outgoing, OutgoingError, send};
use crate::auth::provider_error::ProviderError;
use crate::auth::transaction::{Begun, Ended};
use crate::config::GithubSettings;
use crate::domain::email::Email;
use crate::domain::provider::{EmailClaim, Identity, Person, Provider, tidy_avatar_url, tidy_name};

const GITHUB: Provider = Provider::Github;
/// The path of GitHub's issuer identifier in `iss` (RFC 9207).
const ISSUER_PATH: &str = "/login/oauth";
/// Limit on the pages of addresses; no user has that many.
const MAX_EMAIL_PAGES: u32 = 10;

/// Signing in with GitHub.
#[derive(Debug)]
pub struct Github {
    http: Outgoing,
    settings: GithubSettings,
    redirect_uri: String,
}

/// A token response: one of the two fields is set, with status 200 either way.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<SecretString>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
    avatar_url: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

impl Github {
    /// Uses this app's settings; `redirect_uri` must be registered for the app.
    pub fn new(settings: GithubSettings, redirect_uri: String, http: Outgoing) -> Self {
        Self { http, settings, redirect_uri }
    }

    /// The authorization URL, to redirect the browser to.
    ///
    /// # Errors
    /// Never with a validated configuration.
    pub fn authorize_url(&self, begun: &Begun) -> Result<Url, ProviderError> {
        let url = self.settings.url.endpoint("/login/oauth/authorize");
        let mut url = Url::parse(&url).map_err(|_| ProviderError::Unavailable(GITHUB))?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", "read:user user:email")
            .append_pair("state", &begun.state)
            .append_pair("code_challenge", &begun.challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("prompt", "select_account");
        Ok(url)
    }

    /// Identifies the user who returned.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn identify(
        &self,
        callback: &OauthCallback,
        transaction: &Ended,
    ) -> Result<Person, ProviderError> {
        if callback
            .iss
            .as_ref()
            .is_some_and(|issuer| *issuer != self.settings.url.endpoint(ISSUER_PATH))
        {
            tracing::warn!(provider = "github", "another issuer answered");
            return Err(ProviderError::Refused(GITHUB));
        }
        let code = code_of(callback, GITHUB)?;
        let token = self.exchange(code, &transaction.verifier).await?;
        let user: User = self.read("/user", &token).await?.json().map_err(unavailable)?;
        let email = self.email(&token).await?;
        Ok(Person {
            identity: Identity {
                provider: GITHUB,
                issuer: self.settings.url.as_str().to_owned(),
                subject: user.id.to_string(),
            },
            email,
            name: tidy_name(user.name.as_deref().unwrap_or(&user.login)),
            avatar_url: user.avatar_url.as_deref().and_then(tidy_avatar_url),
        })
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Result<SecretString, ProviderError> {
        let form = [
            ("client_id", &*self.settings.client_id),
            ("client_secret", self.settings.client_secret.expose_secret()),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ];
        let url = self.settings.url.endpoint("/login/oauth/access_token");
        let request = self.http.post(&url).header(header::ACCEPT, "application/json").form(&form);
        let answer = send(request).await.map_err(unavailable)?;
        if answer.status.is_server_error() || answer.status.is_redirection() {
            return Err(unavailable_status(&answer));
        }
        let answer: TokenAnswer = answer.json().map_err(unavailable)?;
        match (answer.access_token, answer.error) {
            (Some(token), None) if !token.expose_secret().is_empty() => Ok(token),
            _ => {
                tracing::warn!(provider = "github", "no token for the code");
                Err(ProviderError::Refused(GITHUB))
            }
        }
    }

    async fn email(&self, token: &SecretString) -> Result<EmailClaim, ProviderError> {
        for page in 1..=MAX_EMAIL_PAGES {
            let path = format!("/user/emails?per_page=100&page={page}");
            let answer = match self.read(&path, token).await {
                // The app has no permission to read addresses.
                Err(ProviderError::Refused(_)) => return Ok(EmailClaim::Nothing),
                answer => answer?,
            };
            let addresses: Vec<Address> = answer.json().map_err(unavailable)?;
            if let Some(found) = addresses.iter().find(|address| address.primary) {
                let email = Email::parse(&found.email).ok().filter(|_| found.verified);
                let email = email.filter(|email| !email.is_stand_in());
                return Ok(email.map_or(EmailClaim::Nothing, EmailClaim::Vouched));
            }
            if !has_next_page(&answer) {
                break;
            }
        }
        Ok(EmailClaim::Nothing)
    }

    async fn read(&self, path: &str, token: &SecretString) -> Result<Answer, ProviderError> {
        let request = self
            .http
            .get(&self.settings.api_url.endpoint(path))
            .bearer_auth(token.expose_secret())
            .header(header::ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28");
        let answer = send(request).await.map_err(unavailable)?;
        let limited = answer.headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0");
        match answer.status.as_u16() {
            200 => Ok(answer),
            401 | 403 | 404 if !limited => Err(ProviderError::Refused(GITHUB)),
            _ => Err(unavailable_status(&answer)),
        }
    }
}

fn has_next_page(answer: &Answer) -> bool {
    let links = answer.headers.get(header::LINK).and_then(|links| links.to_str().ok());
    links.is_some_and(|links| links.contains("rel=\"next\""))
}

fn unavailable_status(answer: &Answer) -> ProviderError {
    tracing::warn!(
        provider = "github",
        status = answer.status.as_u16(),
        "the provider cannot be used"
    );
    ProviderError::Unavailable(GITHUB)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: OutgoingError) -> ProviderError {
    tracing::warn!(provider = "github", %error, "the provider cannot be used");
    ProviderError::Unavailable(GITHUB)
}
