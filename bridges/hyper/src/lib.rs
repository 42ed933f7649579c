//! Sessions on plain hyper, with `SessionLayer`: a service for `/in` and `/me`.

use std::convert::Infallible;
use std::io;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tracera_session::{Session, SessionError, SessionLayer, Sessions, SignIn};

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, sessions: Sessions) -> io::Result<()> {
    let service =
        ServiceBuilder::new().layer(SessionLayer::new(sessions)).service_fn(answer_request);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer_request(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (status, body) = match handle(&request).await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (error.status_and_code().0, error.to_string()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    Ok(response)
}

async fn handle(request: &Request<Incoming>) -> Result<String, SessionError> {
    let session = Session::of(request.extensions())?;
    match request.uri().path() {
        "/in" => {
            session.sign_in(SignIn::new(42.into(), "demo")).await?;
            Ok("welcome".to_owned())
        }
        _ => Ok(session.user()?.to_string()),
    }
}
