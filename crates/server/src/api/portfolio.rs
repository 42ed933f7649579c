//! What a user holds and what it is worth: show, history, downloads.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracera_session::CurrentUser;
use uuid::Uuid;

mod search;
mod selection;
mod view;

use crate::actions::user_id;
use crate::clock::{rfc3339, utc};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::malformed_query;
use crate::http::json::ValueBody;
use crate::portfolio::export::{self, Format};
use crate::portfolio::valuation;
use crate::store::portfolio::{holdings, snapshots};
pub use selection::Selection;

/// `GET /api/v1/portfolio`
pub async fn show(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    headers: HeaderMap,
    query: Result<Query<Selection>, QueryRejection>,
) -> AppResult<Response> {
    let user = user_id(&user)?;
    let selection = parsed(query)?.checked()?;
    let held = app.portfolio.held(user).await?;
    let summary = held.as_ref().map(|held| held.summary);
    let prices = app.portfolio.prices().current();
    let etag = etag(&[
        user.as_bytes(),
        summary.map(|it| it.import_id).unwrap_or_default().as_bytes(),
        &prices.as_ref().map_or(0, |it| it.fetched_at.as_millis()).to_be_bytes(),
        format!("{selection:?}").as_bytes(),
    ]);
    let seen = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if seen.is_some_and(|seen| seen.split(',').any(|one| one.trim() == etag || one.trim() == "*")) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let rows = held.as_ref().map_or(&[][..], |held| &held.holdings);
    let mut valued = valuation::value(rows, prices.as_deref().map(|prices| &prices.list));
    let totals = valuation::total(&valued);
    let holding_count = valued.len();
    selection.apply(&mut valued);
    let selected = valuation::total(&valued);
    let (page, pages) = (selection.page(), selection.pages(valued.len()));
    let items = match (&selection.item_id, summary) {
        (Some(item), Some(summary)) => {
            Some(holdings::items_of(&app.database, user, summary.import_id, item).await?)
        }
        _ => None,
    };
    let imported_at = summary.map(|summary| rfc3339(summary.imported_at));
    let reported = summary.and_then(|summary| summary.reported_items);
    let view = view::Context {
        prices: prices.as_deref(),
        pictures: app.portfolio.pictures(),
        imported_at: imported_at.as_deref(),
        items: items.as_deref(),
    };
    let body = view::Portfolio {
        user_id: user,
        total_value: totals.value,
        currency: app.portfolio.prices().currency(),
        item_count: totals.items,
        priced_items: totals.items - totals.unpriced,
        unpriced_items: totals.unpriced,
        estimated_items: totals.estimated,
        locked_items: totals.locked,
        reported_items: reported,
        holding_count,
        selected: view::Selected {
            holdings: valued.len(),
            items: selected.items,
            value: selected.value,
        },
        page,
        pages,
        holdings: selection.on_page(&valued).iter().map(|it| view.holding(it)).collect(),
        prices: prices.as_deref().map(view::Prices::new),
        last_imported_at: imported_at.as_deref(),
    };
    let body = serde_json::to_vec(&body).map_err(AppError::internal)?;
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    Ok(([(header::ETAG, etag), kind], body).into_response())
}

/// How much of the history is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    limit: Option<u32>,
}

/// `GET /api/v1/portfolio/history`: the oldest first.
pub async fn history(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> AppResult<Json<Value>> {
    let limit = parsed(query)?.limit.unwrap_or(400);
    if !(1..=2000).contains(&limit) {
        return Err(AppError::bad_request("malformed_query", "limit is a number from 1 to 2000"));
    }
    Ok(Json(values_of(&app, user_id(&user)?, limit).await?))
}

/// The user's newest values, at most `limit`, the oldest of them first.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn values_of(app: &App, user: Uuid, limit: u32) -> AppResult<Value> {
    let mut snapshots = snapshots::newest(&app.database, user, limit).await?;
    snapshots.reverse();
    let points: Vec<_> = snapshots.iter().map(ValueBody::new).collect();
    Ok(json!({ "currency": app.portfolio.prices().currency(), "history": points }))
}

/// `GET /api/v1/portfolio/export.csv`
pub async fn export_csv(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> AppResult<Response> {
    download(&app, user_id(&user)?, Format::Csv).await
}

/// `GET /api/v1/portfolio/export.json`
pub async fn export_json(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> AppResult<Response> {
    download(&app, user_id(&user)?, Format::Json).await
}

async fn download(app: &App, user: Uuid, format: Format) -> AppResult<Response> {
    let body = items_of(app, user, format).await?;
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"portfolio.csv\""),
        Format::Json => ("application/json", "attachment; filename=\"portfolio.json\""),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(name)),
    ];
    Ok((headers, body).into_response())
}

/// Everything the user holds, item by item.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn items_of(app: &App, user: Uuid, format: Format) -> AppResult<Body> {
    let summary = holdings::summary(&app.database, user).await?;
    Ok(match summary {
        Some(held) => {
            Body::from_stream(export::rows(app.portfolio.clone(), user, held.import_id, format))
        }
        None => Body::from(export::empty(format)),
    })
}

fn parsed<T>(query: Result<Query<T>, QueryRejection>) -> AppResult<T> {
    query.map(|Query(query)| query).map_err(|rejection| malformed_query(&rejection))
}

/// Names a body by what it is made of.
fn etag(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]))
}

/// When prices were read, as answers say it.
fn priced_at(prices: &crate::portfolio::prices::Snapshot) -> String {
    rfc3339(utc(prices.fetched_at))
}
