//! CSRF: whether an unsafe request carries the token of its own session.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::request::Parts;
use tracera_guard::{VisitorId, is_safe_method, token_from_headers};
use tracera_session::{Session, SessionError};

use crate::app::App;
use crate::error::{AppError, AppResult};

/// What tokens are bound to in this request: the session or, signed out, the visitor cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// The binding's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The binding of a session.
    pub fn of_session(session: &Session) -> Option<Self> {
        session.binding().map(|id| Self([b"session:", &id[..]].concat()))
    }

    /// The binding of a signed-out visitor.
    pub fn of_visitor(visitor: &VisitorId) -> Self {
        Self([b"visitor:", visitor.as_bytes()].concat())
    }

    fn find(app: &App, session: &Session, headers: &HeaderMap) -> Option<Self> {
        Self::of_session(session).or_else(|| app.visitor.parse(headers).as_ref().map(Self::of_visitor))
    }
}

impl FromRequestParts<App> for Binding {
    type Rejection = AppError;

    /// Only after [`require_token`], which has put it there.
    async fn from_request_parts(parts: &mut Parts, _: &App) -> AppResult<Self> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| AppError::internal("no CSRF check on this route"))
    }
}

/// Refuses unsafe requests without the token of their own session.
pub async fn require_token(State(app): State<App>, mut request: Request, next: Next) -> AppResult<Response> {
    if is_safe_method(request.method()) {
        return Ok(next.run(request).await);
    }
    let session = request.extensions().get::<Session>().cloned().ok_or(SessionError::NoLayer)?;
    session.available()?;
    let binding = Binding::find(&app, &session, request.headers());
    let token = token_from_headers(request.headers());
    match (binding, token) {
        (Some(binding), Some(token)) if app.csrf.verify(binding.as_bytes(), token) => {
            request.extensions_mut().insert(binding);
            Ok(next.run(request).await)
        }
        _ => {
            tracing::warn!(event = "csrf_failed", "an unsafe request had no valid CSRF token");
            Err(AppError::csrf_failed(
                "fetch a token from /api/v1/auth/csrf and send it in X-CSRF-Token with the same cookies",
            ))
        }
    }
}
