//! CSRF: whether an unsafe request carries the token of its own session.

use std::borrow::Cow;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue};
use tracera_guard::{
    OriginRejection, ResourceIsolation, VisitorId, is_safe_method, token_from_headers,
};
use tracera_session::{Session, SessionError};
use url::form_urlencoded;

use crate::http::App;
use crate::http::endpoint::{Access, Endpoint};
use crate::http::error::{AppError, AppResult};
use crate::http::extract::too_large;
use crate::http::limits::MAX_BODY_BYTES;
use crate::pages::expired_form;

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

    /// The binding of this request's session or visitor.
    pub fn find(app: &App, session: &Session, headers: &HeaderMap) -> Option<Self> {
        Self::of_session(session)
            .or_else(|| app.visitor.parse(headers).as_ref().map(Self::of_visitor))
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

/// A token for this request's session or visitor, and the cookie it is bound to when nobody is
/// signed in.
pub fn issue(app: &App, session: &Session, headers: &HeaderMap) -> (String, Option<HeaderValue>) {
    let (binding, cookie) = match Binding::of_session(session) {
        Some(binding) => (binding, None),
        None => {
            let (visitor, cookie) = app.visitor(headers);
            (Binding::of_visitor(&visitor), Some(cookie))
        }
    };
    (app.csrf.issue(binding.as_bytes()), cookie)
}

/// Refuses what pages of other sites load from here.
pub fn isolate((): &(), request: &mut Request) -> Result<(), OriginRejection> {
    ResourceIsolation::new().check(request.method(), request.headers())
}

/// Refuses unsafe requests from other origins.
pub fn check_origin(app: &App, request: &mut Request) -> AppResult<()> {
    app.origin.check(request.method(), request.headers()).map_err(|rejection| {
        tracing::warn!(event = "csrf_failed", reason = %rejection, "an unsafe request came from elsewhere");
        let sentence = "this request did not come from our own pages";
        match rejection {
            // Often it is this very page, opened under another name of this server.
            OriginRejection::OtherOrigin | OriginRejection::OtherReferer => {
                AppError::csrf_failed(format!("{sentence}; open {} and try again", app.base_url))
            }
            _ => AppError::csrf_failed(sentence),
        }
    })
}

/// Refuses unsafe requests without the token of their own session in `X-CSRF-Token`, except forms
/// of pages.
pub fn require_token(app: &App, request: &mut Request) -> AppResult<()> {
    let is_taken = Endpoint::of(request).is_some();
    if is_taken && !is_safe_method(request.method()) && !is_form(request) {
        let session = session(request.extensions())?;
        let binding =
            check(app, &session, request.headers(), token_from_headers(request.headers()))?;
        request.extensions_mut().insert(binding);
    }
    Ok(())
}

/// Whether a request is a form of a page.
pub fn is_form(request: &Request) -> bool {
    !is_safe_method(request.method())
        && matches!(
            Endpoint::of(request),
            Some(Endpoint { access: Access::PublicPage | Access::PrivatePage, .. })
        )
}

/// Refuses forms of pages without that token in a field named `csrf_token`, some of them with a
/// page that helps on. The field is looked for whatever the body claims to be.
pub async fn require_form_token(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> AppResult<Response> {
    let session = session(request.extensions())?;
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| too_large())?;
    let token = field(&body, "csrf_token");
    let binding = match check(&app, &session, &parts.headers, token.as_deref()) {
        Ok(binding) => binding,
        Err(refusal) => {
            return expired_form::answer(&app, &session, &parts, &body).await?.ok_or(refusal);
        }
    };
    parts.extensions.insert(binding);
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

fn session(extensions: &Extensions) -> AppResult<Session> {
    let session = extensions.get::<Session>().cloned().ok_or(SessionError::NoLayer)?;
    session.available()?;
    Ok(session)
}

fn check(
    app: &App,
    session: &Session,
    headers: &HeaderMap,
    token: Option<&str>,
) -> AppResult<Binding> {
    match (Binding::find(app, session, headers), token) {
        (Some(binding), Some(token)) if app.csrf.verify(binding.as_bytes(), token) => Ok(binding),
        _ => {
            tracing::warn!(event = "csrf_failed", "an unsafe request had no valid CSRF token");
            Err(AppError::csrf_failed(
                "fetch a token from /api/v1/auth/csrf and send it in X-CSRF-Token with the same cookies",
            ))
        }
    }
}

/// The field of a form; `None` unless there is exactly one of that name.
pub fn field<'a>(form: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let mut fields = form_urlencoded::parse(form).filter(|(found, _)| found == name);
    match (fields.next(), fields.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_form_has_exactly_one_token() {
        for (body, token) in [
            ("csrf_token=a%2Db&email=x", Some("a-b")),
            ("email=x&csrf_token=a", Some("a")),
            ("csrf_token=", Some("")),
            ("csrf_token=a&csrf_token=a", None),
            ("csrf_token=a&%63srf_token=b", None),
            ("{\"csrf_token\":\"a\"}", None),
            ("", None),
        ] {
            assert_eq!(field(body.as_bytes(), "csrf_token").as_deref(), token, "{body}");
        }
    }
}
