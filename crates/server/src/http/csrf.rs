//! The CSRF guards for the API and the pages, and the responses to refused requests.
//!
//! 1. Forms of pages have their token in the field `csrf_token`. All other requests have it in the
//!    header `X-CSRF-Token`.
//! 2. A refused form is attached to its response, for the page that can resubmit it.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tracera_guard::{
    CsrfGuard, CsrfRejection, OriginPolicy, OriginRejection, RefusedForm, is_safe_method,
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

/// Refuses unsafe requests from other origins.
pub fn origin(app: &App) -> OriginPolicy {
    let base_url = app.base_url.clone();
    app.origin.clone().on_rejection(move |rejection, _| {
        let sentence = "this request did not come from our own pages";
        let error = match rejection {
            // The user often opened this very page under another host name of this server.
            OriginRejection::OtherOrigin | OriginRejection::OtherReferer => {
                AppError::csrf_failed(format!("{sentence}; open {base_url} and try again"))
            }
            _ => AppError::csrf_failed(sentence),
        };
        error.into_response()
    })
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
        _ => AppError::csrf_failed(
            "fetch a token from /api/v1/auth/csrf and send it in X-CSRF-Token with the same \
             cookies",
        )
        .into_response(),
    }
}
