//! Middleware that costs a request no allocation: each is a plain service around the next one.
//!
//! `axum::middleware::from_fn` needs a boxed future and a boxed copy of what lies below for each
//! request. It is for those that have to wait, behind [`when`] for the requests that need it.
//!
//! * [`gate`] looks at the request, and may answer it.
//! * [`around`] looks at the request and then at its answer.
//! * [`when`] puts another middleware before some requests only.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, Ready, ready};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::http::error::AppError;

/// Any answer to a request that does not pass.
#[derive(Debug)]
pub struct Refusal(Box<Response>);

impl From<Response> for Refusal {
    fn from(answer: Response) -> Self {
        Self(Box::new(answer))
    }
}

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        error.into_response().into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Looks at every request with `check`; an error is its answer.
pub fn gate<T, E>(state: T, check: fn(&T, &mut Request) -> Result<(), E>) -> Gate<T, E> {
    Gate { state, check }
}

/// The layer [`gate`] makes.
#[derive(Debug)]
pub struct Gate<T, E> {
    state: T,
    check: fn(&T, &mut Request) -> Result<(), E>,
}

impl<T: Clone, E> Clone for Gate<T, E> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), check: self.check }
    }
}

impl<T: Clone, E, S> Layer<S> for Gate<T, E> {
    type Service = Gated<T, E, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated { gate: self.clone(), inner }
    }
}

/// The service [`Gate`] wraps around another.
#[derive(Debug)]
pub struct Gated<T, E, S> {
    gate: Gate<T, E>,
    inner: S,
}

impl<T: Clone, E, S: Clone> Clone for Gated<T, E, S> {
    fn clone(&self) -> Self {
        Self { gate: self.gate.clone(), inner: self.inner.clone() }
    }
}

impl<T, E, S> Service<Request> for Gated<T, E, S>
where
    E: IntoResponse,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match (self.gate.check)(&self.gate.state, &mut request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(refusal) => Either::Right(ready(Ok(refusal.into_response()))),
        }
    }
}

/// Looks at every request with `before`, which notes something or answers it, and then at the
/// answer with `after`.
pub fn around<T, N, E>(
    state: T,
    before: fn(&T, &mut Request) -> Result<N, E>,
    after: fn(&T, N, Response) -> Response,
) -> Around<T, N, E> {
    Around { state, before, after }
}

/// The layer [`around`] makes.
#[derive(Debug)]
pub struct Around<T, N, E> {
    state: T,
    before: fn(&T, &mut Request) -> Result<N, E>,
    after: fn(&T, N, Response) -> Response,
}

impl<T: Clone, N, E> Clone for Around<T, N, E> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), before: self.before, after: self.after }
    }
}

impl<T: Clone, N, E, S> Layer<S> for Around<T, N, E> {
    type Service = Surrounded<T, N, E, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Surrounded { around: self.clone(), inner }
    }
}

/// The service [`Around`] wraps around another.
#[derive(Debug)]
pub struct Surrounded<T, N, E, S> {
    around: Around<T, N, E>,
    inner: S,
}

impl<T: Clone, N, E, S: Clone> Clone for Surrounded<T, N, E, S> {
    fn clone(&self) -> Self {
        Self { around: self.around.clone(), inner: self.inner.clone() }
    }
}

impl<T, N, E, S> Service<Request> for Surrounded<T, N, E, S>
where
    T: Clone,
    E: IntoResponse,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<SurroundedFuture<T, N, S::Future>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Around { state, before, after } = &self.around;
        match before(state, &mut request) {
            Ok(note) => Either::Left(SurroundedFuture {
                answering: self.inner.call(request),
                rest: Some((state.clone(), note)),
                after: *after,
            }),
            Err(refusal) => Either::Right(ready(Ok(refusal.into_response()))),
        }
    }
}

pin_project! {
    /// The answer of a [`Surrounded`].
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

/// Puts `layer` before the requests for which `wanted` says so; others go straight to what lies
/// below.
pub fn when<L>(wanted: fn(&Request) -> bool, layer: L) -> When<L> {
    When { wanted, layer }
}

/// The layer [`when`] makes.
#[derive(Clone, Debug)]
pub struct When<L> {
    wanted: fn(&Request) -> bool,
    layer: L,
}

impl<L: Layer<S>, S: Clone> Layer<S> for When<L> {
    type Service = Branch<L::Service, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Branch { wanted: self.wanted, with: self.layer.layer(inner.clone()), without: inner }
    }
}

/// The service [`When`] wraps around another.
#[derive(Clone, Debug)]
pub struct Branch<W, S> {
    wanted: fn(&Request) -> bool,
    with: W,
    without: S,
}

impl<W, S> Service<Request> for Branch<W, S>
where
    W: Service<Request, Response = Response, Error = Infallible>,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<W::Future, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        ready!(self.with.poll_ready(context))?;
        self.without.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if (self.wanted)(&request) {
            Either::Left(self.with.call(request))
        } else {
            Either::Right(self.without.call(request))
        }
    }
}
