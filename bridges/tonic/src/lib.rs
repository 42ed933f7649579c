//! Sessions of a gRPC service on tonic, with `SessionLayer`. Clients send the token in
//! `authorization`.
//!
//! The service is written by hand, so that the example needs no protobuf compiler.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic_prost::ProstCodec;
use tower::{Layer, Service};
use tracera_session::middleware::SessionService;
use tracera_session::{Session, SessionError, SessionLayer, Sessions, SignIn};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The routes inside the session layer, for `tonic::transport::Server` or any HTTP/2 server.
/// Configure the sessions with `SessionConfig::token_header(AUTHORIZATION)`.
pub fn app(sessions: Sessions) -> SessionService<Routes> {
    SessionLayer::new(sessions).layer(Routes::new(Accounts))
}

/// The empty request message.
#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

/// A response: a token or a user's id.
#[derive(Clone, PartialEq, Message)]
pub struct Text {
    /// The token or the id.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// `SignIn` answers with a token, `Me` with the id of its user.
#[derive(Clone, Copy)]
enum Method {
    SignIn,
    Me,
}

impl UnaryService<Nothing> for Method {
    type Response = Text;
    type Future = BoxFuture<Result<tonic::Response<Text>, Status>>;

    fn call(&mut self, request: tonic::Request<Nothing>) -> Self::Future {
        let method = *self;
        Box::pin(async move {
            let session = Session::of(request.extensions()).map_err(|error| status(&error))?;
            let text = match method {
                Self::SignIn => sign_in(&session).await,
                Self::Me => session.user().map(|user| user.to_string()),
            };
            Ok(tonic::Response::new(Text { text: text.map_err(|error| status(&error))? }))
        })
    }
}

async fn sign_in(session: &Session) -> Result<String, SessionError> {
    session.sign_in(SignIn::new(42.into(), "demo")).await?;
    session.bearer_token().ok_or(SessionError::Unauthenticated)
}

/// The status for the client. The cause goes to the log only.
fn status(error: &SessionError) -> Status {
    let text = error.to_string();
    match error.status_and_code().0 {
        StatusCode::UNAUTHORIZED => Status::unauthenticated(text),
        StatusCode::SERVICE_UNAVAILABLE => Status::unavailable(text),
        _ => Status::internal("internal error"),
    }
}

/// The service `example.Accounts`.
#[derive(Clone)]
pub struct Accounts;

impl NamedService for Accounts {
    const NAME: &'static str = "example.Accounts";
}

impl Service<Request<Body>> for Accounts {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method =
            if request.uri().path().ends_with("/SignIn") { Method::SignIn } else { Method::Me };
        Box::pin(async move {
            Ok(Grpc::new(ProstCodec::<Text, Nothing>::default()).unary(method, request).await)
        })
    }
}
