//! The CSRF guards for the API and the pages, and the responses to refused requests.
//!
//! 1. Forms of pages have their token in the field `csrf_token`. All other requests have it in the
//!    header `X-CSRF-Token`.
//! 2. A refused form is attached to its response, for the page that can resubmit it.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tracera_guard::{
    CsrfGuard, CsrfRejection, OriginPolicy, OriginRejection, RefusedForm, ResourceIsolation,
    is_safe_method,
};

use crate::http::App;
use crate::http::bearer::is_by_token;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Access, Endpoint};
use crate::http::error::AppError;
use crate::http::extract::too_large;

/// The path where API clients get their token.
const TOKEN_PATH: &str = "/api/v1/auth/csrf";

/// The form field with the token.
const FIELD: &str = "csrf_token";

/// Why a request was refused, for the page that says so. In the extensions of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another site sent it, or a page that was opened under another host name of this server.
    OtherOrigin,
    /// The browser does not say where it came from.
    HiddenOrigin,
    /// No cookie came with it.
    NoCookie,
    /// Its token belongs to another session or visitor, or is missing.
    OldForm,
}

/// Refuses unsafe requests from other origins.
pub fn origin(app: &App) -> OriginPolicy {
    let base_url = app.base_url.clone();
    app.origin.clone().on_rejection(move |rejection, _| {
        let sentence = "this request did not come from our own pages";
        let (cause, message) = match rejection {
            // The user often opened this very page under another host name of this server.
            OriginRejection::OtherOrigin | OriginRejection::OtherReferer => {
                (Cause::OtherOrigin, format!("{sentence}; open {base_url} and try again"))
            }
            OriginRejection::HiddenOrigin => (
                Cause::HiddenOrigin,
                "this request does not say where it came from; a proxy or an extension may add \
                 Referrer-Policy: no-referrer"
                    .to_owned(),
            ),
            _ => (Cause::OtherOrigin, sentence.to_owned()),
        };
        because(cause, AppError::csrf_failed(message))
    })
}

/// Refuses what other sites cause, except links to pages.
pub fn isolation() -> ResourceIsolation {
    ResourceIsolation::new().on_rejection(|rejection, request| {
        if !is_safe_method(&request.method) {
            tracing::warn!(event = "csrf_failed", reason = %rejection,
                "an unsafe request came from elsewhere");
        }
        because(Cause::OtherOrigin, rejection)
    })
}

fn because(cause: Cause, error: impl IntoResponse) -> Response {
    let mut response = error.into_response();
    response.extensions_mut().insert(cause);
    response
}

/// Refuses unsafe API requests without their session's token. Provides the token to responses that
/// need one.
pub fn token_in_header(app: &App) -> CsrfGuard {
    let is_covered = |request: &Request| {
        answering(request).is_some_and(|row| {
            // Of safe requests, only these need a token in the response: its own endpoint, and
            // routes that answer with a page.
            let issues = row.is_navigated || row.pattern == TOKEN_PATH;
            !row.is_page()
                && row.access != Access::DeviceProof
                && (issues || !is_safe_method(request.method()))
                && !is_by_token(request)
        })
    };
    app.csrf.clone().only(is_covered).on_rejection(|rejection, _| refusal(rejection))
}

/// Refuses forms without the token, and provides the token to pages.
pub fn token_in_form(app: &App) -> CsrfGuard {
    let is_covered = |request: &Request| answering(request).is_some_and(Endpoint::is_page);
    app.csrf.clone().form_field(FIELD).only(is_covered).on_rejection(|rejection, parts| {
        let mut answer = refusal(rejection);
        if let Some(form) = parts.extensions.get::<RefusedForm>() {
            answer.extensions_mut().insert(form.clone());
        }
        answer
    })
}

/// Whether a request submits a form of a page.
pub fn is_form(request: &Request) -> bool {
    !is_safe_method(request.method()) && answering(request).is_some_and(Endpoint::is_page)
}

fn answering(request: &Request) -> Option<&Endpoint> {
    RequestContext::of(request.extensions())?.answering()
}

fn refusal(rejection: CsrfRejection) -> Response {
    match rejection {
        CsrfRejection::SessionUnknown(answer) => *answer,
        CsrfRejection::FormTooLarge => too_large().into_response(),
        CsrfRejection::NoGuard => AppError::internal(rejection.to_string()).into_response(),
        CsrfRejection::NoVisitor => because(
            Cause::NoCookie,
            AppError::csrf_failed(
                "no cookie came with this request; fetch a token from /api/v1/auth/csrf and send \
                 it in X-CSRF-Token with the same cookies",
            ),
        ),
        _ => because(
            Cause::OldForm,
            AppError::csrf_failed(
                "fetch a token from /api/v1/auth/csrf and send it in X-CSRF-Token with the same \
                 cookies",
            ),
        ),
    }
}
