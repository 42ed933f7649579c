//! A layer with a hook before the request and one after its response, without an allocation.
//!
//! `axum::middleware::from_fn` can wait, but it boxes a future and clones the inner service for
//! each request. Use it for middleware that must wait, behind a [`switch`](super::switch::switch).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::Response;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// Calls `before` with each request, and passes its result to `after` with the response.
pub fn around<T, N>(
    state: T,
    before: fn(&Request) -> N,
    after: fn(&T, N, Response) -> Response,
) -> Around<T, N> {
    Around { state, before, after }
}

/// The layer that [`around`] creates.
#[derive(Debug)]
pub struct Around<T, N> {
    state: T,
    before: fn(&Request) -> N,
    after: fn(&T, N, Response) -> Response,
}

impl<T: Clone, N> Clone for Around<T, N> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), before: self.before, after: self.after }
    }
}

impl<T: Clone, N, S> Layer<S> for Around<T, N> {
    type Service = Surrounded<T, N, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Surrounded { around: self.clone(), inner }
    }
}

/// The service that [`Around`] creates.
#[derive(Debug)]
pub struct Surrounded<T, N, S> {
    around: Around<T, N>,
    inner: S,
}

impl<T: Clone, N, S: Clone> Clone for Surrounded<T, N, S> {
    fn clone(&self) -> Self {
        Self { around: self.around.clone(), inner: self.inner.clone() }
    }
}

impl<T, N, S> Service<Request> for Surrounded<T, N, S>
where
    T: Clone,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = SurroundedFuture<T, N, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Around { state, before, after } = &self.around;
        let note = before(&request);
        SurroundedFuture {
            answering: self.inner.call(request),
            rest: Some((state.clone(), note)),
            after: *after,
        }
    }
}

pin_project! {
    /// The response future of [`Surrounded`].
    pub struct SurroundedFuture<T, N, F> {
        #[pin]
        answering: F,
        rest: Option<(T, N)>,
        after: fn(&T, N, Response) -> Response,
    }
}

impl<T, N, F> Future for SurroundedFuture<T, N, F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.answering.poll(context));
        let (state, note) = this.rest.take().expect("an answer comes once");
        Poll::Ready(Ok((this.after)(&state, note, response)))
    }
}
