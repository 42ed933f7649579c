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
//!
//! ```
//! use axum::{Router, routing::{get, post}};
//! use tracera_session::login::{LoggedIn, LoginLayer, Users, login_required, sign_in};
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
//! async fn login(session: Session) -> Result<(), SessionError> {
//!     let ada = UserId::new("ada")?; // once the password was right
//!     let user = Database.load(&ada).await.map_err(|error| SessionError::Users(error.into()))?;
//!     let user = user.ok_or(SessionError::Unauthenticated)?;
//!     sign_in(&session, &Database, &user, SignIn::new(ada, "password")).await
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

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use sha2::{Digest, Sha256};
use tower::{Layer, Service};

use crate::error::SessionError;
use crate::layer::require_auth::RequireAuth;
use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::token::UserId;

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

/// The user who is signed in, from the [`Users`] of the [`LoginLayer`].
///
/// As an extractor it rejects with 401 when nobody is signed in, the user is gone or the stamp has
/// changed. It rejects with 503 when that is not known. As `Option<LoggedIn<T>>` it rejects only
/// with 503.
///
/// ```
/// use tracera_session::login::LoggedIn;
///
/// # #[derive(Clone)]
/// # struct User { name: String }
/// async fn account(LoggedIn(user): LoggedIn<User>) -> String {
///     user.name
/// }
///
/// async fn home(user: Option<LoggedIn<User>>) -> String {
///     user.map_or("please sign in".into(), |LoggedIn(user)| user.name)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct LoggedIn<T>(pub T);

impl<T: Clone + Send + Sync + 'static, S: Sync> FromRequestParts<S> for LoggedIn<T> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let session = Session::of(&parts.extensions)?;
        let id = session.user()?;
        let users =
            parts.extensions.get::<AnyUsers<T>>().cloned().ok_or(SessionError::NoLoginLayer)?;
        let Some((user, stamp)) = users.0.find(&id).await? else {
            session.sign_out().await?;
            return Err(SessionError::Unauthenticated);
        };
        if stamp.is_some() && session.get::<String>(STAMP_FIELD).await? != stamp {
            session.sign_out().await?;
            return Err(SessionError::Unauthenticated);
        }
        let user = Self(user);
        parts.extensions.insert(user.clone());
        Ok(user)
    }
}

impl<T: Clone + Send + Sync + 'static, S: Sync> OptionalFromRequestParts<S> for LoggedIn<T> {
    type Rejection = SessionError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, SessionError> {
        match <Self as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(user) => Ok(Some(user)),
            Err(SessionError::Unauthenticated) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Lets only signed-in users through, and redirects others to the sign-in page.
///
/// 1. A page request (`GET` that accepts HTML) is redirected to `page?next=…`, with the requested
///    address. Read it with [`return_target`].
/// 2. A request of htmx is answered with 401 and `HX-Redirect` to the same address.
/// 3. Everything else is answered as [`RequireAuth`] does: 401 or 503, in JSON.
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_session::login::login_required;
///
/// let app: Router = Router::new()
///     .route("/account", get(async || "yours"))
///     .route_layer(login_required("/login")) // for the routes above
///     .route("/login", get(async || "the form"));
/// ```
///
/// # Panics
/// If `page` is not a path such as `/login`.
pub fn login_required(page: &str) -> RequireAuth {
    assert!(return_target(page).is_some(), "{page:?} is no path of this site");
    let page: Arc<str> = page.into();
    RequireAuth::new().on_rejection(move |error, head| match error {
        SessionError::Unauthenticated => to_sign_in(&page, head),
        error => error.into_response(),
    })
}

fn to_sign_in(page: &str, head: &Parts) -> Response {
    let wanted = if head.method == Method::GET { wanted(&head.uri) } else { String::new() };
    let address = format!("{page}{wanted}");
    if head.headers.contains_key("hx-request") {
        let mut response = SessionError::Unauthenticated.into_response();
        if let Ok(address) = HeaderValue::try_from(address) {
            response.headers_mut().insert("hx-redirect", address);
        }
        response
    } else if head.method == Method::GET && accepts_html(&head.headers) {
        Redirect::to(&address).into_response()
    } else {
        SessionError::Unauthenticated.into_response()
    }
}

fn wanted(uri: &Uri) -> String {
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    let mut query = "?next=".to_owned();
    for byte in wanted.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                query.push(char::from(byte));
            }
            _ => query.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    query
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept.as_bytes().windows(9).any(|part| part.eq_ignore_ascii_case(b"text/html"))
    })
}

/// The address to go to after a sign-in, from the decoded parameter `next`: a path of this site.
/// `None` for an address of another site, such as `//evil.example`, and for invalid addresses.
///
/// ```
/// use tracera_session::login::return_target;
///
/// assert_eq!(return_target("/account?tab=1"), Some("/account?tab=1"));
/// assert_eq!(return_target("//evil.example"), None);
/// ```
pub fn return_target(next: &str) -> Option<&str> {
    let rest = next.strip_prefix('/')?;
    // Browsers treat a backslash as a slash, and skip tabs and line ends.
    let stays = !rest.starts_with(['/', '\\']) && next.bytes().all(|byte| byte.is_ascii_graphic());
    stays.then_some(next)
}

#[cfg(all(test, feature = "embedded"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::{get, post};
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;
    use crate::{EmbeddedStore, KeyRing, SessionConfig, SessionLayer, Sessions};

    /// The database's answer for the only user: the password, `None`, or an error.
    #[derive(Clone)]
    struct Database(Arc<Mutex<Result<Option<&'static str>, std::io::ErrorKind>>>);

    impl Users for Database {
        type User = &'static str;
        type Error = std::io::Error;

        async fn load(&self, _: &UserId) -> Result<Option<&'static str>, std::io::Error> {
            (*self.0.lock().unwrap()).map_err(Into::into)
        }

        fn stamp(&self, password: &&'static str) -> Option<String> {
            Some((*password).to_owned())
        }
    }

    fn app(database: &Database) -> Router {
        let config = SessionConfig::default().secure(false).preload(&[STAMP_FIELD]).unwrap();
        let store = EmbeddedStore::in_memory().unwrap();
        let sessions = Sessions::new(store, KeyRing::new(&[1; 32]).unwrap(), config);
        let own = database.clone();
        let login = async move |session: Session| {
            let new = SignIn::new(UserId::new("ada").unwrap(), "password");
            sign_in(&session, &own, &"first", new).await
        };
        Router::new()
            .route("/account", get(async |LoggedIn(user): LoggedIn<&'static str>| user))
            .route_layer(login_required("/login"))
            .route(
                "/",
                get(async |user: Option<LoggedIn<&'static str>>| {
                    user.map_or("nobody", |LoggedIn(user)| user)
                }),
            )
            .route("/login", post(login))
            .layer(LoginLayer::new(database.clone()))
            .layer(SessionLayer::new(sessions))
    }

    async fn send(app: &Router, request: Request<Body>) -> (StatusCode, HeaderMap) {
        let response = app.clone().oneshot(request).await.unwrap();
        (response.status(), response.headers().clone())
    }

    fn request(path: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    #[tokio::test]
    async fn a_user_is_loaded_and_an_error_is_never_signed_out() {
        let database = Database(Arc::new(Mutex::new(Ok(Some("first")))));
        let app = app(&database);
        let signed_in = async || {
            let mut login = request("/login", &[]);
            *login.method_mut() = Method::POST;
            let (status, headers) = send(&app, login).await;
            assert_eq!(status, StatusCode::OK);
            let cookie = headers[header::SET_COOKIE].to_str().unwrap();
            cookie.split(';').next().unwrap().to_owned()
        };
        let status = async |path: &str, cookie: &str| {
            send(&app, request(path, &[("cookie", cookie)])).await.0
        };
        let cookie = signed_in().await;
        assert_eq!(status("/account", &cookie).await, StatusCode::OK);
        *database.0.lock().unwrap() = Err(std::io::ErrorKind::TimedOut);
        for path in ["/account", "/"] {
            assert_eq!(status(path, &cookie).await, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        }
        *database.0.lock().unwrap() = Ok(Some("first"));
        assert_eq!(status("/account", &cookie).await, StatusCode::OK, "still signed in");
        *database.0.lock().unwrap() = Ok(Some("second password"));
        assert_eq!(status("/account", &cookie).await, StatusCode::UNAUTHORIZED);
        *database.0.lock().unwrap() = Ok(Some("first"));
        assert_eq!(status("/account", &cookie).await, StatusCode::UNAUTHORIZED, "ended for good");

        let cookie = signed_in().await;
        *database.0.lock().unwrap() = Ok(None);
        assert_eq!(status("/", &cookie).await, StatusCode::OK, "as nobody");
        *database.0.lock().unwrap() = Ok(Some("first"));
        assert_eq!(status("/account", &cookie).await, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn people_are_sent_to_the_sign_in_page_and_programs_told_401() {
        let app = app(&Database(Arc::new(Mutex::new(Ok(Some("first"))))));
        let page = "/account?tab=a%20b&x=1";
        let address = "/login?next=/account%3Ftab%3Da%2520b%26x%3D1";
        let (status, headers) = send(&app, request(page, &[("accept", "text/html,*/*")])).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        assert_eq!(headers[header::LOCATION], address);
        let (status, headers) =
            send(&app, request(page, &[("accept", "text/html"), ("hx-request", "true")])).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(headers["hx-redirect"], address);
        let (status, _) = send(&app, request(page, &[("accept", "application/json")])).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn only_paths_of_this_site_are_return_targets() {
        for good in ["/", "/account?tab=1#x", "/a//b"] {
            assert_eq!(return_target(good), Some(good));
        }
        for bad in [
            "",
            "account",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/a b",
            "/ü",
        ] {
            assert_eq!(return_target(bad), None, "{bad:?}");
        }
    }
}
