//! The host of item images: drawings named `{shape}-{color}`. Other names are not found.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};

use super::serve;

/// The requested icons, with the browser's headers.
type Requests = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// Serves images at `{url}/{icon}/96fx96f`.
pub(crate) struct Images {
    pub(crate) url: String,
    asked: Requests,
}

impl Images {
    pub(crate) async fn start() -> Self {
        let asked = Requests::default();
        let router = Router::new()
            .route("/economy/image/{icon}/{size}", get(draw))
            .with_state(Arc::clone(&asked));
        Self { url: format!("{}/economy/image", serve(router).await), asked }
    }

    /// The requested icons, with the browser's headers.
    pub(crate) fn asked(&self) -> Vec<(String, HeaderMap)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn draw(
    State(asked): State<Requests>,
    Path((icon, size)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    assert_eq!(size, "96fx96f");
    asked.lock().unwrap().push((icon.clone(), headers));
    let Some((shape, color)) = icon.split_once('-') else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let path = match shape {
        "rifle" => "M4 44h42l6-7h34v10H70l-4 8h-9l-5 15h-9l3-16H26l-5 9H6z",
        "sniper" => "M2 46h30l4-4h20v-6h-6v-5h22v5h-6v6h28v6H66l-4 7h-9l-4 11h-8l2-12H22l-5 8H4z",
        "knife" => "M88 8C58 12 38 30 30 52l14 14C66 58 84 38 88 8zM30 56 10 76l10 10 20-18z",
        "gloves" => "M30 86V70L16 50l6-6 12 10V20h9v24-30h9v30-26h9v28-18h9v34c0 12-4 16-8 22v8z",
        "pistol" => "M12 28h72v16H50l-4 12H32l-4 24H14l-2-34z",
        _ => "M12 30l10-12h52l10 12v48H12zM12 34h72M40 46h16v12H40z",
    };
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 96 96'><defs><linearGradient id='a' \
         x2='1' y2='1'><stop stop-color='#{color}'/><stop offset='1' \
         stop-color='#2b3340'/></linearGradient></defs><path d='{path}' fill='url(#a)' \
         stroke='#1b212b' stroke-width='2' stroke-linejoin='round'/></svg>"
    );
    ([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response()
}
