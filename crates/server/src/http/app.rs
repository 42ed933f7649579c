//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracera_guard::{
    ClientLimit, CsrfGuard, OriginPolicy, RateLimiter, SecurityHeaders, TrustedProxies,
};
use tracera_session::{Clock, Sessions};
use url::Url;

use crate::actions::Accounts;
use crate::auth::api_tokens::ApiTokens;
use crate::auth::events::SecurityEvents;
use crate::auth::magic_link::MagicLinks;
use crate::auth::passkeys::Passkeys;
use crate::auth::providers::Providers;
use crate::auth::recovery_codes::RecoveryCodes;
use crate::clock::utc;
use crate::http::endpoint::Endpoints;
use crate::http::error::{AppError, AppResult};
use crate::http::event_stream::Streams;
use crate::mail::dev::Mailbox;
use crate::portfolio::Portfolio;
use crate::store::Database;
use crate::store::identities::SignInMethods;

/// What all handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    /// The public origin, source of every absolute link.
    pub base_url: Url,
    /// Whom to tell of a weakness: a `mailto:` or https address.
    pub security_contact: Option<String>,
    /// The longest a request may take.
    pub request_timeout: Duration,
    /// Whether every request has a line in the log, rather than those that failed or took long.
    pub log_all_requests: bool,
    /// The wall clock.
    pub clock: Clock,
    /// Users and magic links.
    pub database: Database,
    /// Whether sessions and limits live in Redis rather than in this process.
    pub redis: bool,
    /// Everybody's sessions.
    pub sessions: Sessions,
    /// How long a session lasts at most.
    pub session_lifetime: Duration,
    /// How long it lasts without use; `None` for as long as that.
    pub session_idle: Option<Duration>,
    /// Sign-in by e-mail; `None` when no mail can be sent.
    pub magic_links: Option<MagicLinks>,
    /// Google, GitHub and Steam.
    pub providers: Arc<Providers>,
    /// Passkeys.
    pub passkeys: Passkeys,
    /// Codes for when passkeys are lost.
    pub recovery_codes: RecoveryCodes,
    /// What programs present instead of a session.
    pub api_tokens: ApiTokens,
    /// What the owners of accounts are told.
    pub events: SecurityEvents,
    /// The mails of `dev`, readable at `/dev/mailbox`.
    pub mailbox: Option<Mailbox>,
    /// Imports and prices.
    pub portfolio: Portfolio,
    /// Whose forwarding headers are believed.
    pub proxies: TrustedProxies,
    /// How often one client may call the authentication endpoints.
    pub auth_limit: ClientLimit,
    /// How often one session may post a form that ends sessions.
    pub session_limit: RateLimiter,
    /// Where unsafe requests may come from.
    pub origin: OriginPolicy,
    /// Issues and checks CSRF tokens.
    pub csrf: CsrfGuard,
    /// The open event streams.
    pub streams: Streams,
    /// The downloads of all of a person's data that are going on.
    pub downloads: Streams,
    /// The URL table as the layers know it.
    pub endpoints: Endpoints,
    /// Cancelled when the service is asked to stop: from then on it says that it is not well.
    pub draining: CancellationToken,
    /// Cancelled when it stops listening.
    pub stopping: CancellationToken,
}

impl App {
    /// Whether the public origin is https.
    pub fn is_https(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// The time now.
    pub fn now(&self) -> OffsetDateTime {
        utc(self.clock.now())
    }

    /// The absolute address of a page.
    pub fn page(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(path);
        url
    }

    /// The ways in this server offers.
    pub fn sign_in_methods(&self) -> SignInMethods {
        self.providers.sign_in_methods(self.magic_links.is_some())
    }

    /// What actions work on.
    pub fn accounts(&self) -> Accounts {
        Accounts {
            database: self.database.clone(),
            sessions: self.sessions.clone(),
            events: self.events.clone(),
            portfolio: self.portfolio.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Sign-in by e-mail.
    ///
    /// # Errors
    /// 404 `method_not_configured` when this server sends no mail.
    pub fn mailed_links(&self) -> AppResult<&MagicLinks> {
        self.magic_links.as_ref().ok_or_else(|| {
            AppError::new(
                StatusCode::NOT_FOUND,
                "method_not_configured",
                "this server does not send mail; its operator has to set SMTP_URL or \
                 RESEND_API_KEY",
            )
        })
    }

    /// What every answer carries.
    pub fn security_headers(&self) -> SecurityHeaders {
        SecurityHeaders::new().https(self.is_https())
    }

    /// An application of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
