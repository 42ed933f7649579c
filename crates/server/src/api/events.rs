//! A user's own security events.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::App;
use crate::http::bearer::Reader;
use crate::http::error::{AppError, AppResult};
use crate::http::json::EventBody;
use crate::store::events;

/// Default number of events per page.
const PAGE: u32 = 50;
/// Maximum number of events per page.
const MAX_PAGE: u32 = 200;

/// The query of a page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    before: Option<i64>,
    limit: Option<u32>,
}

/// `GET /api/v1/auth/events?before=<id>&limit=<1 to 200>`: newest first. `next` is the `before` of
/// the next page.
pub async fn list(
    State(app): State<App>,
    reader: Reader,
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
    let events = events::list(&app.database, reader.user, query.before, limit, app.now()).await?;
    let full = events.len() == limit as usize;
    let next = events.last().filter(|_| full).map(|event| event.id);
    let events: Vec<_> = events.into_iter().map(EventBody::from).collect();
    Ok(Json(json!({ "events": events, "next": next })))
}
