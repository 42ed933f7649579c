//! Recovery codes: create new ones, sign in with one.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use serde::Deserialize;
use serde_json::{Value, json};
use tracera_session::Session;

use crate::actions::recovery::{RecoveryRefusal, make, recover};
use crate::actions::{ActionError, Caller};
use crate::auth::client::ClientInfo;
use crate::auth::recovery_codes::RecoveryCode;
use crate::domain::email::Email;
use crate::http::error::AppResult;
use crate::http::extract::ApiJson;
use crate::http::json::UserBody;
use crate::http::{App, cookies};

/// `POST /api/v1/auth/recovery-codes`
pub async fn codes(State(app): State<App>, caller: Caller) -> AppResult<Json<Value>> {
    let codes = make(app.accounts(), app.recovery_codes.clone(), caller).await?;
    Ok(Json(json!({ "codes": codes.each_ref().map(RecoveryCode::expose) })))
}

/// The body of a sign-in with a recovery code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    email: String,
    code: String,
}

/// `POST /api/v1/auth/recovery`
pub async fn sign_in(
    State(app): State<App>,
    session: Session,
    client: ClientInfo,
    ApiJson(body): ApiJson<Recovery>,
) -> AppResult<impl IntoResponse> {
    let Ok(email) = Email::parse(&body.email) else {
        return Err(ActionError::Refused(RecoveryRefusal::Invalid).into());
    };
    let codes = app.recovery_codes.clone();
    let entered = recover(app.accounts(), codes, session, client, email, body.code).await?;
    let device = cookies::device(app.is_https()).set(&entered.device_token);
    let body = json!({ "user": UserBody::from(entered.user) });
    Ok(([(header::SET_COOKIE, device)], Json(body)))
}
