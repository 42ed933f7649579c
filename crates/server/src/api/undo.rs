//! "This was not me": the link in a mail about a change. Its page is `GET /undo`.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::actions::undo;
use crate::auth::client::ClientInfo;
use crate::http::App;
use crate::http::error::AppResult;
use crate::http::extract::ApiJson;

/// The body of an undo request: the token of the link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    token: String,
}

/// `POST /api/v1/auth/undo`
pub async fn undo(
    State(app): State<App>,
    client: ClientInfo,
    ApiJson(body): ApiJson<UndoRequest>,
) -> AppResult<StatusCode> {
    undo::undo(app.accounts(), body.token, client).await?;
    Ok(StatusCode::NO_CONTENT)
}
