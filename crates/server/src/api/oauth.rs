//! To a provider: where signing in and linking begin.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tracera_session::Session;

use crate::api::account::user_id;
use crate::auth::cookie::handle_hash;
use crate::auth::provider_error::ProviderError;
use crate::auth::sign_in::REAUTH_WINDOW;
use crate::auth::transaction::Purpose;
use crate::clock::utc;
use crate::domain::provider::Provider;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiPath;

/// `GET /api/v1/auth/google`
pub async fn google(State(app): State<App>) -> AppResult<Response> {
    start(&app, Provider::Google).await
}

/// `GET /api/v1/auth/github`
pub async fn github(State(app): State<App>) -> AppResult<Response> {
    start(&app, Provider::Github).await
}

/// `GET /api/v1/auth/steam/login`
pub async fn steam_login(State(app): State<App>) -> AppResult<Response> {
    start(&app, Provider::Steam).await
}

async fn start(app: &App, provider: Provider) -> AppResult<Response> {
    match leave(app, provider, &Purpose::SignIn).await? {
        Ok((url, cookie)) => Ok((set_cookie(cookie), Redirect::to(&url)).into_response()),
        Err(failure) => Ok(Redirect::to(&page("/login", failure)).into_response()),
    }
}

/// `GET /api/v1/auth/steam`: links Steam to the account that is signed in.
///
/// A navigation and so without a CSRF token: other sites may not cause it, and it ends in a
/// question by Steam.
pub async fn steam_link(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
) -> AppResult<Response> {
    if !is_own_navigation(&headers) {
        return Err(AppError::csrf_failed("linking begins on a page of this site"));
    }
    let purpose = link_purpose(&session).await?;
    match leave(&app, Provider::Steam, &purpose).await? {
        Ok((url, cookie)) => Ok((set_cookie(cookie), Redirect::to(&url)).into_response()),
        Err(failure) => Ok(Redirect::to(&page("/", failure)).into_response()),
    }
}

/// `POST /api/v1/auth/providers/{provider}/link`: where to send the browser to link the provider.
pub async fn link(
    State(app): State<App>,
    session: Session,
    ApiPath(provider): ApiPath<String>,
) -> AppResult<([(HeaderName, HeaderValue); 1], Json<Value>)> {
    let (url, cookie) = begin_link(&app, &session, &provider).await?;
    Ok((set_cookie(cookie), Json(json!({ "redirect_to": url }))))
}

/// Where to send the browser to link the provider, and the cookie it needs there and back.
///
/// # Errors
/// 404 for a provider there is not; 403 when one signed in too long ago; 502 when the provider
/// cannot be used.
pub async fn begin_link(
    app: &App,
    session: &Session,
    provider: &str,
) -> AppResult<(String, HeaderValue)> {
    let provider = Provider::parse(provider).ok_or_else(AppError::not_found)?;
    let purpose = link_purpose(session).await?;
    leave(app, provider, &purpose).await?.map_err(|failure| {
        let sentence =
            ProviderError::sentence(failure.code()).expect("every failure has a sentence");
        AppError::new(StatusCode::BAD_GATEWAY, failure.code(), sentence)
    })
}

/// Begins a transaction; the address to go to and the cookie, or why the provider cannot be used.
async fn leave(
    app: &App,
    provider: Provider,
    purpose: &Purpose,
) -> AppResult<Result<(String, HeaderValue), ProviderError>> {
    if !app.providers.is_configured(provider) {
        return Err(AppError::new(
            StatusCode::NOT_FOUND,
            "method_not_configured",
            "this server does not use that provider; `tracera check-config` says which variables it needs",
        ));
    }
    let now = utc(app.clock.now());
    let begun = app.providers.transactions.begin(provider, purpose, now).await?;
    let url = app.providers.authorize_url(provider, purpose, &begun, now).await;
    Ok(url.map(|url| (url.into(), begun.cookie)))
}

/// To link to whoever is signed in, if they have proved recently who they are.
async fn link_purpose(session: &Session) -> AppResult<Purpose> {
    session.require_fresh(REAUTH_WINDOW).await?;
    let user = user_id(&session.user()?)?;
    let binding = session.binding().ok_or_else(AppError::unauthenticated)?;
    Ok(Purpose::Link { user, session_hash: handle_hash(binding) })
}

/// Whether a page of ours or the person themselves has caused this request, as far as the browser
/// tells.
fn is_own_navigation(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    match (sites.next(), sites.next()) {
        (None, _) => true,
        (Some(site), None) => site == "same-origin" || site == "none",
        (Some(_), Some(_)) => false,
    }
}

/// A page that will say why.
pub fn page(path: &str, failure: ProviderError) -> String {
    format!("{path}?error={}", failure.code())
}

/// The answer's only cookie of ours.
pub fn set_cookie(cookie: HeaderValue) -> [(HeaderName, HeaderValue); 1] {
    [(header::SET_COOKIE, cookie)]
}
