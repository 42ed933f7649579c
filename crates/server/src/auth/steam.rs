//! Steam: an OpenID 2.0 relying party without discovery and associations.
//!
//! 1. The endpoint is the configured one. No value from a callback is ever used as a URL.
//! 2. The response is parsed strictly ([`assertion`]) and forwarded as parsed. It is accepted only
//!    if Steam confirms it, once, by `check_authentication`.
//! 3. The `response_nonce` is reserved before that request. So of concurrent identical callbacks
//!    only one is checked.
//! 4. A missing or unusable response means "unavailable"; only `is_valid:false` is a refusal.

use std::time::Duration;

use http::{StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use url::Url;

use crate::auth::outgoing::{Answer, Outgoing, OutgoingError, send};
use crate::auth::provider_error::ProviderError;
use crate::auth::token::token_hash;
use crate::config::SteamSettings;
use crate::domain::provider::{EmailClaim, Identity, Person, Provider, tidy_avatar_url, tidy_name};
use crate::domain::steam_id::SteamId64;
use crate::store::{Database, transactions};

pub mod assertion;

use assertion::{Assertion, AssertionError};

const STEAM: Provider = Provider::Steam;
const IDENTIFIER_SELECT: &str = "http://specs.openid.net/auth/2.0/identifier_select";
/// How long a nonce is stored: longer than an assertion is accepted.
const NONCE_LIFETIME: Duration = Duration::from_mins(15);

/// Sign-in with Steam.
#[derive(Debug)]
pub struct Steam {
    http: Outgoing,
    database: Database,
    endpoint: String,
    origin: String,
    summaries_url: String,
    api_key: Option<SecretString>,
    realm: String,
}

#[derive(Deserialize)]
struct Summaries {
    response: Players,
}

#[derive(Deserialize)]
struct Players {
    players: Vec<Player>,
}

#[derive(Deserialize)]
struct Player {
    steamid: String,
    personaname: String,
    avatarfull: Option<String>,
}

impl Steam {
    /// Uses these addresses; Steam shows `base_url` to users as the site they sign in to.
    pub fn new(
        settings: &SteamSettings,
        base_url: &Url,
        database: Database,
        http: Outgoing,
    ) -> Self {
        let endpoint = settings.openid_url.as_str().to_owned();
        let url = Url::parse(&endpoint).expect("the configuration has checked the address");
        Self {
            http,
            database,
            origin: url.origin().ascii_serialization(),
            endpoint,
            summaries_url: settings.api_url.endpoint("/ISteamUser/GetPlayerSummaries/v2/"),
            api_key: settings.api_key.clone(),
            realm: base_url.origin().ascii_serialization(),
        }
    }

    /// The URL at Steam, to redirect the browser to. Steam returns it to `callback`.
    ///
    /// # Errors
    /// Never with a validated configuration.
    pub fn authorize_url(&self, callback: &Url, state: &str) -> Result<Url, ProviderError> {
        let mut url = Url::parse(&self.endpoint).map_err(|_| ProviderError::Unavailable(STEAM))?;
        url.query_pairs_mut()
            .append_pair("openid.ns", assertion::NS)
            .append_pair("openid.mode", "checkid_setup")
            .append_pair("openid.return_to", &return_to(callback, state))
            .append_pair("openid.realm", &self.realm)
            .append_pair("openid.identity", IDENTIFIER_SELECT)
            .append_pair("openid.claimed_id", IDENTIFIER_SELECT);
        Ok(url)
    }

    /// Identifies the user from the query of `callback`. The caller has spent the state.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn identify(
        &self,
        query: &str,
        callback: &Url,
        state: &str,
        now: OffsetDateTime,
    ) -> Result<Person, ProviderError> {
        let expected = assertion::Expected {
            endpoint: &self.endpoint,
            identifier_prefix: &format!("{}/openid/id/", self.origin),
            return_to: &return_to(callback, state),
            now,
        };
        let assertion = Assertion::parse(query, &expected).map_err(|error| match error {
            AssertionError::Cancelled => ProviderError::Cancelled,
            error => {
                tracing::warn!(provider = "steam", %error, "an assertion was refused");
                ProviderError::Refused(STEAM)
            }
        })?;
        let nonce_hash = token_hash(assertion.nonce());
        let reserved = transactions::reserve_steam_nonce(
            &self.database,
            &nonce_hash,
            now + NONCE_LIFETIME,
            now,
        )
        .await;
        if !reserved? {
            tracing::warn!(provider = "steam", "an assertion was replayed");
            return Err(ProviderError::Refused(STEAM));
        }
        self.check_authentication(&assertion).await?;
        let id = assertion.steam_id();
        let player = self.summary(id).await;
        Ok(Person {
            identity: Identity {
                provider: STEAM,
                issuer: self.origin.clone(),
                subject: id.digits(),
            },
            email: EmailClaim::Nothing,
            name: player.as_ref().and_then(|player| tidy_name(&player.personaname)),
            avatar_url: player.and_then(|player| tidy_avatar_url(&player.avatarfull?)),
        })
    }

    async fn check_authentication(&self, assertion: &Assertion) -> Result<(), ProviderError> {
        let form = assertion.check_authentication_form();
        let request = || {
            // Steam has rejected requests without these headers.
            self.http
                .post(&self.endpoint)
                .header(header::ORIGIN, &self.origin)
                .header(header::REFERER, format!("{}/", self.origin))
                .form(&form)
        };
        let answer = match send(request()).await {
            // The request did not reach Steam, so the nonce is still unused.
            Err(OutgoingError::Connect(_)) => send(request()).await,
            answer => answer,
        };
        let answer = answer.map_err(|error| {
            tracing::warn!(provider = "steam", %error, "the provider cannot be used");
            ProviderError::Unavailable(STEAM)
        })?;
        match is_valid(&answer) {
            Some(true) => Ok(()),
            Some(false) => {
                tracing::warn!(provider = "steam", "Steam does not confirm the assertion");
                Err(ProviderError::Refused(STEAM))
            }
            None => {
                tracing::warn!(
                    provider = "steam",
                    status = answer.status.as_u16(),
                    "an answer in no known form"
                );
                Err(ProviderError::Unavailable(STEAM))
            }
        }
    }

    /// Name and avatar, if an API key is configured and Steam answers. A failure is ignored.
    async fn summary(&self, id: SteamId64) -> Option<Player> {
        let key = self.api_key.as_ref()?;
        let request = self
            .http
            .get(&format!("{}?steamids={}", self.summaries_url, id.digits()))
            .header("x-webapi-key", key.expose_secret());
        let answer = send(request).await.ok().filter(|answer| answer.status == StatusCode::OK);
        let Some(Ok(summaries)) = answer.map(|answer| answer.json::<Summaries>()) else {
            tracing::warn!(provider = "steam", "no name and picture to be had");
            return None;
        };
        summaries.response.players.into_iter().find(|player| player.steamid == id.digits())
    }
}

fn return_to(callback: &Url, state: &str) -> String {
    format!("{callback}?state={state}")
}

/// The value of `is_valid` in a key-value response; `None` when it has none.
fn is_valid(answer: &Answer) -> Option<bool> {
    if answer.status != StatusCode::OK {
        return None;
    }
    let body = std::str::from_utf8(&answer.body).ok()?;
    let lines = body.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut values = lines.filter_map(|line| line.strip_prefix("is_valid:"));
    match (values.next()?, values.next()) {
        ("true", None) => Some(true),
        ("false", None) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_yes_is_one_exact_line() {
        let said = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            is_valid(&Answer { status, headers: HeaderMap::new(), body: body.to_owned().into() })
        };
        for yes in [
            "ns:http://specs.openid.net/auth/2.0\nis_valid:true\n",
            "is_valid:true\r\nns:http://specs.openid.net/auth/2.0\r\n",
            "is_valid:true",
        ] {
            assert_eq!(said(200, yes), Some(true), "{yes:?}");
        }
        assert_eq!(said(200, "ns:x\nis_valid:false\n"), Some(false));
        for odd in [
            "",
            "xis_valid:true\n",
            "is_valid:trueX\n",
            "is_valid: true\n",
            "is_valid:true \n",
            "IS_VALID:true\n",
            "is_valid:true\nis_valid:false\n",
            "is_valid:true\nis_valid:true\n",
            "is_valid:\n",
            "<html>is_valid:true</html>",
        ] {
            assert_eq!(said(200, odd), None, "{odd:?}");
        }
        for status in [201, 302, 403, 500] {
            assert_eq!(said(status, "is_valid:true\n"), None, "{status}");
        }
    }
}
