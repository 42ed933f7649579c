//! The error response type: a sentence for users and a stable code for programs.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tracera_session::SessionError;

use crate::error_chain::chain;
use crate::store::StoreError;

/// An error response. The cause, if any, is logged once and never sent to the client.
#[derive(Debug)]
pub struct AppError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The JSON body of an error.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// A sentence for users.
    error: &'a str,
    /// A stable code for programs.
    code: &'static str,
}

/// The result of handlers.
pub type AppResult<T> = Result<T, AppError>;

impl AppError {
    /// An error with this status, code and sentence.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, message: message.into(), retry_after: None, cause: None }
    }

    /// 400: the request is malformed.
    pub fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400: the form does not have the fields of its page.
    pub fn malformed_form() -> Self {
        Self::bad_request(
            "malformed_form",
            "the form is not the one of this page; please open the page again",
        )
    }

    /// 400: the passkey response is invalid, for any reason.
    pub fn passkey_invalid() -> Self {
        Self::bad_request(
            "passkey_invalid",
            "that passkey did not work here; please try again, or sign in another way",
        )
    }

    /// 401: nobody is signed in.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "please sign in")
    }

    /// 403: the CSRF token or the origin is wrong.
    pub fn csrf_failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "csrf_failed", message)
    }

    /// 404: the resource does not exist or belongs to somebody else.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
    }

    /// 503 with `Retry-After`: a dependency does not answer.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(2)),
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the service is briefly unavailable, please try again",
            )
        }
    }

    /// 500: a bug in this service.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "something went wrong on our side",
            )
        }
    }

    /// Adds a `Retry-After` header.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The body for the client.
    pub fn body(&self) -> ErrorBody<'_> {
        ErrorBody { error: &self.message, code: self.code }
    }

    /// Logs the cause, for an error that is not sent as a response.
    pub fn log(&self) {
        let Some(cause) = &self.cause else { return };
        let cause = chain(&**cause);
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%cause, code = self.code, "request failed");
        } else {
            tracing::warn!(%cause, code = self.code, "request refused");
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<SessionError> for AppError {
    fn from(error: SessionError) -> Self {
        let (status, code) = error.status_and_code();
        if let SessionError::DeviceProofMissing = error {
            return Self::new(status, code, error.to_string());
        }
        match status {
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(error),
            StatusCode::INTERNAL_SERVER_ERROR => Self::internal(error),
            StatusCode::UNAUTHORIZED => Self::unauthenticated(),
            _ => Self::new(status, code, error.to_string()),
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() { Self::unavailable(error) } else { Self::internal(error) }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        self.log();
        let body = Json(self.body());
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: HeaderValue| drop(headers.insert(name, value));
        if let Some(wait) = self.retry_after {
            set(header::RETRY_AFTER, HeaderValue::from(whole_secs_up(wait)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            set(header::WWW_AUTHENTICATE, HeaderValue::from_static("Cookie realm=\"tracera\""));
        }
        response
    }
}

fn whole_secs_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
