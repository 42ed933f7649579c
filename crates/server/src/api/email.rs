//! The address of an account: asking for one, confirming it. The pages for it are in
//! [`crate::pages::email`].

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use tracera_session::{CurrentUser, Session};

use crate::api::account::{UserBody, user_id};
use crate::api::magic::links;
use crate::auth::email_change;
use crate::auth::events::{ClientInfo, Kind, Notice};
use crate::auth::sign_in::REAUTH_WINDOW;
use crate::clock::utc;
use crate::domain::email::Email;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiJson;
use crate::store::users;
use crate::telemetry::task::run_to_completion;

/// The wanted address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// As typed.
    pub email: String,
}

/// `POST /api/v1/auth/email`: mails a link to the address the account shall have.
pub async fn request(
    State(app): State<App>,
    session: Session,
    CurrentUser(user): CurrentUser,
    visit: ClientInfo,
    ApiJson(body): ApiJson<Wish>,
) -> AppResult<Json<Value>> {
    let links = links(&app)?;
    session.require_fresh(REAUTH_WINDOW).await?;
    let email = Email::parse(&body.email)
        .map_err(|error| AppError::bad_request("invalid_email", error.to_string()))?;
    let mut page = app.base_url.clone();
    page.set_path("/email");
    let now = utc(app.clock.now());
    email_change::request(&app.database, links, user_id(&user)?, &email, &page, &visit, now)
        .await?;
    Ok(Json(
        json!({ "message": "a mail with a link is on its way; nothing changes before it is opened" }),
    ))
}

/// The token of the mailed link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// As in the link.
    pub token: String,
}

/// `POST /api/v1/auth/email/confirm`
pub async fn confirm(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    visit: ClientInfo,
    ApiJson(body): ApiJson<Confirmation>,
) -> AppResult<Json<Value>> {
    run_to_completion(async move {
        let (user, now) = (user_id(&user)?, utc(app.clock.now()));
        let before =
            users::find_by_id(&app.database, user).await?.ok_or_else(AppError::unauthenticated)?;
        let email = email_change::confirm(&app.database, user, &body.token, now).await?;
        tracing::info!(event = "email_changed", %user, "the account has another address");
        app.events.record(user, Kind::EmailChanged, Some("email"), &visit, now).await;
        let old = before.email.filter(|old| *old != email);
        app.events.mail(old.as_ref(), &Notice::EmailChanged(&email), &visit, now);
        let after =
            users::find_by_id(&app.database, user).await?.ok_or_else(AppError::unauthenticated)?;
        Ok(Json(json!({ "user": UserBody::from(after) })))
    })
    .await
}
