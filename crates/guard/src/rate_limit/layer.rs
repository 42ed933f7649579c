//! The limit per client address as a layer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{Decision, RateLimitRejection, RateLimiter};
use crate::client_addr::{ClientAddr, ClientAddrMissing};

/// A layer that lets a request pass only within the limit of its client, and tells the client where
/// it stands. It goes below [`resolve_client_addr`](crate::resolve_client_addr).
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, extract::Request, middleware, routing::post};
/// use tracera_guard::*;
///
/// let limiter = RateLimiter::in_memory(RateLimit::new("auth", 20, Duration::from_mins(1)));
/// let is_limited = |request: &Request| path_is_under(request.uri().path(), "/api/v1/auth/");
/// let app: Router = Router::new()
///     .route("/api/v1/auth/login", post(async || "welcome"))
///     .layer(ClientLimit::new(limiter).only(is_limited))
///     .layer(middleware::from_fn_with_state(TrustedProxies::default(), resolve_client_addr));
/// ```
#[derive(Clone, Debug)]
pub struct ClientLimit<F = fn(&Request) -> bool> {
    limiter: RateLimiter,
    counts: F,
}

impl ClientLimit {
    /// Counts every request, by [`ClientAddr::rate_key`].
    pub fn new(limiter: RateLimiter) -> Self {
        Self { limiter, counts: |_| true }
    }
}

impl<F> ClientLimit<F> {
    /// Counts only the requests for which `counts` says so. Look at paths with
    /// [`path_is_under`](crate::path_is_under), which knows all spellings of one.
    #[must_use]
    pub fn only<G: Fn(&Request) -> bool>(self, counts: G) -> ClientLimit<G> {
        ClientLimit { limiter: self.limiter, counts }
    }
}

impl<S, F: Clone> Layer<S> for ClientLimit<F> {
    type Service = ClientLimitService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientLimitService { limit: self.clone(), inner }
    }
}

/// The service [`ClientLimit`] makes.
#[derive(Clone, Debug)]
pub struct ClientLimitService<S, F> {
    limit: ClientLimit<F>,
    inner: S,
}

impl<S, F> Service<Request> for ClientLimitService<S, F>
where
    S: Service<Request, Response: IntoResponse> + Clone,
    F: Fn(&Request) -> bool,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ClientLimitFuture<S>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let step = if (self.limit.counts)(&request) {
            let client = request.extensions().get().copied();
            let deciding = Box::pin(decide(self.limit.limiter.clone(), client));
            let next = self.inner.clone();
            // The one that was found ready goes with the request.
            let ready = std::mem::replace(&mut self.inner, next);
            Step::Deciding { deciding, passing: Some((ready, request)) }
        } else {
            Step::Answering { answering: self.inner.call(request), decision: None }
        };
        ClientLimitFuture { step }
    }
}

type Deciding = Pin<Box<dyn Future<Output = Result<Decision, Response>> + Send>>;

pin_project! {
    /// The answer of a [`ClientLimitService`].
    pub struct ClientLimitFuture<S: Service<Request>> {
        #[pin]
        step: Step<S>,
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<S: Service<Request>> {
        Deciding {
            deciding: Deciding,
            passing: Option<(S, Request)>,
        },
        Answering {
            #[pin]
            answering: S::Future,
            decision: Option<Decision>,
        },
    }
}

impl<S> Future for ClientLimitFuture<S>
where
    S: Service<Request, Response: IntoResponse>,
{
    type Output = Result<Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        if let StepProjection::Deciding { deciding, passing } = step.as_mut().project() {
            let decision = match ready!(deciding.as_mut().poll(context)) {
                Ok(decision) => decision,
                Err(refusal) => return Poll::Ready(Ok(refusal)),
            };
            let (mut service, request) = passing.take().expect("a decision comes once");
            let answering = service.call(request);
            step.set(Step::Answering { answering, decision: Some(decision) });
        }
        let StepProjection::Answering { answering, decision } = step.project() else {
            unreachable!("it was decided")
        };
        let mut response = ready!(answering.poll(context))?.into_response();
        if let Some(decision) = decision {
            decision.apply_headers(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

impl<S: Service<Request>> fmt::Debug for ClientLimitFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientLimitFuture")
    }
}

/// The decision, or the answer of who does not pass.
async fn decide(limiter: RateLimiter, client: Option<ClientAddr>) -> Result<Decision, Response> {
    let client = client.ok_or_else(|| ClientAddrMissing.into_response())?;
    limiter.admit(&client.rate_key()).await.map_err(|rejection| {
        if let RateLimitRejection::Limited(_) = rejection {
            tracing::warn!(event = "rate_limited", client = %client.ip(), "a client is over its limit");
        }
        rejection.into_response()
    })
}
