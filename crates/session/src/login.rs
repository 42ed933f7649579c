//! The application's users behind their sessions.
//!
//! 1. A [`Users`] source loads a user by id, at most once per request and only where a handler
//!    extracts it.
//! 2. An error of the source is an error, 503, never "signed out".
//! 3. A user who is gone is signed out: 401.
//! 4. A user's [stamp](Users::stamp) is recorded at the sign-in. When it changes, with the password
//!    for instance, every older session ends at its next request.
//! 5. [`login_required`] redirects people to the sign-in page, with the address they requested, and
//!    answers programs with 401.
//!    [`permission_required`] asks for a permission too.
//!
//! ```
//! use axum::{Router, routing::{get, post}};
//! use tracera_session::login::{LoggedIn, Login, LoginLayer, Users, login_required};
//! use tracera_session::*;
//!
//! #[derive(Clone)]
//! struct User { name: String, password_hash: String }
//!
//! #[derive(Clone)]
//! struct Database;
//!
//! impl Users for Database {
//!     type User = User;
//!     type Error = std::io::Error;
//!
//!     async fn load(&self, id: &UserId) -> Result<Option<User>, Self::Error> {
//!         // SELECT … WHERE id = $1
//!         Ok(Some(User { name: id.to_string(), password_hash: "$argon2id$…".into() }))
//!     }
//!
//!     fn stamp(&self, user: &User) -> Option<String> {
//!         Some(user.password_hash.clone())
//!     }
//! }
//!
//! async fn login(mut login: Login<Database>) -> Result<(), SessionError> {
//!     let ada = UserId::new("ada")?; // once the password was right
//!     let user = login.users.load(&ada).await.map_err(|error| SessionError::Users(error.into()))?;
//!     let user = user.ok_or(SessionError::Unauthenticated)?;
//!     login.sign_in(&user, SignIn::new(ada, "password")).await
//! }
//!
//! async fn account(LoggedIn(user): LoggedIn<User>) -> String {
//!     user.name
//! }
//!
//! async fn home(user: Option<LoggedIn<User>>) -> String {
//!     user.map_or("please sign in".into(), |LoggedIn(user)| user.name)
//! }
//!
//! fn app(sessions: Sessions) -> Router {
//!     Router::new()
//!         .route("/account", get(account))
//!         .route_layer(login_required("/login"))
//!         .route("/", get(home))
//!         .route("/login", post(login))
//!         .layer(LoginLayer::new(Database))
//!         .layer(SessionLayer::new(sessions))
//! }
//! ```

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use sha2::{Digest, Sha256};
use tower::{Layer, Service};

use crate::error::SessionError;
use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::token::UserId;

mod extractors;
mod required;
#[cfg(all(test, feature = "embedded"))]
mod tests;

pub use extractors::{LoggedIn, Login};
pub use required::{login_required, permission_required, return_target};

/// The data field of a session that keeps the stamp. [Preload](crate::SessionConfig::preload) it to
/// compare without a round trip.
pub const STAMP_FIELD: &str = "login.stamp";

/// The source of users.
///
/// ```
/// use tracera_session::{UserId, login::Users};
///
/// #[derive(Clone)]
/// struct User { name: String, password_hash: String }
///
/// struct Accounts(std::collections::HashMap<i64, User>);
///
/// impl Users for Accounts {
///     type User = User;
///     type Error = tracera_session::OtherUserId;
///
///     async fn load(&self, id: &UserId) -> Result<Option<User>, Self::Error> {
///         Ok(self.0.get(&i64::try_from(id.clone())?).cloned())
///     }
///
///     fn stamp(&self, user: &User) -> Option<String> {
///         Some(user.password_hash.clone())
///     }
/// }
/// ```
pub trait Users: Send + Sync + 'static {
    /// A user.
    type User: Clone + Send + Sync + 'static;
    /// The error of a failed load.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The user with that id; `None` when the user is gone.
    fn load(
        &self,
        id: &UserId,
    ) -> impl Future<Output = Result<Option<Self::User>, Self::Error>> + Send;

    /// A value that changes when all of the user's sessions have to end, such as the hash of the
    /// password. The session keeps a digest of it. Default: none.
    fn stamp(&self, _: &Self::User) -> Option<String> {
        None
    }

    /// Whether the user has a permission, for [`permission_required`]. Default: nobody has one.
    fn permits(
        &self,
        _user: &Self::User,
        _permission: &str,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send {
        std::future::ready(Ok(false))
    }
}

/// Lets [`LoggedIn`] find the users. It goes inside a [`SessionLayer`](crate::SessionLayer).
///
/// ```
/// use axum::Router;
/// use tracera_session::login::{LoginLayer, Users};
/// use tracera_session::{SessionLayer, Sessions};
///
/// fn with_users(routes: Router, users: impl Users, sessions: Sessions) -> Router {
///     routes.layer(LoginLayer::new(users)).layer(SessionLayer::new(sessions))
/// }
/// ```
pub struct LoginLayer<U> {
    users: Arc<U>,
}

impl<U: Users> LoginLayer<U> {
    /// A layer for these users.
    pub fn new(users: U) -> Self {
        Self { users: Arc::new(users) }
    }
}

impl<U> Clone for LoginLayer<U> {
    fn clone(&self) -> Self {
        Self { users: self.users.clone() }
    }
}

impl<U> fmt::Debug for LoginLayer<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginLayer")
    }
}

impl<S, U: Users> Layer<S> for LoginLayer<U> {
    type Service = LoginService<S, U::User>;

    fn layer(&self, inner: S) -> Self::Service {
        let users: Arc<dyn Source<U::User>> = self.users.clone();
        LoginService { inner, users: AnyUsers(users) }
    }
}

/// The service [`LoginLayer`] makes.
pub struct LoginService<S, T> {
    inner: S,
    users: AnyUsers<T>,
}

impl<S: Clone, T> Clone for LoginService<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), users: self.users.clone() }
    }
}

impl<S, T> fmt::Debug for LoginService<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginService")
    }
}

impl<S, T, B> Service<Request<B>> for LoginService<S, T>
where
    S: Service<Request<B>>,
    T: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.users.clone());
        self.inner.call(request)
    }
}

/// A source of users of type `T`, with the source's type erased.
struct AnyUsers<T>(Arc<dyn Source<T>>);

impl<T> Clone for AnyUsers<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

type Loading<'a, T> =
    Pin<Box<dyn Future<Output = Result<Option<(T, Option<String>)>, SessionError>> + Send + 'a>>;

trait Source<T>: Send + Sync {
    /// The user with the digest of the stamp.
    fn find<'a>(&'a self, id: &'a UserId) -> Loading<'a, T>;

    /// The source with its concrete type.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<U: Users> Source<U::User> for U {
    fn find<'a>(&'a self, id: &'a UserId) -> Loading<'a, U::User> {
        Box::pin(async move {
            let user = self.load(id).await.map_err(|error| SessionError::Users(error.into()))?;
            Ok(user.map(|user| {
                let stamp = self.stamp(&user).map(|stamp| digest(&stamp));
                (user, stamp)
            }))
        })
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The digest of a stamp, so that the session keeps no secret.
fn digest(stamp: &str) -> String {
    let hash = Sha256::new().chain_update(b"tracera-session/1 stamp").chain_update(stamp);
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
}

/// Signs the user in and records the stamp.
///
/// ```
/// use tracera_session::login::{Users, sign_in};
/// use tracera_session::{Session, SessionError, SignIn, UserId};
///
/// type Done = Result<(), SessionError>;
///
/// // Once the password was right.
/// async fn welcome<U: Users>(session: Session, users: &U, id: UserId) -> Done {
///     let user = users.load(&id).await.map_err(|error| SessionError::Users(error.into()))?;
///     let user = user.ok_or(SessionError::Unauthenticated)?;
///     sign_in(&session, users, &user, SignIn::new(id, "password")).await
/// }
/// ```
///
/// # Errors
/// As [`Session::sign_in`].
pub async fn sign_in<U: Users>(
    session: &Session,
    users: &U,
    user: &U::User,
    sign_in: SignIn,
) -> Result<(), SessionError> {
    session.sign_in(sign_in).await?;
    match users.stamp(user) {
        // Written now, so that no request with the new cookie finds the stamp missing.
        Some(stamp) => {
            session.set(STAMP_FIELD, &digest(&stamp))?;
            session.commit().await
        }
        None => Ok(()),
    }
}
