//! Forms with a mailed link's token, which the browser has in no other place. If such a form fails
//! temporarily, its error page can send it again. The token stays in the form, out of URLs and
//! logs.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};

use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::endpoint::MAX_BODY_BYTES;
use crate::http::error::AppResult;
use crate::http::extract::field;
use crate::http::extract::too_large;

/// The form to send again. In the extensions of its response.
#[derive(Clone)]
pub struct Resubmit {
    /// The path to post to.
    pub action: &'static str,
    /// The CSRF token it was sent with. For a client over its limit the session is not loaded, so
    /// no new token can be issued.
    pub csrf_token: String,
    /// The token of the link.
    pub token: String,
}

/// Whether a request is such a form.
pub fn holds_a_link(request: &Request) -> bool {
    request.method() == Method::POST && action(request).is_some()
}

fn action(request: &Request) -> Option<&'static str> {
    let pattern = RequestContext::of(request.extensions())?.endpoint?.pattern;
    ["/login/confirm", "/email"].into_iter().find(|form| *form == pattern)
}

/// Attaches the form to a response that a retry may change. A form from another site is not offered
/// again.
///
/// # Errors
/// 413.
pub async fn keep(State(app): State<App>, request: Request, next: Next) -> AppResult<Response> {
    let is_ours = app.origin.check(request.method(), request.headers()).is_ok();
    let Some(action) = action(&request).filter(|_| is_ours) else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let form = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| too_large())?;
    let mut response = next.run(Request::from_parts(parts, Body::from(form.clone()))).await;
    let may_pass = may_pass(response.status());
    if let (true, Some(csrf_token), Some(token)) =
        (may_pass, field(&form, "csrf_token"), field(&form, "token"))
    {
        let (csrf_token, token) = (csrf_token.into_owned(), token.into_owned());
        response.extensions_mut().insert(Resubmit { action, csrf_token, token });
    }
    Ok(response)
}

/// Whether a retry of the same request may succeed later.
pub fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
