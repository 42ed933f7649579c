//! JSON of an account's data, shared by the API and the download of personal data.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use time::OffsetDateTime;
use tracera_session::{Handle, SessionInfo};
use uuid::Uuid;

use crate::auth::api_token::ApiToken;
use crate::auth::authenticators;
use crate::auth::client::{Client, shown_address};
use crate::auth::passkeys::PASSKEY;
use crate::clock::utc;
use crate::domain::scope::Scopes;
use crate::store::events::Event;
use crate::store::passkeys::Passkey;
use crate::store::portfolio::snapshots::Snapshot;
use crate::store::tokens::StoredToken;
use crate::store::users::User;

/// A user.
#[derive(Serialize)]
pub struct UserBody {
    id: Uuid,
    email: Option<String>,
    name: Option<String>,
    avatar_url: Option<String>,
    role: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email.map(|email| email.to_string()),
            name: user.name,
            avatar_url: user.avatar_url,
            role: user.role.as_str(),
            created_at: user.created_at,
        }
    }
}

/// A session as shown to its user.
#[derive(Serialize)]
pub struct SessionBody {
    handle: String,
    device: Option<String>,
    browser: Option<String>,
    ip: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    method: Option<String>,
    /// Whether the authenticator verified the user. Every accepted passkey requires it.
    user_verified: bool,
    current: bool,
    /// Whether the session works only on the device that signed in.
    device_bound: bool,
}

impl SessionBody {
    /// `current` is the handle of the requesting session.
    pub fn new(session: SessionInfo, current: Option<Handle>, device_bound: bool) -> Self {
        let client = Client::from_label(&session.client);
        let method = session.authentication.map(|proof| proof.method.into());
        Self {
            handle: session.handle.to_string(),
            device: client.device,
            browser: client.browser,
            ip: session.address.map(shown_address),
            created_at: utc(session.created),
            last_seen_at: utc(session.last_seen),
            expires_at: utc(session.expires),
            user_verified: method.as_deref() == Some(PASSKEY),
            method,
            current: current == Some(session.handle),
            device_bound,
        }
    }
}

/// A passkey as shown to its owner.
#[derive(Serialize)]
pub struct PasskeyBody {
    id: Uuid,
    name: String,
    authenticator: Option<&'static str>,
    credential_id: String,
    backed_up: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
}

impl From<Passkey> for PasskeyBody {
    fn from(passkey: Passkey) -> Self {
        Self {
            id: passkey.id,
            authenticator: authenticators::name(&passkey.aaguid),
            credential_id: URL_SAFE_NO_PAD.encode(passkey.credential_id),
            name: passkey.name,
            backed_up: passkey.backed_up,
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
        }
    }
}

/// A token as shown to its owner.
#[derive(Serialize)]
pub struct TokenBody {
    id: Uuid,
    name: String,
    scopes: Vec<&'static str>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
    /// Set only in the response that creates the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<StoredToken> for TokenBody {
    fn from(token: StoredToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: Scopes::parse(&token.scopes).names().collect(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            token: None,
        }
    }
}

impl TokenBody {
    /// Adds the token itself, for the response that creates it.
    #[must_use]
    pub fn with_secret(self, token: &ApiToken) -> Self {
        Self { token: Some(token.expose().to_owned()), ..self }
    }
}

/// A security event as shown to its owner.
#[derive(Serialize)]
pub struct EventBody {
    id: i64,
    event: String,
    method: Option<String>,
    about: Option<String>,
    device: String,
    ip: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            event: event.kind,
            method: event.method,
            about: event.about,
            device: event.device,
            ip: Some(event.ip).filter(|ip| !ip.is_empty()),
            at: event.at,
        }
    }
}

/// A portfolio's value at one time.
#[derive(Serialize)]
pub struct ValueBody<'a> {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    day: Option<&'a str>,
    total_value: i64,
    currency: &'a str,
    item_count: i64,
    unpriced_items: i64,
    price_source: Option<&'a str>,
}

impl<'a> ValueBody<'a> {
    /// Converts a snapshot.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            at: snapshot.taken_at,
            day: snapshot.day.as_deref(),
            total_value: snapshot.total_cents,
            currency: &snapshot.currency,
            item_count: snapshot.items,
            unpriced_items: snapshot.unpriced_items,
            price_source: Some(&*snapshot.price_source).filter(|source| !source.is_empty()),
        }
    }
}
