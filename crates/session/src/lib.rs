//! Server-side sessions for axum and tower, in Redis or embedded.
//!
//! An ended session stays ended: a request in flight cannot bring it back. Two requests that write
//! do not undo each other. A store that cannot be reached is never mistaken for "signed out". The
//! store holds nothing that could be presented as a cookie.
//!
//! ```
//! use axum::{Router, routing::{get, post}};
//! use tracera_session::{
//!     CurrentUser, EmbeddedStore, KeyRing, Session, SessionConfig, SessionError, SessionLayer,
//!     Sessions, SignIn, UserId,
//! };
//!
//! async fn login(session: Session) -> Result<&'static str, SessionError> {
//!     session.sign_in(SignIn::new(UserId::new("user-42")?, "password")).await?;
//!     Ok("welcome")
//! }
//!
//! async fn me(CurrentUser(user): CurrentUser) -> String {
//!     format!("{user:?}")
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = b"at least 32 bytes from a secret store";
//! let store = EmbeddedStore::in_memory()?; // or RedisStore::connect("redis://127.0.0.1").await?
//! let sessions = Sessions::new(store, KeyRing::new(secret)?, SessionConfig::default());
//! let app: Router = Router::new()
//!     .route("/login", post(login))
//!     .route("/me", get(me))
//!     .layer(SessionLayer::new(sessions));
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! * [`Session`]: the session of one request; an extractor. It is a set of named fields, and a
//!   write carries only the fields that changed. [`CurrentUser`] is the user signed in,
//!   [`RequireAuth`] lets nobody else through.
//! * [`Sessions`]: all sessions of the application: list, revoke one, revoke all of a user.
//! * [`RedisStore`] keeps sessions for any number of processes, [`EmbeddedStore`] for one.
//!   [`store`] explains how to write another [`SessionStore`].
//! * [`NearCache`]: live sessions are kept in memory until the store announces a change. A hot
//!   request does not read the store; [`Session::verify`] does.
//! * [`PrefetchLayer`]: reads sessions ahead of other layers that use the same Redis, to share
//!   their round trip.
//! * [`SessionWatch`]: follows a session beyond its request, so that open streams end with it.
//!   [`UserWatch`] follows all sessions of a user. [`UserLease`] says how long a copy of other data
//!   of theirs may be used.
//! * [`KeyRing`]: the secret that signs cookies, and older ones that still verify. It makes keys
//!   for other uses too, such as those of CSRF tokens.
//!
//! # Rules of use
//!
//! 1. **Plain http needs `SessionConfig::default().secure(false)`.** By default the cookie is
//!    `Secure` and named `__Host-session`, which browsers and curl keep over https only. Many
//!    browsers keep it on `localhost` too, so a forgotten `secure(false)` shows only under another
//!    name.
//! 2. **[`SessionLayer`] goes around what uses it:** [`RequireAuth`] and the extractors inside,
//!    rate limits outside. With `Router::layer` the layer added last is the outermost, with
//!    `tower::ServiceBuilder` the one listed first.
//! 3. **Return the errors.** [`SessionError`] is a response: 401 when nobody is signed in, 503 when
//!    that is not known. An application that turns errors into "signed out" signs people out with
//!    each hiccup of the store.
//! 4. **Call [`Session::sign_in`] where the credential is checked.** The browser's former session
//!    ends with its data. For more rights in the same session call [`Session::rotate`].
//! 5. **A cookie does not stop forged requests:** use CSRF tokens as well, bound to
//!    [`Session::csrf_binding`]. `tracera-guard` makes and checks them, also for visitors.
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `redis` | yes | [`RedisStore`]: Redis, Valkey, Sentinel |
//! | `redis-cluster` | yes | the same for Redis Cluster |
//! | `redis-tls` | yes | URLs with TLS. With the first of them ring becomes the provider of rustls, unless the process has chosen another |
//! | `embedded` | yes | [`EmbeddedStore`]. Needs Rust 1.90, everything else 1.88 |
//! | `device-binding` | no | [`SessionConfig::device_binding`]: a copied cookie alone opens nothing |
//! | `uuid` | no | [`UserId`] from a `Uuid`, and [`CurrentUser`] as one |
//! | `testing` | no | the conformance suite for stores |
//!
//! # A whole application
//!
//! The example `web`, with `tracera-guard` for everything around the session:
//!
//! ```no_run
#![doc = include_str!("../examples/web.rs")]
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]

mod cache;
mod clock;
mod config;
mod cookie;
mod cookie_rules;
#[cfg(feature = "device-binding")]
mod device;
#[cfg(feature = "device-binding")]
mod device_routes;
mod ended;
mod error;
mod info;
mod inner;
mod invalidations;
mod keyring;
mod layer;
pub mod login;
#[cfg(all(test, shuttle))]
mod orders;
mod record;
mod session;
mod session_watch;
mod sessions;
mod snapshot;
pub mod store;
mod sync;
/// The services and futures behind the layers, for code that has to name them.
pub mod middleware {
    pub use crate::layer::prefetch::PrefetchService;
    pub use crate::layer::require_auth::{Predicate, RequireAuthFuture, RequireAuthService};
    pub use crate::layer::{SessionFuture, SessionService};
}
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod update_queue;
mod user_lease;
mod user_watch;
mod watch;

pub use cache::CacheStats;
pub use clock::{Clock, Timestamp};
#[cfg(feature = "device-binding")]
pub use config::DeviceBinding;
pub use config::{NearCache, SameSite, SessionConfig};
#[cfg(feature = "device-binding")]
pub use device::{GRACE, OFFER_LIFETIME};
#[cfg(feature = "device-binding")]
pub use device_routes::{DeviceEvent, DeviceEventKind};
pub use ended::Ended;
pub use error::SessionError;
pub use info::SessionInfo;
pub use invalidations::MAX_STALENESS;
pub use keyring::{KeyError, KeyRing, MIN_SECRET_BYTES};
pub use layer::prefetch::PrefetchLayer;
pub use layer::require_auth::{EveryRequest, RequireAuth};
pub use layer::{CurrentUser, SessionLayer, SessionOf};
pub use record::{Authentication, Epoch};
/// The Redis client of [`RedisConnection`], for code that shares the connection.
#[cfg(feature = "redis")]
pub use redis;
pub use session::sign_in::SignIn;
pub use session::{Finished, Session};
pub use session_watch::SessionWatch;
pub use sessions::Sessions;
#[cfg(feature = "embedded")]
pub use store::embedded::{EmbeddedStore, OpenError};
#[cfg(feature = "redis-tls")]
pub use store::redis::authorities::{InvalidAuthorities, RedisAuthorities};
#[cfg(feature = "redis")]
pub use store::redis::{
    RedisStore,
    connection::RedisConnection,
    error::ConnectError,
    limits::RedisLimits,
    operator::NotReplicated,
    url::{RedisKind, RedisUrl, RedisUrlError},
};
pub use store::{Budget, InvalidFieldName, SessionStore};
pub use token::{Handle, InvalidUserId, OtherUserId, UserId};
pub use user_lease::UserLease;
pub use user_watch::UserWatch;

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../guide/recipes.md")]
mod recipes {}
