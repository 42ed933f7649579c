//! The layer that reads sessions ahead of other layers, to share a round trip with them.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use http::{Extensions, Request};
use tower::{Layer, Service};

use crate::sessions::{Opening, Sessions};

/// Starts to read a request's session, and lets the inner layers run without waiting for the
/// answer. The [`SessionLayer`](crate::SessionLayer) further inside takes the answer.
///
/// Use it where a layer between the two uses the same Redis, such as a rate limit. Both commands
/// then travel in one write and both replies in one read.
///
/// 1. Only a genuine cookie causes a read.
/// 2. If a layer in between refuses the request, the answer is dropped.
/// 3. Each request reads for itself, so no other request waits for the layers in between.
///
/// ```
/// use axum::{Router, extract::Request, routing::post};
/// use tower::ServiceBuilder;
/// use tracera_session::{PrefetchLayer, Session, SessionLayer, Sessions};
///
/// fn app(sessions: Sessions) -> Router {
///     let is_limited = |request: &Request| request.uri().path().starts_with("/auth/");
///     let sign_out = post(async |session: Session| session.sign_out().await);
///     Router::new().route("/auth/logout", sign_out).layer(
///         ServiceBuilder::new()
///             .layer(PrefetchLayer::new(sessions.clone(), is_limited))
///             // The rate limit stands here.
///             .layer(SessionLayer::new(sessions)),
///     )
/// }
/// ```
#[derive(Debug, Clone)]
pub struct PrefetchLayer<F> {
    sessions: Sessions,
    wanted: F,
}

impl<F> PrefetchLayer<F> {
    /// Reads ahead for the requests for which `wanted` is true.
    pub fn new<B>(sessions: Sessions, wanted: F) -> Self
    where
        F: Fn(&Request<B>) -> bool,
    {
        Self { sessions, wanted }
    }
}

impl<S, F: Clone> Layer<S> for PrefetchLayer<F> {
    type Service = PrefetchService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        PrefetchService { inner, layer: self.clone() }
    }
}

/// The service [`PrefetchLayer`] makes.
#[derive(Debug, Clone)]
pub struct PrefetchService<S, F> {
    inner: S,
    layer: PrefetchLayer<F>,
}

impl<S, F, B> Service<Request<B>> for PrefetchService<S, F>
where
    S: Service<Request<B>>,
    F: Fn(&Request<B>) -> bool,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if (self.layer.wanted)(&request) {
            let sessions = self.layer.sessions.clone();
            let opening = begun(sessions.opening_ahead(request.headers()));
            request
                .extensions_mut()
                .insert(Prefetched(Mutex::new(Some(Ahead { sessions, opening }))));
        }
        self.inner.call(request)
    }
}

/// The read ahead, until a layer takes it. The mutex is never locked; it makes an [`Opening`]
/// `Sync`, as extensions demand.
struct Prefetched(Mutex<Option<Ahead>>);

struct Ahead {
    sessions: Sessions,
    opening: Opening,
}

/// An opening belongs to one request, so a clone of the request reads for itself.
impl Clone for Prefetched {
    fn clone(&self) -> Self {
        Self(Mutex::new(None))
    }
}

/// Takes the read ahead of these sessions. An application may have several [`Sessions`].
pub(super) fn take(request: &mut Extensions, sessions: &Sessions) -> Option<Opening> {
    let Prefetched(ahead) = request.get_mut()?;
    let ahead = ahead.get_mut().unwrap_or_else(PoisonError::into_inner);
    ahead
        .take_if(|ahead| Arc::ptr_eq(&ahead.sessions.inner, &sessions.inner))
        .map(|ahead| ahead.opening)
}

/// Polls once, which sends the read. The answer wakes no task; whoever takes the opening polls it
/// again.
fn begun(opening: Opening) -> Opening {
    match opening {
        Opening::Asked(mut session) => {
            match session.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(session) => Opening::Known(session),
                Poll::Pending => Opening::Asked(session),
            }
        }
        known @ Opening::Known(_) => known,
    }
}
