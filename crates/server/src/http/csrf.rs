//! Which CSRF guard checks which request, and the answers to refused ones.
//!
//! 1. Forms of pages carry their token in the field `csrf_token`, everything else in
//!    `X-CSRF-Token`.
//! 2. A refused form goes with its answer, for the page that can resubmit it.

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

/// Where programs get their token.
const TOKEN_PATH: &str = "/api/v1/auth/csrf";

/// The field of a page's form that holds the token.
const FIELD: &str = "csrf_token";

/// Refuses unsafe requests from other origins.
pub fn origin(app: &App) -> OriginPolicy {
    let base_url = app.base_url.clone();
    app.origin.clone().on_rejection(move |rejection, _| {
        let sentence = "this request did not come from our own pages";
        let error = match rejection {
            // Often it is this very page, opened under another name of this server.
            OriginRejection::OtherOrigin | OriginRejection::OtherReferer => {
                AppError::csrf_failed(format!("{sentence}; open {base_url} and try again"))
            }
            _ => AppError::csrf_failed(sentence),
        };
        error.into_response()
    })
}

/// Refuses unsafe requests of the API without the token of their own session, and gives what
/// answers with a page what its forms need.
pub fn token_in_header(app: &App) -> CsrfGuard {
    let is_covered = |request: &Request| {
        answering(request).is_some_and(|row| {
            // Of what only reads, the token's own address and what answers with a page.
            let issues = row.is_navigated || row.pattern == TOKEN_PATH;
            !row.is_page()
                && row.access != Access::DeviceProof
                && (issues || !is_safe_method(request.method()))
                && !is_by_token(request)
        })
    };
    app.csrf.clone().only(is_covered).on_rejection(|rejection, _| refusal(rejection))
}

/// Refuses forms of pages without that token, and gives pages what their forms need.
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

/// Whether a request is a form of a page.
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
