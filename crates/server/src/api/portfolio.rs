//! A user's holdings and their value: show, history, downloads.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

mod view;

use crate::actions::portfolio as actions;
use crate::clock::utc;
use crate::http::App;
use crate::http::bearer::Reader;
use crate::http::compress::compressed;
use crate::http::error::{AppError, AppResult};
use crate::http::etag::ETag;
use crate::http::extract::malformed_query;
use crate::http::json::ValueBody;
use crate::portfolio::export::Format;
use crate::portfolio::selection::Selection;

/// `GET /api/v1/portfolio`
pub async fn show(
    State(app): State<App>,
    Reader { user, .. }: Reader,
    headers: HeaderMap,
    query: Result<Query<Selection>, QueryRejection>,
) -> AppResult<Response> {
    let selection = parsed(query)?.checked();
    let selection =
        selection.map_err(|error| AppError::bad_request("malformed_query", error.to_string()))?;
    let reading = actions::read(&app.portfolio, user, selection).await?;
    let etag = ETag::of(&reading.version());
    if etag.is_known_to(&headers) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag.header())]).into_response());
    }
    let body = view::Portfolio::of(user, &reading, &app.portfolio);
    let body = serde_json::to_vec(&body).map_err(AppError::internal)?;
    let about = [
        (header::ETAG, etag.header()),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    Ok(compressed(&headers, (about, body).into_response()).await)
}

/// The query of the history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    limit: Option<u32>,
}

/// `GET /api/v1/portfolio/history`: oldest first.
pub async fn history(
    State(app): State<App>,
    Reader { user, .. }: Reader,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> AppResult<Json<Value>> {
    let limit = parsed(query)?.limit.unwrap_or(400);
    if !(1..=2000).contains(&limit) {
        return Err(AppError::bad_request("malformed_query", "limit is a number from 1 to 2000"));
    }
    Ok(Json(values_of(&app, user, limit).await?))
}

/// The user's newest `limit` values, oldest first.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn values_of(app: &App, user: Uuid, limit: u32) -> AppResult<Value> {
    let values = app.portfolio.history(user, limit).await?;
    let points: Vec<_> = values.iter().map(ValueBody::new).collect();
    Ok(json!({ "currency": app.portfolio.prices().currency(), "history": points }))
}

/// `GET /api/v1/portfolio/export.csv`
pub async fn export_csv(
    State(app): State<App>,
    Reader { user, .. }: Reader,
) -> AppResult<Response> {
    download(&app, user, Format::Csv).await
}

/// `GET /api/v1/portfolio/export.json`
pub async fn export_json(
    State(app): State<App>,
    Reader { user, .. }: Reader,
) -> AppResult<Response> {
    download(&app, user, Format::Json).await
}

async fn download(app: &App, user: Uuid, format: Format) -> AppResult<Response> {
    let body = items_of(app, user, format).await?;
    let (kind, extension) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Json => ("application/json", "json"),
    };
    let day = utc(app.clock.now()).date();
    let file = format!("attachment; filename=\"portfolio-{day}.{extension}\"");
    let file = HeaderValue::try_from(file).map_err(AppError::internal)?;
    let kind = HeaderValue::from_static(kind);
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)], body).into_response())
}

/// All items of the user, as a stream.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn items_of(app: &App, user: Uuid, format: Format) -> AppResult<Body> {
    Ok(Body::from_stream(actions::export(&app.portfolio, user, format).await?))
}

fn parsed<T>(query: Result<Query<T>, QueryRejection>) -> AppResult<T> {
    query.map(|Query(query)| query).map_err(|rejection| malformed_query(&rejection))
}
