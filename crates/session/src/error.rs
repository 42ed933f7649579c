//! The error of session operations, and its response.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::store::{FieldName, InvalidFieldName, StoreError};
use crate::token::InvalidUserId;

/// Why a session operation failed. As a response it is JSON `{"error", "code"}` with the status
/// named here.
///
/// ```
/// use axum::response::{IntoResponse, Redirect, Response};
/// use tracera_session::{CurrentUser, SessionError};
///
/// async fn page(user: Result<CurrentUser, SessionError>) -> Response {
///     match user {
///         Ok(CurrentUser(user)) => user.to_string().into_response(),
///         Err(SessionError::Unauthenticated) => Redirect::to("/login").into_response(),
///         Err(error) => error.into_response(), // 503 stays 503
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// 503 with `Retry-After`: the store did not answer. A write may or may not have been done.
    /// Whether there is a session is not known.
    #[error("the session store is unavailable, please try again shortly")]
    Unavailable(#[source] Arc<StoreError>),
    /// 401: there is no live session. None was presented, or it has expired or was signed out or
    /// revoked.
    #[error("please sign in")]
    Unauthenticated,
    /// 401: the session is alive and bound to a device, and the request has no valid device cookie.
    /// The user is still signed in: the browser proves its device and retries.
    #[error("prove that this is the device that signed in")]
    DeviceProofMissing,
    /// 403: the session is alive but the user proved who they are too long ago for this action.
    #[error("please confirm that it is you and try again")]
    NotFresh,
    /// 403: the user lacks the required permission.
    #[error("you are not allowed to do this")]
    Forbidden,
    /// 409: while this sign-in or confirmation was under way, the user signed out everywhere or
    /// another request renewed the session.
    #[error("this sign-in was overtaken by another request, please sign in again")]
    Superseded,
    /// 413: the session would hold more than its budget.
    #[error("the session cannot hold more data")]
    OverBudget,
    /// 500: a value cannot be written as or read from JSON, or
    /// [`increment`](crate::Session::increment) found no number.
    #[error("a session value does not have the expected form: {0}")]
    Value(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// 500: the application used an invalid field name.
    #[error(transparent)]
    FieldName(#[from] InvalidFieldName),
    /// 500: the application used an invalid user id.
    #[error(transparent)]
    UserId(#[from] InvalidUserId),
    /// 500: the response has begun, so no change would be written and no cookie sent.
    #[error(
        "the response has begun: call `set` and `commit` before it, or write at once with `update`"
    )]
    ResponseBegan,
    /// 503 with `Retry-After`: the [`Users`](crate::login::Users) of a login layer could not be
    /// asked. Who is signed in is not known.
    #[error("users are unavailable, please try again shortly")]
    Users(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// 500: a handler extracts its user outside of [`LoginLayer`](crate::login::LoginLayer).
    #[error("no login layer for users of this type: add LoginLayer inside of SessionLayer")]
    NoLoginLayer,
    /// 500: the handler runs outside [`SessionLayer`](crate::SessionLayer).
    #[error(
        "no session layer around this route: add SessionLayer outside of what uses the session"
    )]
    NoLayer,
}

impl SessionError {
    /// The status and the stable code of the response.
    pub fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unavailable(_) | Self::Users(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::DeviceProofMissing => (StatusCode::UNAUTHORIZED, "device_proof_required"),
            Self::NotFresh => (StatusCode::FORBIDDEN, "reauthentication_required"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Superseded => (StatusCode::CONFLICT, "sign_in_superseded"),
            Self::OverBudget => (StatusCode::PAYLOAD_TOO_LARGE, "session_full"),
            Self::Value(_)
            | Self::FieldName(_)
            | Self::UserId(_)
            | Self::ResponseBegan
            | Self::NoLoginLayer
            | Self::NoLayer => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl SessionError {
    /// The field's value does not deserialize as the type, perhaps because the type has a new
    /// field.
    pub(crate) fn field<T>(name: &FieldName, cause: &serde_json::Error) -> Self {
        let wanted = std::any::type_name::<T>();
        Self::value(format!(
            "the field {} is no {wanted}: {cause} (a field added to a struct needs \
             #[serde(default)])",
            name.as_str()
        ))
    }

    pub(crate) fn value(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Value(cause.into())
    }
}

impl SessionError {
    /// Whether the application's code has a mistake. A debug build names it in the response.
    fn is_mistake(&self) -> bool {
        matches!(
            self,
            Self::Value(_)
                | Self::FieldName(_)
                | Self::UserId(_)
                | Self::ResponseBegan
                | Self::NoLoginLayer
                | Self::NoLayer
        )
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let message = if cfg!(debug_assertions) && self.is_mistake() {
            tracing::error!(error = &self as &dyn std::error::Error, "session error");
            self.to_string()
        } else if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = &self as &dyn std::error::Error, "session error");
            "internal error".to_owned()
        } else {
            self.to_string()
        };
        if let Self::Users(_) = &self {
            tracing::warn!(error = &self as &dyn std::error::Error, "cannot load a user");
        }
        let mut response =
            (status, Json(serde_json::json!({ "error": message, "code": code }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
