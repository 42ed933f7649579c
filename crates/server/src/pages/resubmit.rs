//! Forms with a mailed link, which the browser has nowhere else. When they are refused for now,
//! their error page can send them again. The link stays in the form, out of addresses and logs.

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

/// The form to send again. In the extensions of the answer it is for.
#[derive(Clone)]
pub struct Resubmit {
    /// Where to.
    pub action: &'static str,
    /// The CSRF token it was sent with: where a client is over its limit nobody has looked whose
    /// session this is.
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

/// Keeps the form beside an answer that another try may change. What another site sent is not
/// offered again.
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

/// Whether the same request may be answered otherwise in a while.
pub fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
