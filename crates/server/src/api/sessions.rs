//! A user's own sessions: list, end one, end all others.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tracera_session::{CurrentUser, Handle, Session, SessionInfo};

use crate::api::account::user_id;
use crate::auth::client::Client;
use crate::auth::events::{ClientInfo, Kind};
use crate::clock::utc;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiPath;
use crate::store::magic_links;
use crate::telemetry::task::run_to_completion;

/// A session as its user sees it.
#[derive(Serialize)]
pub struct SessionBody {
    handle: String,
    device: Option<String>,
    browser: Option<String>,
    ip: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    method: Option<String>,
    current: bool,
}

impl SessionBody {
    /// `current` is the handle of the session that asks.
    pub fn new(session: SessionInfo, current: Option<Handle>) -> Self {
        let client = Client::from_label(&session.client);
        Self {
            handle: session.handle.to_string(),
            device: client.device,
            browser: client.browser,
            ip: session.address.map(shown_address),
            created_at: utc(session.created),
            last_seen_at: utc(session.last_seen),
            expires_at: utc(session.expires),
            method: session.authentication.map(|proof| proof.method.into()),
            current: current == Some(session.handle),
        }
    }
}

/// An address as a user sees it; of IPv6 only the network is kept.
pub fn shown_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

/// `GET /api/v1/auth/sessions`
pub async fn list(
    State(app): State<App>,
    session: Session,
    CurrentUser(user): CurrentUser,
) -> AppResult<Json<Value>> {
    let current = session.info().map(|info| info.handle);
    let sessions: Vec<_> = app
        .sessions
        .list(&user)
        .await?
        .into_iter()
        .map(|info| SessionBody::new(info, current))
        .collect();
    Ok(Json(json!({ "sessions": sessions })))
}

/// `DELETE /api/v1/auth/sessions/{handle}`
pub async fn revoke(
    State(app): State<App>,
    session: Session,
    CurrentUser(user): CurrentUser,
    visit: ClientInfo,
    ApiPath(handle): ApiPath<String>,
) -> AppResult<StatusCode> {
    let handle = Handle::parse(&handle).ok_or_else(AppError::not_found)?;
    run_to_completion(async move {
        if session.info().is_some_and(|info| info.handle == handle) {
            session.sign_out().await?;
        } else if !app.sessions.revoke(&user, handle).await? {
            return Err(AppError::not_found());
        }
        tracing::info!(event = "session_revoked", %handle, "a session was ended by its user");
        app.events
            .record(user_id(&user)?, Kind::SessionRevoked, None, &visit, utc(app.clock.now()))
            .await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `DELETE /api/v1/auth/sessions`: also a mailed link, which may be in the wrong hands.
pub async fn revoke_others(
    State(app): State<App>,
    session: Session,
    CurrentUser(user): CurrentUser,
    visit: ClientInfo,
) -> AppResult<StatusCode> {
    run_to_completion(async move {
        let user = user_id(&user)?;
        // First, so that a link claimed before makes no session afterwards; the sessions end
        // whatever becomes of it.
        let cancelled = magic_links::cancel_all(&app.database, user).await;
        session.sign_out_others().await?;
        cancelled?;
        tracing::info!(
            event = "other_sessions_revoked",
            "all other sessions were ended by their user"
        );
        app.events
            .record(user, Kind::OtherSessionsRevoked, None, &visit, utc(app.clock.now()))
            .await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
