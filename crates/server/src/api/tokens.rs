//! API tokens: create, list, revoke.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::actions::Caller;
use crate::actions::tokens::{self as actions, MAX_DAYS, NAME_CHARS, Wanted};
use crate::domain::scope::{Scope, Scopes};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::{ApiJson, ApiPath};
use crate::http::json::TokenBody;
use crate::store::tokens;

/// The body of a request for a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    name: String,
    scopes: Vec<String>,
    expires_in_days: Option<u16>,
}

impl TokenRequest {
    fn into_wanted(self) -> AppResult<Wanted> {
        let scopes: Option<Scopes> = self.scopes.iter().map(|name| Scope::parse(name)).collect();
        let wanted = scopes.map(|scopes| Wanted::new(&self.name, scopes, self.expires_in_days));
        let Some(Ok(wanted)) = wanted else {
            let scopes = Scope::ALL.map(Scope::as_str).join(", ");
            return Err(AppError::bad_request(
                "invalid_token_request",
                format!(
                    "a token has a name of 1 to {NAME_CHARS} characters, one or more of the \
                     scopes {scopes}, and lives 1 to {MAX_DAYS} days"
                ),
            ));
        };
        Ok(wanted)
    }
}

/// `POST /api/v1/auth/tokens`
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    ApiJson(body): ApiJson<TokenRequest>,
) -> AppResult<impl IntoResponse> {
    let wanted = body.into_wanted()?;
    let (created, token) = actions::create(app.accounts(), caller, wanted).await?;
    Ok((StatusCode::CREATED, Json(TokenBody::from(created).with_secret(&token))))
}

/// `GET /api/v1/auth/tokens`
pub async fn list(State(app): State<App>, caller: Caller) -> AppResult<Json<Value>> {
    let tokens = tokens::of_user(&app.database, caller.user, app.now()).await?;
    let tokens: Vec<_> = tokens.into_iter().map(TokenBody::from).collect();
    Ok(Json(json!({ "tokens": tokens })))
}

/// `DELETE /api/v1/auth/tokens/{id}`
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    ApiPath(id): ApiPath<Uuid>,
) -> AppResult<StatusCode> {
    actions::revoke(app.accounts(), caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
