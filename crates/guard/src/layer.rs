//! The tower service that all guards share.
//!
//! 1. A guard passes a request, rejects it, or names a future to await first.
//! 2. No future is boxed unless a guard waits.
//! 3. A request outside the guard's predicate goes straight to the inner service.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::request::Parts;
use pin_project_lite::pin_project;
use tower::Service;

/// Decides about the requests of a [`Guarded`] service.
pub trait Guard: Send + Sync + 'static {
    /// The reason for refusing a request.
    type Rejection: IntoResponse;
    /// The output of the awaited future.
    type Awaited;
    /// Data of a request that the guard keeps to complete the response.
    type Note;

    /// The settings chosen by the user of the layer.
    fn settings(&self) -> &Settings<Self::Rejection>;

    /// Decides about a request, or names a future to await first.
    fn check(&self, request: &mut Request) -> Verdict<Self>;

    /// Decides after the awaited future.
    fn resume(
        &self,
        request: &mut Request,
        awaited: Self::Awaited,
    ) -> Result<Self::Note, Self::Rejection>;

    /// Completes the response to a request that passed.
    fn finish(_: Self::Note, _: &mut HeaderMap) {}
}

/// The decision of a [`Guard`] about a request.
pub enum Verdict<G: Guard + ?Sized> {
    Pass(G::Note),
    Reject(G::Rejection),
    Wait(Pin<Box<dyn Future<Output = G::Awaited> + Send>>),
}

impl<G: Guard + ?Sized> fmt::Debug for Verdict<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass(_) => "Pass",
            Self::Reject(_) => "Reject",
            Self::Wait(_) => "Wait",
        })
    }
}

impl<G: Guard + ?Sized> From<Result<G::Note, G::Rejection>> for Verdict<G> {
    fn from(decided: Result<G::Note, G::Rejection>) -> Self {
        decided.map_or_else(Self::Reject, Self::Pass)
    }
}

type Predicate = dyn Fn(&Request) -> bool + Send + Sync;
type OnRejection<R> = dyn Fn(R, &Parts) -> Response + Send + Sync;

/// Selects the requests that a guard checks, and the response to those it refuses.
pub struct Settings<R> {
    pub(crate) only: Option<Arc<Predicate>>,
    pub(crate) on_rejection: Option<Arc<OnRejection<R>>>,
}

impl<R: IntoResponse> Settings<R> {
    fn cover(&self, request: &Request) -> bool {
        self.only.as_ref().is_none_or(|covers| covers(request))
    }

    fn answer(&self, rejection: R, request: Request) -> Response {
        match &self.on_rejection {
            Some(answer) => answer(rejection, &request.into_parts().0),
            None => rejection.into_response(),
        }
    }
}

impl<R> Default for Settings<R> {
    fn default() -> Self {
        Self { only: None, on_rejection: None }
    }
}

impl<R> Clone for Settings<R> {
    fn clone(&self) -> Self {
        Self { only: self.only.clone(), on_rejection: self.on_rejection.clone() }
    }
}

impl<R> fmt::Debug for Settings<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("only", &self.only.is_some())
            .field("on_rejection", &self.on_rejection.is_some())
            .finish()
    }
}

/// Gives a guard with a field `settings` its builder methods and makes it a [`tower::Layer`].
macro_rules! guard_layer {
    ($guard:ty) => {
        impl $guard {
            /// Checks only the requests for which `predicate` is true; the others pass. Default:
            /// all. For paths use [`path_is_under`](crate::path_is_under), which knows every
            /// spelling of a path.
            #[must_use]
            pub fn only(
                mut self,
                predicate: impl Fn(&axum::extract::Request) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.settings.only = Some(std::sync::Arc::new(predicate));
                self
            }
        }

        impl<S> tower::Layer<S> for $guard {
            type Service = crate::layer::Guarded<S, Self>;

            fn layer(&self, inner: S) -> Self::Service {
                crate::layer::Guarded::new(inner, self.clone())
            }
        }
    };
    ($guard:ty, $rejection:ty) => {
        crate::layer::guard_layer!($guard);

        impl $guard {
            /// Answers refused requests with `answer`, which is given the reason and the request's
            /// head. Default: the rejection's own JSON answer.
            #[must_use]
            pub fn on_rejection(
                mut self,
                answer: impl Fn($rejection, &http::request::Parts) -> axum::response::Response
                + Send
                + Sync
                + 'static,
            ) -> Self {
                self.settings.on_rejection = Some(std::sync::Arc::new(answer));
                self
            }
        }
    };
}
pub(crate) use guard_layer;

/// A service behind a guard.
pub struct Guarded<S, G> {
    inner: S,
    guard: Arc<G>,
}

impl<S, G> Guarded<S, G> {
    pub(crate) fn new(inner: S, guard: G) -> Self {
        Self { inner, guard: Arc::new(guard) }
    }
}

impl<S: Clone, G> Clone for Guarded<S, G> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), guard: Arc::clone(&self.guard) }
    }
}

impl<S, G: fmt::Debug> fmt::Debug for Guarded<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guarded").field(&self.guard).finish()
    }
}

impl<S, G> Service<Request> for Guarded<S, G>
where
    S: Service<Request, Response: IntoResponse> + Clone,
    G: Guard,
{
    type Response = Response;
    type Error = S::Error;
    type Future = GuardedFuture<S, G>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let settings = self.guard.settings();
        if !settings.cover(&request) {
            let answering = self.inner.call(request);
            return GuardedFuture { step: Step::Answering { answering, note: None } };
        }
        let step = match self.guard.check(&mut request) {
            Verdict::Pass(note) => {
                Step::Answering { answering: self.inner.call(request), note: Some(note) }
            }
            Verdict::Reject(rejection) => {
                Step::Rejected { answer: Some(settings.answer(rejection, request)) }
            }
            Verdict::Wait(awaited) => {
                let next = self.inner.clone();
                // The service that `poll_ready` made ready handles the request.
                let inner = std::mem::replace(&mut self.inner, next);
                let guard = Arc::clone(&self.guard);
                Step::Waiting { awaited, held: Some(Held { inner, guard, request }) }
            }
        };
        GuardedFuture { step }
    }
}

pin_project! {
    /// The answer of a [`Guarded`] service.
    pub struct GuardedFuture<S: Service<Request>, G: Guard> {
        #[pin]
        step: Step<S, G>,
    }
}

/// A request that waits for its guard, and its destination.
struct Held<S, G> {
    inner: S,
    guard: Arc<G>,
    request: Request,
}

pin_project! {
    #[project = StepProjection]
    enum Step<S: Service<Request>, G: Guard> {
        Rejected {
            answer: Option<Response>,
        },
        Waiting {
            awaited: Pin<Box<dyn Future<Output = G::Awaited> + Send>>,
            held: Option<Held<S, G>>,
        },
        Answering {
            #[pin]
            answering: S::Future,
            note: Option<G::Note>,
        },
    }
}

impl<S, G> Future for GuardedFuture<S, G>
where
    S: Service<Request, Response: IntoResponse>,
    G: Guard,
{
    type Output = Result<Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            match step.as_mut().project() {
                StepProjection::Rejected { answer } => {
                    return Poll::Ready(Ok(answer.take().expect("an answer is given once")));
                }
                StepProjection::Waiting { awaited, held } => {
                    let awaited = ready!(awaited.as_mut().poll(context));
                    let Held { mut inner, guard, mut request } =
                        held.take().expect("a wait ends once");
                    match guard.resume(&mut request, awaited) {
                        Ok(note) => {
                            let answering = inner.call(request);
                            step.set(Step::Answering { answering, note: Some(note) });
                        }
                        Err(rejection) => {
                            let answer = guard.settings().answer(rejection, request);
                            return Poll::Ready(Ok(answer));
                        }
                    }
                }
                StepProjection::Answering { answering, note } => {
                    let mut response = ready!(answering.poll(context))?.into_response();
                    if let Some(note) = note.take() {
                        G::finish(note, response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
            }
        }
    }
}

impl<S: Service<Request>, G: Guard> fmt::Debug for GuardedFuture<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedFuture")
    }
}
