//! Passkeys: register, list, remove, sign in, "passkey only".

use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tracera_session::Session;
use uuid::Uuid;

use crate::actions::passkeys::{self as actions, ProofRefusal, Proved};
use crate::actions::{ActionError, Caller};
use crate::auth::client::ClientInfo;
use crate::auth::passkeys::Asked;
use crate::auth::webauthn::{AssertionAnswer, RegistrationAnswer};
use crate::http::error::{AppError, AppResult};
use crate::http::extract::{ApiJson, ApiPath};
use crate::http::json::{PasskeyBody, UserBody};
use crate::http::{App, cookies};
use crate::store::passkeys;

/// Treats a passkey response of the wrong form like any other invalid one.
fn answered<T>(body: Result<ApiJson<T>, AppError>) -> AppResult<T> {
    match body {
        Ok(ApiJson(answer)) => Ok(answer),
        Err(error) if error.status() == StatusCode::BAD_REQUEST => Err(AppError::passkey_invalid()),
        Err(error) => Err(error),
    }
}

fn asked(app: &App, asked: Asked) -> impl IntoResponse + use<> {
    let cookie = cookies::passkey(app.is_https()).set(&asked.browser);
    ([(header::SET_COOKIE, cookie)], Json(asked.options))
}

fn browser(app: &App, headers: &HeaderMap) -> Option<String> {
    cookies::passkey(app.is_https()).read(headers).map(ToOwned::to_owned)
}

/// `POST /api/v1/auth/passkeys/options`
pub async fn registration_options(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> AppResult<impl IntoResponse> {
    let browser = browser(&app, &headers);
    let options =
        actions::begin_adding(&app.accounts(), &app.passkeys, &caller, browser.as_deref()).await?;
    Ok(asked(&app, options))
}

/// `POST /api/v1/auth/passkeys`
pub async fn register(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<ApiJson<RegistrationAnswer>, AppError>,
) -> AppResult<impl IntoResponse> {
    let (answer, browser) = (answered(body)?, browser(&app, &headers));
    let passkeys = app.passkeys.clone();
    let added = actions::add(app.accounts(), passkeys, caller, browser, answer).await?;
    Ok((StatusCode::CREATED, Json(PasskeyBody::from(added))))
}

/// `GET /api/v1/auth/passkeys`
pub async fn list(State(app): State<App>, caller: Caller) -> AppResult<Json<Value>> {
    let passkeys = passkeys::of_user(&app.database, caller.user).await?;
    let passkeys: Vec<_> = passkeys.into_iter().map(PasskeyBody::from).collect();
    let only = passkeys::is_passkey_only(&app.database, caller.user).await?;
    Ok(Json(json!({ "passkeys": passkeys, "passkey_only": only })))
}

/// `DELETE /api/v1/auth/passkeys/{id}`
pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    ApiPath(id): ApiPath<Uuid>,
) -> AppResult<StatusCode> {
    actions::remove(app.accounts(), app.sign_in_methods(), caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/auth/passkey/options`
pub async fn proof_options(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
) -> AppResult<impl IntoResponse> {
    let browser = browser(&app, &headers);
    let options =
        actions::begin_proof(&app.accounts(), &app.passkeys, &session, browser.as_deref()).await?;
    Ok(asked(&app, options))
}

/// `POST /api/v1/auth/passkey`
pub async fn prove(
    State(app): State<App>,
    session: Session,
    client: ClientInfo,
    headers: HeaderMap,
    body: Result<ApiJson<AssertionAnswer>, AppError>,
) -> AppResult<Response> {
    let (answer, browser) = (answered(body)?, browser(&app, &headers));
    let passkeys = app.passkeys.clone();
    match actions::prove(app.accounts(), passkeys, session, client, browser, answer).await {
        Ok(Proved::Confirmed(user)) => {
            Ok(Json(json!({ "user": UserBody::from(user) })).into_response())
        }
        Ok(Proved::SignedIn(entered)) => {
            let https = app.is_https();
            let device = cookies::device(https).set(&entered.device_token);
            let method = cookies::last_method(https).set("passkey");
            let cookies = AppendHeaders([device, method].map(|it| (header::SET_COOKIE, it)));
            let body = json!({ "user": UserBody::from(entered.user) });
            Ok((cookies, Json(body)).into_response())
        }
        Err(ActionError::Refused(ProofRefusal::Unknown)) => Ok(unknown()),
        Err(error) => Err(error.into()),
    }
}

/// The response for an unknown passkey. It lets a page tell the browser that the passkey was
/// removed.
fn unknown() -> Response {
    let error = AppError::passkey_invalid();
    let mut body = serde_json::to_value(error.body()).unwrap_or_default();
    body["unknown_credential"] = true.into();
    (error.status(), Json(body)).into_response()
}

/// The body of a "passkey only" request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasskeyOnly {
    enabled: bool,
}

/// `PUT /api/v1/auth/passkey-only`
pub async fn passkey_only(
    State(app): State<App>,
    caller: Caller,
    ApiJson(body): ApiJson<PasskeyOnly>,
) -> AppResult<StatusCode> {
    actions::set_passkey_only(app.accounts(), caller, body.enabled).await?;
    Ok(StatusCode::NO_CONTENT)
}
