//! A middleware that only looks at the request: lets it through, perhaps with something noted on it, or answers it.
//!
//! It costs no future of its own and no copy of what lies below, which `axum::middleware::from_fn` needs for each
//! request. Whoever has to wait, or to look at the answer, uses that.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};

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
