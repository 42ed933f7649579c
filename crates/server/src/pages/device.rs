//! Responses to browsers that have not proved their session's device.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tracera_session::SessionError;

use crate::http::App;
use crate::http::error::AppError;
use crate::http::require_auth::is_sent_by_others;
use crate::pages::error_page::has;
use crate::pages::return_target::ReturnTarget;

/// The header in which a browser says why it sends no proof.
const SKIPPED: HeaderName = HeaderName::from_static("secure-session-skipped");

/// Sent over https by Chromium and its relatives, the only browsers that bind sessions.
const CHROMIUM: HeaderName = HeaderName::from_static("sec-ch-ua");

#[derive(Template)]
#[template(path = "device_step.html")]
struct StepPage;

#[derive(Template)]
#[template(path = "device_missing.html")]
struct MissingPage {
    sign_in: String,
}

/// The answer to a provider's callback, where the browser may register its device: the page that
/// loads the callback once more. A browser that another site led to the callback would register
/// without the session's `SameSite=Lax` cookie.
pub fn step_before_sign_in(app: &App, headers: &HeaderMap) -> Option<Response> {
    let may_register = app.binds_devices && headers.contains_key(CHROMIUM);
    (may_register && is_sent_by_others(headers)).then(|| page(StatusCode::OK, &StepPage))
}

/// The response to a request with a valid session and an unproved device.
///
/// 1. After a navigation from another site, the browser has not tried to prove it. A page of this
///    site reloads the URL, and then the browser does.
/// 2. If a failure of this service prevented the proof: 503.
/// 3. Otherwise a page explains it; a program gets 401.
pub fn to_proof(parts: &Parts) -> Response {
    if is_sent_by_others(&parts.headers) {
        return page(StatusCode::OK, &StepPage);
    }
    let is_ours = |why: &&str| has(&parts.headers, SKIPPED, why);
    if ["server_error", "unreachable"].iter().any(is_ours) {
        return AppError::unavailable("the browser could not renew its device's proof")
            .into_response();
    }
    if !has(&parts.headers, header::ACCEPT, "text/html") {
        return AppError::from(SessionError::DeviceProofMissing).into_response();
    }
    let target = ReturnTarget::asked_for(&parts.method, &parts.uri).unwrap_or_default();
    page(StatusCode::UNAUTHORIZED, &MissingPage { sign_in: target.by_way_of_sign_in() })
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            (status, [no_store], Html(html)).into_response()
        }
        Err(error) => AppError::internal(error).into_response(),
    }
}
