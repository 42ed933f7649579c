//! Sessions on poem, with `Sessions::open` and `Session::finish`: a middleware and an extractor.

use std::ops::Deref;

use http::{HeaderValue, StatusCode, header};
use poem::{
    Endpoint, EndpointExt, FromRequest, Middleware, Request, RequestBody, Response, Result, Route,
    get, handler,
};
use tracera_session::{SessionError, Sessions, SignIn};

/// Opens each request's session, and writes it back after the endpoint.
///
/// `SessionLayer` does not fit through `poem::middleware::TowerLayerCompatExt`, which passes poem's
/// own request type to layers.
pub struct SessionMiddleware {
    sessions: Sessions,
}

impl SessionMiddleware {
    /// A middleware for these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl<E: Endpoint> Middleware<E> for SessionMiddleware {
    type Output = SessionEndpoint<E>;

    fn transform(&self, inner: E) -> SessionEndpoint<E> {
        SessionEndpoint { inner, sessions: self.sessions.clone() }
    }
}

/// The endpoint that [`SessionMiddleware`] makes.
pub struct SessionEndpoint<E> {
    inner: E,
    sessions: Sessions,
}

impl<E: Endpoint> Endpoint for SessionEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let session = self.sessions.open(request.headers()).await;
        request.extensions_mut().insert(session.clone());
        let mut response = self.inner.get_response(request).await;
        let finished = session.finish().await;
        if let Err(error) = finished.written {
            response = refusal(&error).into_response();
        }
        if let Some(cookie) = finished.set_cookie {
            let headers = response.headers_mut();
            headers.append(header::SET_COOKIE, cookie);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Ok(response)
    }
}

/// The request's session, as an extractor.
pub struct Session(tracera_session::Session);

impl Deref for Session {
    type Target = tracera_session::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a> FromRequest<'a> for Session {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self(tracera_session::Session::of(request.extensions()).map_err(|e| refusal(&e))?))
    }
}

/// The response to a session error.
pub fn refusal(error: &SessionError) -> poem::Error {
    let status: StatusCode = error.status_and_code().0;
    poem::Error::from_string(error.to_string(), status)
}

#[handler]
async fn sign_in(session: Session) -> Result<()> {
    session.sign_in(SignIn::new(42.into(), "demo")).await.map_err(|error| refusal(&error))
}

#[handler]
#[expect(clippy::needless_pass_by_value, reason = "what an extractor makes is the handler's")]
fn me(session: Session) -> Result<String> {
    Ok(session.user().map_err(|error| refusal(&error))?.to_string())
}

/// The example application: `/in` and `/me`.
pub fn app(sessions: Sessions) -> impl Endpoint {
    Route::new().at("/in", get(sign_in)).at("/me", get(me)).with(SessionMiddleware::new(sessions))
}
