//! The providers linked to an account: list, link, unlink.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::actions::provider::begin_linking;
use crate::actions::{Caller, linking};
use crate::auth::transaction::Leaving;
use crate::clock::rfc3339;
use crate::domain::provider::Provider;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiPath;
use crate::http::{App, cookies};
use crate::store::identities;

/// `GET /api/v1/auth/providers`
pub async fn list(State(app): State<App>, caller: Caller) -> AppResult<Json<Value>> {
    let linked = identities::of_user(&app.database, caller.user).await?;
    let providers = Provider::ALL.into_iter().map(|provider| {
        let identity = linked.iter().find(|identity| identity.provider == provider);
        let subject =
            identity.filter(|_| provider == Provider::Steam).map(|identity| &identity.subject);
        json!({
            "provider": provider.as_str(),
            "configured": app.providers.is_configured(provider),
            "linked": identity.is_some(),
            "linked_at": identity.map(|identity| rfc3339(identity.linked_at)),
            "steam_id": subject,
        })
    });
    Ok(Json(json!({ "providers": providers.collect::<Vec<_>>() })))
}

/// `POST /api/v1/auth/providers/{provider}/link`: returns the URL at the provider.
pub async fn link(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    ApiPath(provider): ApiPath<String>,
) -> AppResult<impl IntoResponse> {
    let provider = Provider::parse(&provider).ok_or_else(AppError::not_found)?;
    let transaction = cookies::transaction(app.is_https());
    let browser = transaction.read(&headers).map(ToOwned::to_owned);
    let leaving = Leaving { browser, return_to: None, is_own: true };
    let departure =
        begin_linking(&app.accounts(), &app.providers, &caller, provider, leaving).await?;
    let cookie = transaction.set(&departure.browser);
    Ok(([(header::SET_COOKIE, cookie)], Json(json!({ "redirect_to": departure.url }))))
}

/// `DELETE /api/v1/auth/providers/{provider}`
pub async fn unlink(
    State(app): State<App>,
    caller: Caller,
    ApiPath(provider): ApiPath<String>,
) -> AppResult<StatusCode> {
    let provider = Provider::parse(&provider).ok_or_else(AppError::not_found)?;
    linking::unlink(app.accounts(), app.sign_in_methods(), caller, provider).await?;
    Ok(StatusCode::NO_CONTENT)
}
