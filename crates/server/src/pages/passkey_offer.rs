//! Suggests a passkey after a sign-in by mail: once per account, on the following pages. "Not now"
//! ends the suggestion for good.

use std::time::Duration;

use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, header};
use tracera_guard::HostCookie;
use uuid::Uuid;

use crate::actions::Caller;
use crate::http::App;
use crate::http::error::AppResult;
use crate::store::passkeys;

/// The value only says that the suggestion is open, so it needs no protection.
const COOKIE: HostCookie = HostCookie::new("passkey-offer", Duration::from_mins(10));
const OPEN: &str = "open";

/// The `Set-Cookie` that makes the next pages suggest a passkey, if that is due. A database error
/// is logged and suggests nothing.
pub(super) async fn begin(app: &App, user: Uuid) -> Option<HeaderValue> {
    let is_due = passkeys::offer_once(&app.database, user).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "a passkey could not be offered");
        false
    });
    is_due.then(|| COOKIE.secure(app.is_https()).set(OPEN))
}

/// Whether this browser shows the suggestion.
pub(super) fn is_open(app: &App, headers: &HeaderMap) -> bool {
    let cookie = COOKIE.secure(app.is_https());
    cookie.read_as(headers, |value| (value == OPEN).then_some(())).is_some()
}

/// `POST /account/passkey-offer`: declines.
pub async fn decline(State(app): State<App>, _: Caller) -> AppResult<Response> {
    let cookie = AppendHeaders([(header::SET_COOKIE, COOKIE.secure(app.is_https()).clear())]);
    Ok((cookie, Redirect::to("/")).into_response())
}
