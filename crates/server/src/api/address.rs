//! The e-mail address of an account: requesting a change and verifying it.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::actions::{Caller, address};
use crate::domain::email::Email;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiJson;
use crate::http::json::UserBody;

/// The body of a request for a new address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRequest {
    email: String,
}

/// `POST /api/v1/auth/email`: mails a link to the new address.
pub async fn request(
    State(app): State<App>,
    caller: Caller,
    ApiJson(body): ApiJson<AddressRequest>,
) -> AppResult<Json<Value>> {
    let links = app.mailed_links()?;
    let email = Email::parse(&body.email)
        .map_err(|error| AppError::bad_request("invalid_email", error.to_string()))?;
    address::request(&app.accounts(), links, &caller, &email, &app.page("/email")).await?;
    let message = "a mail with a link is on its way; nothing changes before it is opened";
    Ok(Json(json!({ "message": message })))
}

/// The token of the mailed link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    token: String,
}

/// `POST /api/v1/auth/email/confirm`
pub async fn confirm(
    State(app): State<App>,
    caller: Caller,
    ApiJson(body): ApiJson<Confirmation>,
) -> AppResult<Json<Value>> {
    let user = address::confirm(app.accounts(), caller, body.token).await?;
    Ok(Json(json!({ "user": UserBody::from(user) })))
}
