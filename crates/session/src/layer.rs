//! The layer that opens a request's session and writes it back, and the extractors for handlers.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Extensions, HeaderValue, Request, header};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::error::SessionError;
use crate::session::Session;
use crate::sessions::{Opening, Sessions};
use crate::token::UserId;

pub(crate) mod prefetch;
pub(crate) mod require_auth;

/// Opens the session of each request before the handlers and writes back what they changed after
/// them.
///
/// If the session ended meanwhile, the response stays as it is and the cookie is cleared. If
/// changes could not be written, the response of [`SessionError`] replaces it. Either response
/// carries the change of the cookie.
///
/// A layer inside a layer of the same [`Sessions`] leaves the request to the outer one.
///
/// ```
/// use axum::Router;
/// use tracera_session::{SessionLayer, Sessions};
///
/// fn with_sessions(routes: Router, sessions: Sessions) -> Router {
///     routes.layer(SessionLayer::new(sessions))
/// }
/// ```
#[derive(Clone)]
pub struct SessionLayer {
    sessions: Sessions,
    slot: Slot,
}

/// The extension of the request that holds the session.
#[derive(Clone, Copy)]
struct Slot {
    find: fn(&Extensions) -> Option<&Session>,
    insert: fn(&mut Extensions, Session),
}

impl Slot {
    const PLAIN: Self = Self {
        find: |request| request.get(),
        insert: |request, session| {
            request.insert(session);
        },
    };

    fn of<M: 'static>() -> Self {
        Self {
            find: |request| request.get::<SessionOf<M>>().map(|marked| &**marked),
            insert: |request, session| {
                request.insert(SessionOf::<M>(session, PhantomData));
            },
        }
    }
}

impl SessionLayer {
    /// A layer for these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions, slot: Slot::PLAIN }
    }

    /// The same layer, whose session handlers extract as [`SessionOf<M>`]. Use it for a route with
    /// two sessions, such as the user's and an administrator's. `M` is any type of the application.
    #[must_use]
    pub fn marked<M: 'static>(self) -> Self {
        Self { slot: Slot::of::<M>(), ..self }
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

/// The session of a [`SessionLayer::marked`] layer, as an extractor.
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_session::{Session, SessionError, SessionLayer, SessionOf, Sessions};
///
/// struct Admin;
///
/// async fn both(user: Session, admin: SessionOf<Admin>) -> Result<String, SessionError> {
///     Ok(format!("{} watched by {}", user.user()?, admin.user()?))
/// }
///
/// fn app(users: Sessions, admins: Sessions) -> Router {
///     Router::new()
///         .route("/", get(both))
///         .layer(SessionLayer::new(users))
///         .layer(SessionLayer::new(admins).marked::<Admin>())
/// }
/// ```
pub struct SessionOf<M>(Session, PhantomData<fn() -> M>);

impl<M> Clone for SessionOf<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<M> fmt::Debug for SessionOf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<M> Deref for SessionOf<M> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl<M: 'static, S: Sync> FromRequestParts<S> for SessionOf<M> {
    type Rejection = SessionError;

    /// Rejects with 503 when the store could not be asked.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        let session = parts.extensions.get::<Self>().ok_or(SessionError::NoLayer)?;
        session.available()?;
        Ok(session.clone())
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, layer: self.clone() }
    }
}

/// The service [`SessionLayer`] makes.
#[derive(Debug, Clone)]
pub struct SessionService<S> {
    inner: S,
    layer: SessionLayer,
}

impl<S, B> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response: IntoResponse> + Clone,
{
    type Response = Response;
    type Error = S::Error;
    type Future = SessionFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> SessionFuture<S, B> {
        let SessionLayer { sessions, slot } = &self.layer;
        if (slot.find)(request.extensions()).is_some_and(|outer| outer.is_of(&sessions.inner)) {
            return SessionFuture { step: Step::Passing { passing: self.inner.call(request) } };
        }
        let opening = prefetch::take(request.extensions_mut(), sessions);
        let step = match opening.unwrap_or_else(|| sessions.opening(request.headers())) {
            Opening::Known(session) => {
                (slot.insert)(request.extensions_mut(), session.clone());
                Step::Handling { handling: self.inner.call(request), session }
            }
            Opening::Asked(opening) => {
                // Call the service that `poll_ready` made ready; the clone may not be ready.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                let waiting = Some(Waiting { request, inner, insert: slot.insert });
                Step::Opening { opening, waiting }
            }
        };
        SessionFuture { step }
    }
}

pin_project! {
    /// The response of a [`SessionService`].
    pub struct SessionFuture<S: Service<Request<B>>, B = axum::body::Body> {
        #[pin]
        step: Step<S, B>,
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that waits for its session, and its destination.
struct Waiting<S, B> {
    request: Request<B>,
    inner: S,
    insert: fn(&mut Extensions, Session),
}

pin_project! {
    /// A request starts in `Handling` if its session is known at once, and ends there if it writes
    /// nothing.
    #[project = StepProjection]
    enum Step<S: Service<Request<B>>, B> {
        /// An outer layer opens and writes the session.
        Passing { #[pin] passing: S::Future },
        Opening { opening: BoxFuture<Session>, waiting: Option<Waiting<S, B>> },
        Handling { #[pin] handling: S::Future, session: Session },
        Writing { writing: BoxFuture<Result<(), SessionError>>, session: Session,
            response: Option<Response> },
    }
}

impl<S, B> Future for SessionFuture<S, B>
where
    S: Service<Request<B>, Response: IntoResponse>,
{
    type Output = Result<Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            let next = match step.as_mut().project() {
                StepProjection::Passing { passing } => {
                    return passing.poll(context).map_ok(IntoResponse::into_response);
                }
                StepProjection::Opening { opening, waiting } => {
                    let session = ready!(opening.as_mut().poll(context));
                    let Waiting { mut request, mut inner, insert } =
                        waiting.take().expect("an opening is waited for once");
                    insert(request.extensions_mut(), session.clone());
                    Step::Handling { handling: inner.call(request), session }
                }
                StepProjection::Handling { handling, session } => {
                    let mut response = ready!(handling.poll(context))?.into_response();
                    match session.unwritten() {
                        None => {
                            set_cookie(&mut response, session);
                            return Poll::Ready(Ok(response));
                        }
                        Some(unwritten) => Step::Writing {
                            writing: Box::pin(session.clone().write_back(unwritten)),
                            session: session.clone(),
                            response: Some(response),
                        },
                    }
                }
                StepProjection::Writing { writing, session, response } => {
                    let written = ready!(writing.as_mut().poll(context));
                    let response = response.take().expect("a writing is waited for once");
                    let mut response =
                        written.map_or_else(IntoResponse::into_response, |()| response);
                    set_cookie(&mut response, session);
                    return Poll::Ready(Ok(response));
                }
            };
            step.set(next);
        }
    }
}

fn set_cookie(response: &mut Response, session: &Session) {
    #[cfg(feature = "device-binding")]
    if let Some(offer) = session.device_offer() {
        response.headers_mut().insert(crate::device::OFFER_HEADER, offer);
    }
    if let Some(cookie) = session.cookie_header() {
        let headers = response.headers_mut();
        headers.append(header::SET_COOKIE, cookie);
        #[cfg(feature = "device-binding")]
        if session.forgets_device() {
            headers.append(header::SET_COOKIE, crate::device::clear_cookie());
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    /// Rejects with 503 when the store could not be asked.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        Self::of(&parts.extensions)
    }
}

/// The id of the signed-in user, by default a [`UserId`]. As an extractor it rejects with 401 when
/// nobody is signed in and with 503 when that is not known. `Option<CurrentUser>` rejects only with
/// 503.
///
/// `T` is the application's type of user ids: an integer, a `String`, the bytes of a UUID, or any
/// type with `TryFrom<UserId>`. An id that does not convert to `T` is answered 500. For the user
/// themselves, from the database, see [`LoggedIn`](crate::login::LoggedIn).
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use tracera_session::{CurrentUser, Session, SessionError, SignIn};
///
/// async fn login(session: Session) -> Result<(), SessionError> {
///     session.sign_in(SignIn::new(42_i64.into(), "password")).await
/// }
///
/// async fn me(CurrentUser(id): CurrentUser<i64>) -> String {
///     format!("user {id}")
/// }
///
/// # let app: Router = Router::new().route("/login", post(login)).route("/me", get(me));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentUser<T = UserId>(pub T);

impl<S: Sync, T> FromRequestParts<S> for CurrentUser<T>
where
    T: TryFrom<UserId, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        let session = parts.extensions.get::<Session>().ok_or(SessionError::NoLayer)?;
        T::try_from(session.user()?).map(Self).map_err(SessionError::value)
    }
}

impl<S: Sync, T> OptionalFromRequestParts<S> for CurrentUser<T>
where
    T: TryFrom<UserId, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    type Rejection = SessionError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, SessionError> {
        match <Self as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(user) => Ok(Some(user)),
            Err(SessionError::Unauthenticated | SessionError::DeviceProofMissing) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use axum::body::Body;
    use http::StatusCode;
    use tower::{ServiceBuilder, ServiceExt};

    use super::*;
    use crate::{EmbeddedStore, KeyRing, SessionConfig};

    #[tokio::test]
    async fn what_answers_below_may_have_a_body_of_its_own() {
        let store = EmbeddedStore::in_memory().unwrap();
        let sessions =
            Sessions::new(store, KeyRing::new(&[1; 32]).unwrap(), SessionConfig::default());
        let app = ServiceBuilder::new()
            .layer(SessionLayer::new(sessions))
            .map_response(|response: Response| response.map(|_| "a body of its own".to_owned()))
            .service(axum::Router::new());
        let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            axum::body::to_bytes(response.into_body(), 99).await.unwrap(),
            "a body of its own"
        );
    }

    #[tokio::test]
    async fn a_debug_build_names_each_mistake() {
        use axum::routing::get;

        let store = EmbeddedStore::in_memory().unwrap();
        let sessions = Sessions::new(store, KeyRing::generate(), SessionConfig::default());
        let layer = SessionLayer::new(sessions);
        let inside = axum::Router::new()
            .route("/name", get(async |session: Session| session.set("userId", &1)))
            .route("/user", get(async || UserId::new("").map_err(SessionError::from).map(drop)))
            .route(
                "/type",
                get(async |session: Session| {
                    session.set("page", "home")?;
                    session.get::<u32>("page").await.map(drop)
                }),
            )
            .layer(layer.clone());
        let no_layer = axum::Router::new().route("/", get(async |_: Session| ()));
        let wrong_order = axum::Router::new()
            .route("/", get(async || ()))
            .layer(layer.clone())
            .layer(crate::RequireAuth::new());
        for (app, path, mistake) in [
            (no_layer, "/", "add SessionLayer"),
            (wrong_order, "/", "add SessionLayer"),
            (inside.clone(), "/name", "a field name is"),
            (inside.clone(), "/user", "a user id has 1 to 64 bytes"),
            (inside, "/type", "the field page is no u32"),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = app.oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = axum::body::to_bytes(response.into_body(), 999).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert_eq!(body.contains(mistake), cfg!(debug_assertions), "{body}");
        }
        for error in [SessionError::NoLoginLayer, SessionError::ResponseBegan] {
            let sentence = error.to_string();
            let body = axum::body::to_bytes(error.into_response().into_body(), 999).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert_eq!(body.contains(&sentence), cfg!(debug_assertions), "{body}");
        }
    }

    async fn user<T>(parts: &mut Parts) -> Result<Option<CurrentUser<T>>, SessionError>
    where
        CurrentUser<T>: OptionalFromRequestParts<(), Rejection = SessionError>,
    {
        CurrentUser::<T>::from_request_parts(parts, &()).await
    }

    #[tokio::test]
    async fn users_are_extracted_as_what_the_application_numbers_them_by() {
        let store = EmbeddedStore::in_memory().unwrap();
        let config = SessionConfig::default().secure(false);
        let sessions = Sessions::new(store, KeyRing::new(&[1; 32]).unwrap(), config);
        let session = sessions.open(&http::HeaderMap::new()).await;
        session.sign_in(crate::SignIn::new((-7_i64).into(), "password")).await.unwrap();
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.extensions.insert(session);
        assert_eq!(user::<i64>(&mut parts).await.unwrap(), Some(CurrentUser(-7)));
        assert_eq!(user::<String>(&mut parts).await.unwrap(), Some(CurrentUser("-7".to_owned())));
        assert_eq!(user::<UserId>(&mut parts).await.unwrap(), Some(CurrentUser((-7_i64).into())));
        let error = user::<u64>(&mut parts).await.unwrap_err();
        assert!(error.to_string().contains("the user id is no u64"), "{error}");
        assert!(user::<[u8; 16]>(&mut parts).await.is_err());
        assert!(user::<uuid::Uuid>(&mut parts).await.is_err());

        let id = uuid::Uuid::from_u128(7);
        let session = sessions.open(&http::HeaderMap::new()).await;
        session.sign_in(crate::SignIn::new(id.into(), "password")).await.unwrap();
        parts.extensions.insert(session);
        assert_eq!(user::<uuid::Uuid>(&mut parts).await.unwrap(), Some(CurrentUser(id)));
    }

    #[test]
    #[should_panic(expected = "has to be secure")]
    fn a_name_that_demands_to_be_secure_is_refused_without() {
        let config = SessionConfig::default().secure(false).cookie_name("__Host-sid");
        Sessions::new(EmbeddedStore::in_memory().unwrap(), KeyRing::new(&[1; 32]).unwrap(), config);
    }
}
