//! A user's own sessions: list, end one, end all others.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use tracera_session::Handle;

use crate::actions::sessions::{self, EndedSession};
use crate::actions::{Caller, sign_out};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiPath;
use crate::http::json::SessionBody;
use crate::http::signing_out::clear_site_data;

/// `POST /api/v1/auth/logout`
pub async fn logout(State(app): State<App>, caller: Caller) -> AppResult<impl IntoResponse> {
    sign_out::sign_out(app.accounts(), caller).await?;
    Ok((StatusCode::NO_CONTENT, clear_site_data()))
}

/// `GET /api/v1/auth/sessions`
pub async fn list(State(app): State<App>, caller: Caller) -> AppResult<Json<Value>> {
    let current = caller.session.info().map(|info| info.handle);
    let sessions = app.sessions.list(&caller.id).await?;
    let bound = app.sessions.device_bound(&caller.id).await?;
    let sessions: Vec<_> = sessions
        .into_iter()
        .map(|info| {
            let is_bound = bound.contains(&info.handle);
            SessionBody::new(info, current, is_bound)
        })
        .collect();
    Ok(Json(json!({ "sessions": sessions })))
}

/// `DELETE /api/v1/auth/sessions/{handle}`: for the caller's own session, the response is that of
/// signing out.
pub async fn end(
    State(app): State<App>,
    caller: Caller,
    ApiPath(handle): ApiPath<String>,
) -> AppResult<Response> {
    let handle = Handle::parse(&handle).ok_or_else(AppError::not_found)?;
    Ok(match sessions::end(app.accounts(), caller, handle).await? {
        EndedSession::Own => (StatusCode::NO_CONTENT, clear_site_data()).into_response(),
        EndedSession::Other => StatusCode::NO_CONTENT.into_response(),
    })
}

/// `DELETE /api/v1/auth/sessions`
pub async fn end_others(State(app): State<App>, caller: Caller) -> AppResult<StatusCode> {
    sessions::end_others(app.accounts(), caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
