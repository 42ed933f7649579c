//! The configuration of an application's sessions.

use std::time::Duration;

use http::HeaderName;

use crate::clock::Clock;
use crate::cookie_rules;
use crate::store::{Budget, FieldName, InvalidFieldName};

/// Lifetime, cookie and budgets. The defaults are safe; override with the methods.
///
/// By default the cookie is `Secure; HttpOnly; SameSite=Lax; Path=/`, for its own host alone, with
/// the `Max-Age` that the session has left. It is always `HttpOnly`.
///
/// [`Sessions::new`](crate::Sessions::new) panics when the attributes contradict each other,
/// because no browser would keep such a cookie:
///
/// 1. `__Host-` needs `Secure`, the path `/` and no domain; `__Secure-` needs `Secure`.
///    `__Host-Http-` and `__Http-` are the same for a cookie that is `HttpOnly`.
/// 2. `SameSite=None` and `Partitioned` need `Secure`.
///
/// ```
/// use std::time::Duration;
/// use tracera_session::SessionConfig;
///
/// # fn main() -> Result<(), tracera_session::InvalidFieldName> {
/// let config = SessionConfig::default()
///     .lifetime(Duration::from_secs(30 * 24 * 3600))
///     .idle_timeout(Some(Duration::from_secs(12 * 3600)))
///     .preload(&["currency"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SessionConfig {
    pub(crate) lifetime: Duration,
    pub(crate) idle: Option<Duration>,
    pub(crate) touch_interval: Duration,
    pub(crate) secure: bool,
    pub(crate) cookie_name: Option<Box<str>>,
    pub(crate) realm: Option<Box<str>>,
    pub(crate) same_site: SameSite,
    pub(crate) domain: Option<Box<str>>,
    pub(crate) path: Option<Box<str>>,
    pub(crate) partitioned: bool,
    pub(crate) token_header: Option<HeaderName>,
    pub(crate) max_sessions: usize,
    pub(crate) budget: Budget,
    pub(crate) preload: Vec<FieldName>,
    pub(crate) near_cache: NearCache,
    pub(crate) clock: Clock,
    #[cfg(feature = "device-binding")]
    pub(crate) device: Option<DeviceBinding>,
}

/// Whether live sessions are kept in memory between requests, so that most requests do not read the
/// store.
///
/// Entries are used only while the store sends invalidations: Redis 6 or newer over RESP3 (`CLIENT
/// TRACKING`), behind Sentinel and on a cluster too, and the embedded store. A session ended on
/// another node is refused here when the invalidation arrives, typically within milliseconds, and
/// in every failure after [`MAX_STALENESS`](crate::MAX_STALENESS). The same holds for
/// [preloaded](SessionConfig::preload) data. A process sees its own writes at once. Writes and
/// [`Session::verify`](crate::Session::verify) never trust the cache. With an idle timeout each
/// touch is a change like any other: once per touch interval the nodes reread a session in use.
///
/// On a cluster, every connection to a primary must answer. While one does not, every request reads
/// the store.
///
/// ```
/// use std::time::Duration;
/// use tracera_session::{NearCache, SessionConfig};
///
/// let near_cache = NearCache::On { capacity: 10_000, max_age: Duration::from_secs(10) };
/// let config = SessionConfig::default().near_cache(near_cache);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NearCache {
    /// Live sessions are kept.
    On {
        /// The maximum number of sessions kept, at about 200 bytes each. A session with
        /// [preloaded](SessionConfig::preload) data counts once for every 256 bytes, so the cache
        /// takes at most about 256 bytes times this number. Default 100,000.
        capacity: usize,
        /// How long an entry is used before it is read again without an invalidation. Default 60 s.
        max_age: Duration,
    },
    /// Every request reads the store.
    Off,
}

/// Which requests of other sites carry the session cookie (RFC 6265bis).
///
/// ```
/// use tracera_session::{SameSite, SessionConfig};
///
/// // For an application inside of frames of other sites.
/// let config = SessionConfig::default().same_site(SameSite::None).partitioned(true);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SameSite {
    /// Only top-level navigation by links.
    #[default]
    Lax,
    /// No request. A visitor who follows a link appears signed out until the next click.
    Strict,
    /// All requests, where the browser allows it, forged ones included. Needs `Secure`.
    None,
}

impl Default for NearCache {
    fn default() -> Self {
        Self::On { capacity: 100_000, max_age: Duration::from_secs(60) }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(72 * 3600),
            idle: None,
            touch_interval: Duration::from_secs(60),
            secure: true,
            cookie_name: None,
            realm: None,
            same_site: SameSite::Lax,
            domain: None,
            path: None,
            partitioned: false,
            token_header: None,
            max_sessions: 100,
            budget: Budget::default(),
            preload: Vec::new(),
            near_cache: NearCache::default(),
            clock: Clock::system(),
            #[cfg(feature = "device-binding")]
            device: None,
        }
    }
}

impl SessionConfig {
    /// How long a session lives after sign-in, whatever happens. Default 72 hours. Whole seconds,
    /// at least one.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Duration::from_secs(lifetime.as_secs().clamp(1, u64::from(u32::MAX)));
        self
    }

    /// How long a session lives without a request. Default: no such limit. The earlier of the two
    /// deadlines counts. At least a second.
    #[must_use]
    pub fn idle_timeout(mut self, idle: Option<Duration>) -> Self {
        self.idle = idle.map(|idle| idle.max(Duration::from_secs(1)));
        self
    }

    /// With an idle timeout: the shortest time between two writes of a session's "last seen".
    /// Default 60 s, and never more than a tenth of the idle timeout.
    #[must_use]
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.touch_interval = interval;
        self
    }

    /// Whether the cookie is `Secure` and, by default, named with the `__Host-` prefix. Default
    /// true; false only for plain http.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// The cookie's exact name, a prefix such as `__Host-` included. Default `__Host-session`, or
    /// `session` when not secure.
    ///
    /// # Panics
    /// If it is no token of RFC 6265: visible ASCII without separators such as `;`, `=` or quotes.
    #[must_use]
    pub fn cookie_name(mut self, name: &str) -> Self {
        assert!(cookie_rules::is_name(name), "{name:?} cannot be a cookie's name");
        self.cookie_name = Some(name.into());
        self
    }

    /// Which requests of other sites carry the cookie. Default [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Sends the cookie to this domain and all its subdomains, each of which can then plant one.
    /// The name must not begin with `__Host-`. Default: to the host alone.
    ///
    /// # Panics
    /// If it is no host name in ASCII.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        assert!(cookie_rules::is_domain(domain), "{domain:?} cannot be a cookie's domain");
        self.domain = Some(domain.into());
        self
    }

    /// Sends the cookie only to paths under this one. This is no security boundary: pages at other
    /// paths can get at it. Default `/`.
    ///
    /// # Panics
    /// If it does not begin with `/` or has characters that end the attribute.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        assert!(cookie_rules::is_path(path), "{path:?} cannot be a cookie's path");
        self.path = Some(path.into());
        self
    }

    /// Whether a site that embeds this one in a frame gets a cookie of its own (`Partitioned`,
    /// CHIPS). Use it with [`SameSite::None`]. Default false.
    #[must_use]
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// The realm of these sessions. Two realms may share a store and secrets. A cookie of one opens
    /// nothing in the other, and neither sees or ends the other's sessions. Default: the cookie's
    /// name without its prefix, so that two names are two realms.
    #[must_use]
    pub fn realm(mut self, realm: &str) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// Takes the session's token from this request header too, for clients without cookies:
    /// `Authorization` with the scheme `Bearer`, or the bare token in any other header. Default:
    /// from the cookie alone.
    ///
    /// 1. The client gets the token from [`Session::bearer_token`](crate::Session::bearer_token),
    ///    in the request that signs in or rotates. It must keep it from scripts of pages.
    /// 2. A request with a valid token in its cookie and another in its header has no session.
    /// 3. A session from a header is answered without `Set-Cookie`.
    /// 4. Browsers send no such header by themselves, so requests with one need no CSRF token. Ask
    ///    [`Session::is_from_header`](crate::Session::is_from_header) where you check them.
    #[must_use]
    pub fn token_header(mut self, name: HeaderName) -> Self {
        self.token_header = Some(name);
        self
    }

    /// The maximum number of live sessions per user. A sign-in beyond it ends the oldest. Default
    /// 100. Thousands make that user's requests slow, because the near-cache searches a user's
    /// sessions one by one.
    #[must_use]
    pub fn max_sessions_per_user(mut self, most: usize) -> Self {
        self.max_sessions = most.max(1);
        self
    }

    /// The maximum amount of data in one session. Default 32 fields and 4096 bytes.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Data fields to fetch together with the session, in the same round trip.
    ///
    /// # Errors
    /// [`InvalidFieldName`] for a name that is not valid.
    pub fn preload(mut self, names: &[&str]) -> Result<Self, InvalidFieldName> {
        self.preload = names.iter().map(|name| FieldName::new(name)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Whether live sessions are kept in memory between requests. Default: on.
    #[must_use]
    pub fn near_cache(mut self, near_cache: NearCache) -> Self {
        self.near_cache = near_cache;
        self
    }

    /// The clock. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Binds sessions to the device that signs in, where the browser can prove it. Mount
    /// [`Sessions::device_routes`](crate::Sessions::device_routes) too. Default: no binding.
    #[cfg(feature = "device-binding")]
    #[must_use]
    pub fn device_binding(mut self, binding: DeviceBinding) -> Self {
        self.device = Some(binding);
        self
    }

    pub(crate) fn effective_cookie_name(&self) -> &str {
        self.cookie_name.as_deref().unwrap_or(if self.secure {
            "__Host-session"
        } else {
            "session"
        })
    }

    /// The minimum age of "last seen" before it is written again.
    pub(crate) fn touch_after(&self, idle: Option<Duration>) -> Option<Duration> {
        idle.map(|idle| self.touch_interval.min(idle / 10))
    }

    /// The realm that is part of tags and keys; empty for the default one.
    pub(crate) fn effective_realm(&self) -> &str {
        match &self.realm {
            Some(realm) => realm,
            None => cookie_rules::without_prefix(self.effective_cookie_name()),
        }
    }
}

/// How sessions are bound to devices, for
/// [`SessionConfig::device_binding`](crate::SessionConfig::device_binding).
///
/// ```
/// use axum::Router;
/// use std::time::Duration;
/// use tracera_session::{DeviceBinding, KeyRing, SessionConfig, SessionLayer, Sessions};
/// # use tracera_session::store::SessionStore;
///
/// # fn app(store: impl SessionStore) -> Router {
/// let binding = DeviceBinding::new(Duration::from_secs(600)).exclude("/assets");
/// let config = SessionConfig::default().device_binding(binding);
/// let sessions = Sessions::new(store, KeyRing::generate(), config);
/// let routes = sessions.device_routes();
/// routes
///     .into_iter()
///     .fold(Router::new(), |router, (path, route)| router.route(path, route))
///     .layer(SessionLayer::new(sessions))
/// # }
/// ```
#[cfg(feature = "device-binding")]
#[derive(Debug, Clone)]
pub struct DeviceBinding {
    pub(crate) proof_lifetime: Duration,
    pub(crate) excluded: Vec<Box<str>>,
}

#[cfg(feature = "device-binding")]
impl DeviceBinding {
    /// The browser proves possession of the key again every `proof_lifetime`, kept between 5
    /// minutes and an hour. Shorter lifetimes would use up Chromium's quota: it signs at most six
    /// times in nine minutes, and renews in the last two minutes of a cookie.
    pub fn new(proof_lifetime: Duration) -> Self {
        let (least, most) = (Duration::from_secs(300), Duration::from_secs(3600));
        Self { proof_lifetime: proof_lifetime.clamp(least, most), excluded: Vec::new() }
    }

    /// A path, with everything below it, whose requests the browser sends without waiting for a
    /// proof. For pages that need no session, such as assets and the sign-in page.
    #[must_use]
    pub fn exclude(mut self, path: &str) -> Self {
        self.excluded.push(path.into());
        self
    }
}

#[cfg(feature = "device-binding")]
impl Default for DeviceBinding {
    /// A proof every 10 minutes.
    fn default() -> Self {
        Self::new(Duration::from_secs(600))
    }
}
