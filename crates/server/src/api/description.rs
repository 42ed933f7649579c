//! The OpenAPI description of this version of the API.

use axum::response::IntoResponse;
use http::header;

const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

/// `GET /api/v1/openapi.json`
pub async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}
