//! A layer that applies to some requests only.

use std::convert::Infallible;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::Either;
use tower::{Layer, Service};

/// Applies `layer` to the requests that `wanted` selects; others go straight to the inner service.
pub fn switch<L>(wanted: fn(&Request) -> bool, layer: L) -> Switch<L> {
    Switch { wanted, layer }
}

/// The layer that [`switch`] creates.
#[derive(Clone, Debug)]
pub struct Switch<L> {
    wanted: fn(&Request) -> bool,
    layer: L,
}

impl<L: Layer<S>, S: Clone> Layer<S> for Switch<L> {
    type Service = Switched<L::Service, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Switched { wanted: self.wanted, with: self.layer.layer(inner.clone()), without: inner }
    }
}

/// The service that [`Switch`] creates.
#[derive(Clone, Debug)]
pub struct Switched<W, S> {
    wanted: fn(&Request) -> bool,
    with: W,
    without: S,
}

impl<W, S> Service<Request> for Switched<W, S>
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
