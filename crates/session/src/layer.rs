//! The layer that opens a request's session and writes it back, and the extractors for handlers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
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
/// A response stays what it is when the session was ended meanwhile; its cookie is cleared. It is
/// replaced by [`SessionError`]'s when changes could not be written; what became of the cookie goes
/// out with either.
#[derive(Debug, Clone)]
pub struct SessionLayer {
    sessions: Sessions,
}

impl SessionLayer {
    /// A layer for these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, sessions: self.sessions.clone() }
    }
}

/// The service [`SessionLayer`] makes.
#[derive(Debug, Clone)]
pub struct SessionService<S> {
    inner: S,
    sessions: Sessions,
}

impl<S> Service<Request> for SessionService<S>
where
    S: Service<Request, Response: IntoResponse, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = SessionFuture<S>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> SessionFuture<S> {
        let opening = prefetch::take(&mut request, &self.sessions);
        let step = match opening.unwrap_or_else(|| self.sessions.opening(request.headers())) {
            Opening::Known(session) => {
                request.extensions_mut().insert(session.clone());
                Step::Handling { handling: self.inner.call(request), session }
            }
            Opening::Asked(opening) => {
                // The clone may not be ready to be called, what `poll_ready` looked at is.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                Step::Opening { opening, waiting: Some((request, inner)) }
            }
        };
        SessionFuture { step }
    }
}

pin_project! {
    /// The response of a [`SessionService`].
    pub struct SessionFuture<S: Service<Request>> {
        #[pin]
        step: Step<S>,
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// A request whose session is known at once begins with `Handling`, one that writes nothing
    /// ends there.
    #[project = StepProjection]
    enum Step<S: Service<Request>> {
        Opening { opening: BoxFuture<Session>, waiting: Option<(Request, S)> },
        Handling { #[pin] handling: S::Future, session: Session },
        Writing { writing: BoxFuture<Result<(), SessionError>>, session: Session, response: Option<Response> },
    }
}

impl<S> Future for SessionFuture<S>
where
    S: Service<Request, Response: IntoResponse, Error = Infallible>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            let next = match step.as_mut().project() {
                StepProjection::Opening { opening, waiting } => {
                    let session = ready!(opening.as_mut().poll(context));
                    let (mut request, mut inner) =
                        waiting.take().expect("an opening is waited for once");
                    request.extensions_mut().insert(session.clone());
                    Step::Handling { handling: inner.call(request), session }
                }
                StepProjection::Handling { handling, session } => {
                    let Ok(mut response) =
                        ready!(handling.poll(context)).map(IntoResponse::into_response);
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
    if let Some(cookie) = session.cookie_header() {
        let headers = response.headers_mut();
        headers.append(header::SET_COOKIE, cookie);
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

/// The signed-in user. As an extractor it rejects with 401 when nobody is signed in and with 503
/// when that is not known; as `Option<CurrentUser>` only with 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentUser(pub UserId);

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        let session = parts.extensions.get::<Session>().ok_or(SessionError::NoLayer)?;
        session.user().map(Self)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for CurrentUser {
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

    #[test]
    #[should_panic(expected = "has to be secure")]
    fn a_name_that_demands_to_be_secure_is_refused_without() {
        let config = SessionConfig::default().secure(false).cookie_name("__Host-sid");
        Sessions::new(EmbeddedStore::in_memory().unwrap(), KeyRing::new(&[1; 32]).unwrap(), config);
    }
}
