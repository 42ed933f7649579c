//! The layer that lets only signed-in users through.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::response::{IntoResponse, Response};
use http::Request;
use http::request::Parts;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::error::SessionError;
use crate::session::Session;

type OnRejection = dyn Fn(SessionError, &Parts) -> Response + Send + Sync;

/// Lets only signed-in users through. It goes inside a [`SessionLayer`](crate::SessionLayer).
///
/// 1. Nobody is signed in: [`SessionError::Unauthenticated`], 401.
/// 2. The store could not be asked: [`SessionError::Unavailable`], 503, never 401.
/// 3. There is no [`SessionLayer`](crate::SessionLayer) around it: [`SessionError::NoLayer`], 500.
/// 4. A request that [`only`](Self::only) does not cover passes.
///
/// The layer allocates nothing and reads no store.
///
/// ```
/// use axum::{Router, response::{IntoResponse, Redirect}, routing::get};
/// use tracera_session::{RequireAuth, SessionError};
///
/// let private: Router = Router::new()
///     .route("/account", get(async || "yours alone"))
///     .route_layer(RequireAuth::new().on_rejection(|error, _request| match error {
///         SessionError::Unauthenticated => Redirect::to("/login").into_response(),
///         error => error.into_response(),
///     }));
/// ```
#[derive(Clone)]
pub struct RequireAuth<P = EveryRequest> {
    predicate: P,
    on_rejection: Option<Arc<OnRejection>>,
}

/// The predicate of a [`RequireAuth`] without [`only`](RequireAuth::only).
#[derive(Debug, Clone, Copy, Default)]
pub struct EveryRequest;

/// Selects the requests that a layer checks: a closure, or [`EveryRequest`].
pub trait Predicate<B>: Clone {
    /// Whether the layer checks this request.
    fn covers(&self, request: &Request<B>) -> bool;
}

impl<B> Predicate<B> for EveryRequest {
    fn covers(&self, _: &Request<B>) -> bool {
        true
    }
}

impl<B, F: Fn(&Request<B>) -> bool + Clone> Predicate<B> for F {
    fn covers(&self, request: &Request<B>) -> bool {
        self(request)
    }
}

impl RequireAuth {
    /// Checks every request.
    pub fn new() -> Self {
        Self { predicate: EveryRequest, on_rejection: None }
    }
}

impl Default for RequireAuth {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> RequireAuth<P> {
    /// Checks only the requests for which `predicate` is true; the others pass. Default: all.
    /// Exempt only what is known to be public, not paths without a route.
    #[must_use]
    pub fn only<B, F: Fn(&Request<B>) -> bool + Clone>(self, predicate: F) -> RequireAuth<F> {
        RequireAuth { predicate, on_rejection: self.on_rejection }
    }

    /// Answers refused requests with `answer`, which is given the reason and the request's head.
    /// Default: the error's own JSON answer.
    #[must_use]
    pub fn on_rejection(
        mut self,
        answer: impl Fn(SessionError, &Parts) -> Response + Send + Sync + 'static,
    ) -> Self {
        self.on_rejection = Some(Arc::new(answer));
        self
    }

    fn refuse<B>(&self, error: SessionError, request: Request<B>) -> Response {
        match &self.on_rejection {
            Some(answer) => answer(error, &request.into_parts().0),
            None => error.into_response(),
        }
    }
}

impl<P> fmt::Debug for RequireAuth<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireAuth")
            .field("on_rejection", &self.on_rejection.is_some())
            .finish_non_exhaustive()
    }
}

impl<S, P: Clone> Layer<S> for RequireAuth<P> {
    type Service = RequireAuthService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireAuthService { inner, layer: self.clone() }
    }
}

/// The service [`RequireAuth`] makes.
#[derive(Debug, Clone)]
pub struct RequireAuthService<S, P = EveryRequest> {
    inner: S,
    layer: RequireAuth<P>,
}

impl<S, P, B> Service<Request<B>> for RequireAuthService<S, P>
where
    S: Service<Request<B>, Response: IntoResponse>,
    P: Predicate<B>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = RequireAuthFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let refused = if self.layer.predicate.covers(&request) {
            let session = request.extensions().get::<Session>().ok_or(SessionError::NoLayer);
            session.and_then(Session::require_user).err()
        } else {
            None
        };
        let step = match refused {
            None => Step::Answering { answering: self.inner.call(request) },
            Some(error) => Step::Refused { answer: Some(self.layer.refuse(error, request)) },
        };
        RequireAuthFuture { step }
    }
}

pin_project! {
    /// The answer of a [`RequireAuthService`].
    pub struct RequireAuthFuture<F> {
        #[pin]
        step: Step<F>,
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<F> {
        Answering { #[pin] answering: F },
        Refused { answer: Option<Response> },
    }
}

impl<F, R, E> Future for RequireAuthFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().step.project() {
            StepProjection::Answering { answering } => {
                Poll::Ready(ready!(answering.poll(context)).map(IntoResponse::into_response))
            }
            StepProjection::Refused { answer } => {
                Poll::Ready(Ok(answer.take().expect("an answer is given once")))
            }
        }
    }
}

impl<F> fmt::Debug for RequireAuthFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequireAuthFuture")
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use axum::body::Body;
    use http::{StatusCode, header};
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::session::sign_in::SignIn;
    use crate::{EmbeddedStore, KeyRing, SessionConfig, SessionLayer, Sessions, UserId};

    async fn answer<P: Predicate<Body> + Send + Sync>(
        layer: RequireAuth<P>,
        sessions: Option<Sessions>,
        cookie: Option<&str>,
    ) -> StatusCode {
        let inner = service_fn(async |_: Request<Body>| {
            Ok::<_, std::convert::Infallible>(StatusCode::OK.into_response())
        });
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static("/private");
        if let Some(cookie) = cookie {
            let cookie = cookie.parse().expect("a cookie of this crate");
            request.headers_mut().insert(header::COOKIE, cookie);
        }
        if let Some(sessions) = sessions {
            let session = sessions.open(request.headers()).await;
            request.extensions_mut().insert(session);
        }
        let service = ServiceBuilder::new().layer(layer).service(inner);
        service.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn only_who_is_signed_in_passes_and_the_answer_to_others_can_be_chosen() {
        let store = EmbeddedStore::in_memory().unwrap();
        let config = SessionConfig::default().secure(false);
        let sessions = Sessions::new(store, KeyRing::new(&[1; 32]).unwrap(), config);
        let app = axum::Router::new()
            .route(
                "/",
                axum::routing::get(async |session: Session| {
                    session.sign_in(SignIn::new(UserId::new("ann").unwrap(), "test")).await
                }),
            )
            .layer(SessionLayer::new(sessions.clone()));
        let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap();

        let (all, some) = (RequireAuth::new(), Some(sessions));
        assert_eq!(answer(all.clone(), some.clone(), Some(cookie)).await, StatusCode::OK);
        assert_eq!(answer(all.clone(), some.clone(), None).await, StatusCode::UNAUTHORIZED);
        let no_layer = answer(all.clone(), None, Some(cookie)).await;
        assert_eq!(no_layer, StatusCode::INTERNAL_SERVER_ERROR);

        let others = all.clone().only(|request: &Request<Body>| request.uri().path() == "/other");
        assert_eq!(answer(others, some.clone(), None).await, StatusCode::OK);
        let teapot = all.on_rejection(|error, head| {
            assert!(matches!(error, SessionError::Unauthenticated));
            assert_eq!(head.uri.path(), "/private");
            StatusCode::IM_A_TEAPOT.into_response()
        });
        assert_eq!(answer(teapot, some, None).await, StatusCode::IM_A_TEAPOT);
    }
}
