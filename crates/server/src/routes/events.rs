//! A user's own security events.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tracera_session::CurrentUser;

use crate::app::App;
use crate::clock::utc;
use crate::error::{AppError, AppResult};
use crate::routes::account::user_id;
use crate::store::events;

/// How many events a page has.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    before: Option<i64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct EventBody {
    id: i64,
    event: String,
    method: Option<String>,
    device: String,
    ip: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

/// `GET /api/v1/auth/events?before=<id>&limit=<1 to 200>`: newest first. `next` is the `before` of the following page.
pub async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> AppResult<Json<Value>> {
    let malformed =
        || AppError::bad_request("malformed_query", "before is an id, limit a number from 1 to 200");
    let Query(query) = query.map_err(|_| malformed())?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(malformed());
    }
    let now = utc(app.clock.now());
    let events = events::list(&app.database, user_id(&user)?, query.before, limit, now).await?;
    let full = events.len() == limit as usize;
    let next = events.last().filter(|_| full).map(|event| event.id);
    let events: Vec<_> = events
        .into_iter()
        .map(|event| EventBody {
            id: event.id,
            event: event.kind,
            method: event.method,
            device: event.device,
            ip: event.ip,
            at: event.at,
        })
        .collect();
    Ok(Json(json!({ "events": events, "next": next })))
}
