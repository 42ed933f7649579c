//! OpenID Connect, by discovery: Google and one more issuer.
//!
//! 1. All endpoints come from the discovery document of the configured issuer, whose `issuer` must
//!    match exactly.
//! 2. The flow is authorization code with PKCE S256, state and nonce. The client authenticates by
//!    `client_secret_basic`; by `client_secret_post` only if the issuer lists nothing else (OpenID
//!    Connect Discovery 1.0, 3).
//! 3. The discovery document and the keys are cached. A token signed with an unknown key causes one
//!    more fetch of the keys.
//! 4. If the ID token has no address, or does not say whether it is verified, the userinfo endpoint
//!    is asked. Its `sub` must equal the token's.
//! 5. Google runs the mailboxes of gmail.com and of Workspace domains (`hd`). It has only verified
//!    other addresses once, like any other issuer. An issuer on a loopback address counts as
//!    Google, for development and tests.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::auth::callback::{OauthCallback, code_of};
use crate::auth::id_token::{self, Claims, Expected, IdTokenError, KeySet};
use crate::auth::outgoing::{Answer, LIMIT, Outgoing, OutgoingError, send};
use crate::auth::provider_error::ProviderError;
use crate::auth::transaction::{Begun, Ended};
use crate::config::{OidcSettings, ServiceUrl};
use crate::domain::email::Email;
use crate::domain::provider::{EmailClaim, Identity, Person, Provider, tidy_avatar_url, tidy_name};

const GOOGLES_ISSUER: &str = "https://accounts.google.com";
/// Cache lifetime of the discovery document.
const DISCOVERY_LIFETIME: Duration = Duration::from_hours(1);
/// Minimum and maximum cache lifetime of keys, whatever the issuer's `Cache-Control` says.
const KEYS_LIFETIME: std::ops::RangeInclusive<u64> = 60..=86_400;
/// How long an unresponsive issuer is not asked again. Counted from the request, hence longer than
/// [`LIMIT`].
const SILENCE: Duration = LIMIT.saturating_add(Duration::from_secs(5));

/// Sign-in with one OpenID Connect issuer.
#[derive(Debug)]
pub struct OidcClient {
    provider: Provider,
    http: Outgoing,
    issuer: String,
    /// Whether the issuer is Google or its stand-in, and so counts as running Google's mailboxes.
    runs_mailboxes: bool,
    client_id: String,
    client_secret: SecretString,
    redirect_uri: String,
    /// Locked during a fetch, so that concurrent sign-ins cause only one.
    discovery: Mutex<Option<Kept<Discovery>>>,
    keys: Mutex<Option<Kept<KeySet>>>,
    /// No request is sent before this time, in Unix seconds.
    silent_until: AtomicI64,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    value: T,
    until: OffsetDateTime,
}

#[derive(Clone, Debug, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    id_token: SecretString,
}

impl OidcClient {
    /// Uses this client's settings; `redirect_uri` must be registered at the issuer.
    pub fn new(
        provider: Provider,
        settings: &OidcSettings,
        redirect_uri: String,
        http: Outgoing,
    ) -> Self {
        let issuer = &settings.issuer;
        Self {
            provider,
            http,
            issuer: issuer.as_str().to_owned(),
            runs_mailboxes: provider == Provider::Google
                && (issuer.as_str() == GOOGLES_ISSUER || issuer.is_loopback()),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            redirect_uri,
            discovery: Mutex::new(None),
            keys: Mutex::new(None),
            silent_until: AtomicI64::new(0),
        }
    }

    /// The authorization URL, to redirect the browser to.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when discovery fails.
    pub async fn authorize_url(
        &self,
        begun: &Begun,
        now: OffsetDateTime,
    ) -> Result<Url, ProviderError> {
        let discovery = self.discover(now).await?;
        let mut url = Url::parse(&discovery.authorization_endpoint)
            .map_err(|_| ProviderError::Unavailable(self.provider))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", "openid email profile")
            .append_pair("state", &begun.state)
            .append_pair("nonce", &begun.nonce)
            .append_pair("code_challenge", &begun.challenge)
            .append_pair("code_challenge_method", "S256");
        // Other issuers may refuse unknown parameters.
        if self.issuer == GOOGLES_ISSUER {
            url.query_pairs_mut().append_pair("prompt", "select_account");
        }
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
        now: OffsetDateTime,
    ) -> Result<Person, ProviderError> {
        let discovery = self.discover(now).await?;
        match &callback.iss {
            Some(issuer) if *issuer != discovery.issuer => {
                return Err(self.refused("another issuer answered"));
            }
            None if discovery.authorization_response_iss_parameter_supported => {
                return Err(self.refused("the answer names no issuer"));
            }
            _ => {}
        }
        let code = code_of(callback, self.provider)?;
        let tokens = self.exchange(&discovery, code, &transaction.verifier).await?;
        let mut claims = self.verify(&discovery, &tokens, &transaction.nonce, now).await?;
        if let (true, Some(endpoint)) = (claims.lack_address(), &discovery.userinfo_endpoint) {
            claims = self.complete(claims, endpoint, &tokens.access_token).await?;
        }
        let email = self.email_claim(&claims);
        Ok(Person {
            email,
            name: claims.name.as_deref().and_then(tidy_name),
            avatar_url: claims.picture.as_deref().and_then(tidy_avatar_url),
            identity: Identity {
                provider: self.provider,
                issuer: self.issuer.clone(),
                subject: claims.sub,
            },
        })
    }

    fn email_claim(&self, claims: &Claims) -> EmailClaim {
        let Some(email) = claims.email.as_deref().and_then(|email| Email::parse(email).ok()) else {
            tracing::info!(provider = self.provider.as_str(), "the issuer names no address");
            return EmailClaim::Nothing;
        };
        if !claims.email_is_verified() {
            // Google verifies what it can. Many others say `false` of everybody.
            let believed = self.provider == Provider::Google && claims.tell_whether_verified();
            let provider = self.provider.as_str();
            tracing::info!(provider, "the issuer does not say that it has verified the address");
            return if believed { EmailClaim::Nothing } else { EmailClaim::Claimed(email) };
        }
        let workspace = claims.hd.as_deref().is_some_and(|domain| !domain.is_empty());
        if self.runs_mailboxes && (workspace || email.domain() == "gmail.com") {
            EmailClaim::Authoritative(email)
        } else {
            EmailClaim::Vouched(email)
        }
    }

    async fn exchange(
        &self,
        discovery: &Discovery,
        code: &str,
        verifier: &str,
    ) -> Result<TokenAnswer, ProviderError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ];
        let secret = self.client_secret.expose_secret();
        let methods = discovery.token_endpoint_auth_methods_supported.as_deref();
        let basic = methods.is_none_or(|it| it.iter().any(|it| it == "client_secret_basic"));
        let mut request = self.http.post(&discovery.token_endpoint);
        if basic {
            // Both parts are form-encoded first (RFC 6749, 2.3.1).
            let encoded = |part: &str| byte_serialize(part.as_bytes()).collect::<String>();
            request = request.basic_auth(encoded(&self.client_id), Some(encoded(secret)));
        } else {
            form.extend([("client_id", &*self.client_id), ("client_secret", secret)]);
        }
        let answer = send(request.form(&form)).await.map_err(|error| self.unavailable(&error))?;
        if answer.status.is_client_error() && answer.status != http::StatusCode::TOO_MANY_REQUESTS {
            let error = error_code(&answer).unwrap_or_default();
            let provider = self.provider.as_str();
            tracing::warn!(provider, error, "the token endpoint refused the code");
            return Err(ProviderError::Refused(self.provider));
        }
        if !answer.status.is_success() {
            let (provider, status) = (self.provider.as_str(), answer.status.as_u16());
            tracing::warn!(provider, status, "no token");
            return Err(ProviderError::Unavailable(self.provider));
        }
        answer.json().map_err(|_| self.refused("the token answer has no tokens"))
    }

    /// Completes the claims of the ID token from the userinfo endpoint.
    async fn complete(
        &self,
        claims: Claims,
        endpoint: &str,
        access_token: &SecretString,
    ) -> Result<Claims, ProviderError> {
        let request = self.http.get(endpoint).bearer_auth(access_token.expose_secret());
        let answer = send(request).await.map_err(|error| self.unavailable(&error))?;
        let told = answer.status.is_success().then(|| answer.json::<Claims>());
        match told {
            Some(Ok(told)) if told.sub == claims.sub => Ok(claims.completed_by(told)),
            Some(Ok(_)) => Err(self.refused("the userinfo endpoint speaks of somebody else")),
            _ => Err(self.unavailable_because("its userinfo endpoint gives no claims")),
        }
    }

    async fn verify(
        &self,
        discovery: &Discovery,
        tokens: &TokenAnswer,
        nonce: &str,
        now: OffsetDateTime,
    ) -> Result<Claims, ProviderError> {
        let mut issuers = vec![&*self.issuer];
        if self.issuer == GOOGLES_ISSUER {
            // Google also uses this form, which predates the standard.
            issuers.push("accounts.google.com");
        }
        let expected = Expected {
            issuers: &issuers,
            client_id: &self.client_id,
            nonce,
            access_token: tokens.access_token.expose_secret(),
            now: now.unix_timestamp(),
        };
        let token = tokens.id_token.expose_secret();
        let mut keys = self.keys.lock().await;
        let mut known = match &*keys {
            Some(kept) if now < kept.until => kept.value.clone(),
            _ => self.fetch_keys(discovery, &mut keys, now).await?,
        };
        let mut verdict = id_token::verify(token, &known, &expected);
        if verdict == Err(IdTokenError::UnknownKey) {
            known = self.fetch_keys(discovery, &mut keys, now).await?;
            verdict = id_token::verify(token, &known, &expected);
        }
        verdict.map_err(|error| {
            let provider = self.provider.as_str();
            tracing::warn!(provider, %error, "an ID token was refused");
            ProviderError::Refused(self.provider)
        })
    }

    async fn fetch_keys(
        &self,
        discovery: &Discovery,
        keys: &mut Option<Kept<KeySet>>,
        now: OffsetDateTime,
    ) -> Result<KeySet, ProviderError> {
        let answer = self.fetch(&discovery.jwks_uri, now).await?;
        let Some(Ok(value)) = answer.status.is_success().then(|| KeySet::parse(&answer.body))
        else {
            return Err(self.unavailable_because("its keys cannot be read"));
        };
        let until = now + Duration::from_secs(max_age(&answer.headers));
        *keys = Some(Kept { value: value.clone(), until });
        Ok(value)
    }

    /// Callers that waited for an unresponsive issuer fail together with the first one, instead of
    /// retrying one after the other.
    async fn fetch(&self, url: &str, now: OffsetDateTime) -> Result<Answer, ProviderError> {
        if now.unix_timestamp() < self.silent_until.load(Ordering::Relaxed) {
            return Err(ProviderError::Unavailable(self.provider));
        }
        send(self.http.get(url)).await.map_err(|error| {
            if matches!(error, OutgoingError::TimedOut(_)) {
                self.silent_until.store((now + SILENCE).unix_timestamp(), Ordering::Relaxed);
            }
            self.unavailable(&error)
        })
    }

    /// Whether discovery works.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when it fails; the log has the reason.
    pub async fn check(&self, now: OffsetDateTime) -> Result<(), ProviderError> {
        self.discover(now).await.map(drop)
    }

    async fn discover(&self, now: OffsetDateTime) -> Result<Discovery, ProviderError> {
        let mut discovery = self.discovery.lock().await;
        if let Some(kept) = discovery.as_ref().filter(|kept| now < kept.until) {
            return Ok(kept.value.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let answer = self.fetch(&url, now).await?;
        let value: Discovery = match answer.status.is_success().then(|| answer.json()) {
            Some(Ok(value)) => value,
            _ => return Err(self.unavailable_because("its discovery document cannot be read")),
        };
        if value.issuer != self.issuer {
            return Err(self.unavailable_because("its discovery document is of another issuer"));
        }
        let endpoints = [&value.authorization_endpoint, &value.token_endpoint, &value.jwks_uri];
        let endpoints = endpoints.into_iter().chain(&value.userinfo_endpoint);
        let all_acceptable = { endpoints }.all(|url| ServiceUrl::is_acceptable(url));
        if !all_acceptable {
            return Err(self
                .unavailable_because("its discovery document names an address that is not https"));
        }
        *discovery = Some(Kept { value: value.clone(), until: now + DISCOVERY_LIFETIME });
        Ok(value)
    }

    fn refused(&self, why: &'static str) -> ProviderError {
        tracing::warn!(provider = self.provider.as_str(), why, "a sign-in was refused");
        ProviderError::Refused(self.provider)
    }

    fn unavailable_because(&self, why: &'static str) -> ProviderError {
        tracing::warn!(provider = self.provider.as_str(), why, "the provider cannot be used");
        ProviderError::Unavailable(self.provider)
    }

    fn unavailable(&self, error: &OutgoingError) -> ProviderError {
        tracing::warn!(provider = self.provider.as_str(), %error, "the provider cannot be used");
        ProviderError::Unavailable(self.provider)
    }
}

/// The `error` of a response (RFC 6749, 5.2), if it has the form of such a code.
fn error_code(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let Refusal { error } = answer.json().ok()?;
    let plain = error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (plain && error.len() <= 64).then_some(error)
}

fn max_age(headers: &http::HeaderMap) -> u64 {
    let control = headers
        .get(http::header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let seconds =
        control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    seconds.unwrap_or(3600).clamp(*KEYS_LIFETIME.start(), *KEYS_LIFETIME.end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_google_runs_mailboxes_and_not_all_it_knows() {
        use Provider::{Google, Oidc};
        crate::tls::install_provider();
        for (provider, issuer, email, hd, runs_it) in [
            (Google, GOOGLES_ISSUER, "a@gmail.com", None, true),
            (Google, GOOGLES_ISSUER, "a@corp.example", Some("corp.example"), true),
            (Google, GOOGLES_ISSUER, "a@corp.example", None, false),
            (Google, GOOGLES_ISSUER, "a@corp.example", Some(""), false),
            (Google, GOOGLES_ISSUER, "a@gmail.com.example", None, false),
            (Google, "https://id.example", "a@gmail.com", None, false),
            (Google, "https://id.example", "a@corp.example", Some("corp.example"), false),
            (Google, "https://accounts.google.com.example", "a@gmail.com", None, false),
            (Google, "http://localhost:4010", "a@gmail.com", None, true),
            (Oidc, "http://localhost:4010", "a@gmail.com", None, false),
            (Oidc, GOOGLES_ISSUER, "a@corp.example", Some("corp.example"), false),
        ] {
            let settings = OidcSettings {
                name: "An issuer".to_owned(),
                client_id: "id".to_owned(),
                client_secret: "secret".into(),
                issuer: ServiceUrl::loopback(issuer),
            };
            let client = OidcClient::new(provider, &settings, String::new(), Outgoing::new());
            let claims = json!({ "sub": "1", "email": email, "email_verified": true, "hd": hd });
            let claims: Claims = serde_json::from_value(claims).unwrap();
            let parsed = Email::parse(email).unwrap();
            let expected = if runs_it {
                EmailClaim::Authoritative(parsed)
            } else {
                EmailClaim::Vouched(parsed)
            };
            assert_eq!(client.email_claim(&claims), expected, "{provider} {issuer} {email} {hd:?}");
        }
    }
}
