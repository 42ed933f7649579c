//! Offers a passkey to who signed in by mail: once per account, on the pages after that sign-in.
//! "Not now" ends it for good.

use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, header};
use uuid::Uuid;

use crate::actions::Caller;
use crate::cookie::ServiceCookie;
use crate::http::App;
use crate::http::error::AppResult;
use crate::store::passkeys;

/// Ten minutes. It says that the offer stands, which is no secret.
const COOKIE: ServiceCookie = ServiceCookie::new("__Host-passkey-offer", 600);

/// The `Set-Cookie` that makes the next pages offer one, if that is due. An error of the database
/// makes no offer, and another sign-in will.
pub(super) async fn begin(app: &App, user: Uuid) -> Option<HeaderValue> {
    let is_due = passkeys::offer_once(&app.database, user).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "a passkey could not be offered");
        false
    });
    is_due.then(|| COOKIE.set("open", app.is_https()))
}

/// Whether the offer stands in this browser.
pub(super) fn is_open(app: &App, headers: &HeaderMap) -> bool {
    COOKIE.read(headers, app.is_https()).is_some()
}

/// `POST /account/passkey-offer`: not now.
pub async fn decline(State(app): State<App>, _: Caller) -> AppResult<Response> {
    let cookie = AppendHeaders([(header::SET_COOKIE, COOKIE.forget(app.is_https()))]);
    Ok((cookie, Redirect::to("/")).into_response())
}
