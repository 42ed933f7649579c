//! The reasons for which a token is refused, and their responses.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Repeated;

/// A request carried no valid token of its session or visitor.
///
/// As a response it is JSON, 403 `csrf_failed` unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsrfRejection {
    /// The request carries no token.
    #[error("the request carries no token")]
    NoToken,
    /// The header or the field occurs twice.
    #[error("the request carries more than one token")]
    RepeatedToken,
    /// The request has a token but no cookie to which it could be bound: the browser blocks
    /// cookies, or the visitor cookie has expired.
    #[error("the request has neither a session nor a visitor cookie")]
    NoVisitor,
    /// The token belongs to another session or visitor. Usually the page was opened before somebody
    /// signed in or out.
    #[error("the token belongs to another session or visitor")]
    OtherBinding,
    /// The form is larger than [`CsrfGuard::max_form_bytes`](crate::CsrfGuard::max_form_bytes), or
    /// ended early. 413 `body_too_large`.
    #[error("the form is too large to look for its token")]
    FormTooLarge,
    /// The session of the request is not known. The answer is the error of `session_of`.
    #[error("the session of the request is not known")]
    SessionUnknown(Box<Response>),
    /// A handler extracts [`CsrfBinding`](crate::CsrfBinding) outside of a
    /// [`CsrfGuard`](crate::CsrfGuard). 500 `internal`.
    #[error("CsrfBinding is extracted without a CsrfGuard")]
    NoGuard,
}

impl From<Repeated> for CsrfRejection {
    fn from(Repeated: Repeated) -> Self {
        Self::RepeatedToken
    }
}

impl IntoResponse for CsrfRejection {
    fn into_response(self) -> Response {
        match self {
            Self::NoToken | Self::RepeatedToken | Self::NoVisitor | Self::OtherBinding => {
                crate::reply::error(
                    StatusCode::FORBIDDEN,
                    "csrf_failed",
                    "fetch a new CSRF token and send it in X-CSRF-Token with the same cookies",
                )
            }
            Self::FormTooLarge => crate::reply::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the body is too large",
            ),
            Self::SessionUnknown(answer) => *answer,
            Self::NoGuard => {
                crate::reply::mistake("no CSRF guard around this route: add the layer CsrfGuard")
            }
        }
    }
}
