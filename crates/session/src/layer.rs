//! The layer that opens a request's session and writes it back, and the extractors for handlers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use tower::{Layer, Service};

use crate::error::SessionError;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::token::UserId;

/// Opens the session of each request before the handlers and writes back what they changed after them.
///
/// A response stays what it is when the session was ended meanwhile; its cookie is cleared. It is replaced by
/// [`SessionError`]'s when changes could not be written.
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
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let sessions = self.sessions.clone();
        Box::pin(async move {
            let session = sessions.open(request.headers()).await;
            request.extensions_mut().insert(session.clone());
            let mut response = inner.call(request).await?;
            match session.finish().await {
                Ok(None) => {}
                Ok(Some(cookie)) => {
                    let headers = response.headers_mut();
                    headers.append(header::SET_COOKIE, cookie);
                    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                }
                Err(error) => response = error.into_response(),
            }
            Ok(response)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    /// Rejects with 503 when the store could not be asked.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        let session = parts.extensions.get::<Self>().ok_or(SessionError::NoLayer)?;
        session.available()?;
        Ok(session.clone())
    }
}

/// The signed-in user. As an extractor it rejects with 401 when nobody is signed in and with 503 when that is not known;
/// as `Option<CurrentUser>` only with 503.
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

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, SessionError> {
        match <Self as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(user) => Ok(Some(user)),
            Err(SessionError::Unauthenticated) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Middleware that lets only signed-in users through: `axum::middleware::from_fn(require_auth)` inside a
/// [`SessionLayer`].
///
/// # Errors
/// [`SessionError::Unauthenticated`] (401) or [`SessionError::Unavailable`] (503).
pub async fn require_auth(_: CurrentUser, request: Request, next: Next) -> Result<Response, SessionError> {
    Ok(next.run(request).await)
}
