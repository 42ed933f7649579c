//! Who is signed in, the CSRF token, the ways to sign in, signing out.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tracera_session::{CurrentUser, Session};
use uuid::Uuid;

use crate::auth::events::{ClientInfo, Kind};
use crate::clock::utc;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::page::Page;
use crate::store::users::{self, User};
use crate::telemetry::task::run_to_completion;

/// `GET /api/v1/auth/csrf`
pub async fn csrf(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
) -> impl IntoResponse {
    let (token, cookie) = Page::new(&app, &session, &headers).into_token();
    (cookie, Json(json!({ "csrf_token": token })))
}

/// `GET /api/v1/auth/methods`
pub async fn methods(State(app): State<App>) -> Json<Value> {
    let email = app.magic_links.as_ref().map(|_| json!({ "method": "email" }));
    let providers = app
        .providers
        .configured()
        .map(|provider| json!({ "method": provider.as_str(), "url": provider.sign_in_path() }));
    Json(json!({ "methods": email.into_iter().chain(providers).collect::<Vec<_>>() }))
}

/// A user as the API shows them.
#[derive(Serialize)]
pub struct UserBody {
    id: Uuid,
    email: Option<String>,
    name: Option<String>,
    avatar_url: Option<String>,
    role: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email.map(|email| email.to_string()),
            name: user.name,
            avatar_url: user.avatar_url,
            role: user.role.as_str(),
            created_at: user.created_at,
        }
    }
}

/// `GET /api/v1/auth/me`
pub async fn me(State(app): State<App>, user: Option<CurrentUser>) -> AppResult<Json<Value>> {
    let user = match user {
        Some(CurrentUser(id)) => users::find_by_id(&app.database, user_id(&id)?).await?,
        None => None,
    };
    Ok(Json(json!({ "user": user.map(UserBody::from) })))
}

/// The UUID in a session's user id.
pub fn user_id(id: &tracera_session::UserId) -> AppResult<Uuid> {
    Uuid::from_slice(id.as_bytes()).map_err(AppError::internal)
}

/// `POST /api/v1/auth/logout`
pub async fn logout(
    State(app): State<App>,
    session: Session,
    CurrentUser(user): CurrentUser,
    visit: ClientInfo,
) -> AppResult<impl IntoResponse> {
    run_to_completion(async move {
        session.sign_out().await?;
        tracing::info!(event = "signed_out", "signed out");
        app.events
            .record(user_id(&user)?, Kind::SignedOut, None, &visit, utc(app.clock.now()))
            .await;
        Ok::<_, AppError>(())
    })
    .await?;
    Ok((StatusCode::NO_CONTENT, clear_site_data()))
}

/// The header by which a browser forgets what it kept of a person who signs out.
pub fn clear_site_data() -> [(HeaderName, HeaderValue); 1] {
    [(
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static("\"cache\", \"storage\""),
    )]
}
