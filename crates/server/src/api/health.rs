//! Liveness and readiness of the service.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::http::App;

/// `GET /healthz`
pub async fn live() -> &'static str {
    "ok\n"
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    database: &'static str,
    redis: &'static str,
}

/// `GET /api/v1/health`
pub async fn ready(State(app): State<App>) -> Response {
    let (database, store) = tokio::join!(app.database.ping(), app.sessions.ping());
    let health = Health {
        status: match (&database, &store) {
            _ if app.draining.is_cancelled() => "stopping",
            (Ok(()), Ok(())) => "ok",
            _ => "degraded",
        },
        database: if database.is_ok() { "up" } else { "down" },
        redis: match store {
            Err(_) => "down",
            Ok(()) if app.redis => "up",
            Ok(()) => "embedded",
        },
    };
    if health.status == "ok" {
        return Json(health).into_response();
    }
    let retry = [(header::RETRY_AFTER, HeaderValue::from_static("2"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, Json(health)).into_response()
}
