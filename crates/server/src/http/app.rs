//! The state shared by all handlers.

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

/// The shared state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    /// The public origin, used in every absolute link.
    /// Whether sessions are bound to the devices of browsers that can prove theirs.
    pub binds_devices: bool,
    pub base_url: Url,
    /// The security contact: a `mailto:` or `https` URL.
    pub security_contact: Option<String>,
    /// Timeout of a request.
    pub request_timeout: Duration,
    /// Whether every request is logged, rather than only failed and slow ones.
    pub log_all_requests: bool,
    /// The wall clock.
    pub clock: Clock,
    /// The database.
    pub database: Database,
    /// Whether sessions and limits are in Redis rather than in this process.
    pub redis: bool,
    /// The sessions of all users.
    pub sessions: Sessions,
    /// Maximum lifetime of a session.
    pub session_lifetime: Duration,
    /// Idle timeout of a session; `None` if only the lifetime limits it.
    pub session_idle: Option<Duration>,
    /// Sign-in by e-mail; `None` when mail is not configured.
    pub magic_links: Option<MagicLinks>,
    /// Google, GitHub, Steam and one more OpenID Connect issuer.
    pub providers: Arc<Providers>,
    /// Passkeys.
    pub passkeys: Passkeys,
    /// Recovery codes.
    pub recovery_codes: RecoveryCodes,
    /// API tokens.
    pub api_tokens: ApiTokens,
    /// Security events and notices to account owners.
    pub events: SecurityEvents,
    /// The mails sent in `dev` mode, shown at `/dev/mailbox`.
    pub mailbox: Option<Mailbox>,
    /// Imports and prices.
    pub portfolio: Portfolio,
    /// The proxies whose forwarding headers are trusted.
    pub proxies: TrustedProxies,
    /// The limit per client on authentication endpoints.
    pub auth_limit: ClientLimit,
    /// The limit per session on forms that end sessions.
    pub session_limit: RateLimiter,
    /// The origins from which unsafe requests are accepted.
    pub origin: OriginPolicy,
    /// Issues and checks CSRF tokens.
    pub csrf: CsrfGuard,
    /// The open event streams.
    pub streams: Streams,
    /// The running downloads of personal data.
    pub downloads: Streams,
    /// The URL table, for the layers.
    pub endpoints: Endpoints,
    /// Cancelled when the service is asked to stop. From then on the health check fails.
    pub draining: CancellationToken,
    /// Cancelled when the listener stops.
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

    /// The absolute URL of a page.
    pub fn page(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(path);
        url
    }

    /// The sign-in methods that this server offers.
    pub fn sign_in_methods(&self) -> SignInMethods {
        self.providers.sign_in_methods(self.magic_links.is_some())
    }

    /// The state that actions work on.
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

    /// The security headers of every response.
    pub fn security_headers(&self) -> SecurityHeaders {
        SecurityHeaders::new().https(self.is_https())
    }

    /// Combines the parts.
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
