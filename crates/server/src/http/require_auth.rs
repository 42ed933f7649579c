//! Restricts private paths to signed-in users. Paths that look like private ones get the same
//! response.
//!
//! 1. Public rows of the URL table are open. All others require a signed-in user, or an API token
//!    where the row accepts one.
//! 2. Without a session, a private page redirects to the sign-in page; a private API path is 401.
//! 3. A session that is bound to a device gives no access without the device's proof. The browser
//!    is sent to prove it.
//! 4. An unknown path is 401 if it resembles a private API path, else 404.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tracera_session::{RequireAuth, Session, SessionError};

use crate::http::App;
use crate::http::bearer::is_by_token;
use crate::http::context::RequestContext;
use crate::http::endpoint::Access;
use crate::http::error::AppError;

/// Whether the handler may need the session. Other requests, and those with an API token, do not
/// read the session store.
pub fn is_personal(request: &Request) -> bool {
    let context = RequestContext::of(request.extensions());
    let endpoint = context.and_then(|context| context.endpoint);
    endpoint
        .is_none_or(|endpoint| !matches!(endpoint.access, Access::NoSession | Access::DeviceProof))
        && !is_by_token(request)
}

/// Restricts all but public rows to signed-in users. Others get 401 or 404, or for a page the
/// response of `to_sign_in`.
pub fn require_auth(
    app: App,
    to_sign_in: fn(&Method, &Uri) -> Response,
    to_proof: fn(&Parts) -> Response,
) -> RequireAuth<impl Fn(&Request) -> bool + Clone> {
    RequireAuth::new()
        .only(|request| is_private(request) || arrives_unproved(request))
        .on_rejection(move |error, parts| match error {
            SessionError::DeviceProofMissing => to_proof(parts),
            error => refusal(&app, error, parts, to_sign_in),
        })
}

/// Whether another site navigated the browser here without a device proof. Browsers send the proof
/// only for requests from this site's own pages.
fn arrives_unproved(request: &Request) -> bool {
    is_sent_by_others(request.headers())
        && RequestContext::of(request.extensions())
            .and_then(RequestContext::answering)
            .is_some_and(|endpoint| endpoint.is_page() || endpoint.is_navigated)
        && Session::of(request.extensions())
            .is_ok_and(|session| matches!(session.user(), Err(SessionError::DeviceProofMissing)))
}

/// Whether another site navigated the browser here.
pub fn is_sent_by_others(headers: &HeaderMap) -> bool {
    let says = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    says("sec-fetch-mode") == Some(b"navigate")
        && matches!(says("sec-fetch-site"), Some(b"cross-site" | b"same-site"))
}

fn is_private(request: &Request) -> bool {
    let Some(context) = RequestContext::of(request.extensions()) else { return true };
    match context.endpoint.map(|endpoint| endpoint.access) {
        Some(Access::Public | Access::PublicPage | Access::NoSession | Access::DeviceProof) => {
            false
        }
        // A method that the page does not accept is 405 for everybody.
        Some(Access::PrivatePage) => context.answering().is_some(),
        Some(Access::Private) => !is_by_token(request),
        None => true,
    }
}

fn refusal(
    app: &App,
    error: SessionError,
    parts: &Parts,
    to_sign_in: fn(&Method, &Uri) -> Response,
) -> Response {
    let error = AppError::from(error);
    if error.status() != StatusCode::UNAUTHORIZED {
        return error.into_response();
    }
    let context = RequestContext::of(&parts.extensions);
    match context.and_then(|context| context.endpoint) {
        Some(endpoint) if endpoint.is_page() => to_sign_in(&parts.method, &parts.uri),
        None if !app.endpoints.resembles_private(parts.uri.path()) => {
            AppError::not_found().into_response()
        }
        _ => error.into_response(),
    }
}

/// The response to an unknown path, for signed-in users.
pub async fn no_such_route() -> AppError {
    AppError::not_found()
}

/// 405. On private paths, users who are not signed in have already got 401.
///
/// OPTIONS is answered, with nothing but the `Allow` header that the router adds (RFC 9110, section
/// 9.3.7): proxies check with `OPTIONS /` whether a server lives.
pub async fn no_such_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    AppError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address does not take that method; see the Allow header",
    )
    .into_response()
}
