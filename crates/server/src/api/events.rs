//! A user's own security events.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tracera_session::CurrentUser;
use uuid::Uuid;

use crate::api::account::user_id;
use crate::clock::utc;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::store::events;

/// How many events a page has.
const PAGE: u32 = 50;
/// How many it may have.
pub const MAX_PAGE: u32 = 200;

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    before: Option<i64>,
    limit: Option<u32>,
}

/// An event as its owner sees it.
#[derive(Serialize)]
pub struct EventBody {
    id: i64,
    event: String,
    method: Option<String>,
    device: String,
    ip: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

/// `GET /api/v1/auth/events?before=<id>&limit=<1 to 200>`: newest first. `next` is the `before` of
/// the following page.
pub async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> AppResult<Json<Value>> {
    let malformed = || {
        AppError::bad_request("malformed_query", "before is an id, limit a number from 1 to 200")
    };
    let Query(query) = query.map_err(|_| malformed())?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(malformed());
    }
    let now = utc(app.clock.now());
    let events = page(&app, user_id(&user)?, query.before, limit, now).await?;
    let full = events.len() == limit as usize;
    let next = events.last().filter(|_| full).map(EventBody::id);
    Ok(Json(json!({ "events": events, "next": next })))
}

impl EventBody {
    /// What the next page is asked for with.
    pub fn id(&self) -> i64 {
        self.id
    }
}

/// At most `limit` events, those before `before` if it is given; newest first.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn page(
    app: &App,
    user: Uuid,
    before: Option<i64>,
    limit: u32,
    now: OffsetDateTime,
) -> AppResult<Vec<EventBody>> {
    let events = events::list(&app.database, user, before, limit, now).await?;
    Ok(events
        .into_iter()
        .map(|event| EventBody {
            id: event.id,
            event: event.kind,
            method: event.method,
            device: event.device,
            ip: Some(event.ip).filter(|ip| !ip.is_empty()),
            at: event.at,
        })
        .collect())
}
