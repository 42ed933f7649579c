//! Sessions on actix-web, with `Sessions::open` and `Session::finish`: a middleware and an
//! extractor. Copy them into an application.
//!
//! 1. The session of a request is opened before the handler and written back after it.
//! 2. If the changes could not be written, the error replaces the handler's response.
//! 3. Either response carries the change of the cookie, and then `Cache-Control: no-store`.
//! 4. If the session ended meanwhile, the response stays as it is, and the cookie is cleared.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header as actix_header;
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tracera_session::{SessionError, Sessions};

/// The middleware: `App::new().app_data(web::Data::new(sessions)).wrap(from_fn(with_session))`.
pub async fn with_session<B: MessageBody + 'static>(
    sessions: web::Data<Sessions>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let session = sessions.open(&headers(request.headers())).await;
    request.extensions_mut().insert(session.clone());
    let answered = next.call(request).await;
    let finished = session.finish().await;
    // An error of a middleware inside this one. Handlers' errors are responses by now.
    let mut response = answered?.map_into_boxed_body();
    if let Err(error) = finished.written {
        response = response.into_response(Refused(error).error_response());
    }
    if let Some(cookie) = finished.set_cookie {
        let cookie = actix_header::HeaderValue::from_bytes(cookie.as_bytes())
            .map_err(actix_web::error::ErrorInternalServerError)?;
        let headers = response.headers_mut();
        headers.append(actix_header::SET_COOKIE, cookie);
        let no_store = actix_header::HeaderValue::from_static("no-store");
        headers.insert(actix_header::CACHE_CONTROL, no_store);
    }
    Ok(response)
}

/// The headers that may carry a session. actix-web uses the types of the crate `http` 0.2.
fn headers(request: &actix_header::HeaderMap) -> HeaderMap {
    const WANTED: [HeaderName; 2] = [header::COOKIE, header::AUTHORIZATION];
    let mut headers = HeaderMap::new();
    for name in WANTED {
        for value in request.get_all(name.as_str()) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(&name, value);
            }
        }
    }
    headers
}

/// The request's session, as an extractor: 503 when the store could not be asked.
#[derive(Clone, Debug)]
pub struct Session(tracera_session::Session);

impl Deref for Session {
    type Target = tracera_session::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromRequest for Session {
    type Error = Refused;
    type Future = Ready<Result<Self, Refused>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let session = extensions.get::<tracera_session::Session>().cloned();
        ready(match session {
            Some(session) => session.available().map(|()| Self(session)).map_err(Refused),
            None => Err(Refused(SessionError::NoLayer)),
        })
    }
}

/// A session error as a response of actix-web. Handlers return `Result<_, Refused>` and use `?`.
#[derive(Debug)]
pub struct Refused(pub SessionError);

impl From<SessionError> for Refused {
    fn from(error: SessionError) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> actix_web::http::StatusCode {
        let (status, _) = self.0.status_and_code();
        actix_web::http::StatusCode::from_u16(status.as_u16())
            .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code) = self.0.status_and_code();
        let is_ours = status == http::StatusCode::INTERNAL_SERVER_ERROR;
        let error = if is_ours { "internal error".to_owned() } else { self.0.to_string() };
        let mut response = HttpResponse::build(self.status_code());
        if status == http::StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((actix_header::RETRY_AFTER, "2"));
        }
        response.json(serde_json::json!({ "error": error, "code": code }))
    }
}
