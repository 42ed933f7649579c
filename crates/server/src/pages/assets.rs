//! The pages' assets, embedded in the binary.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiPath;

#[derive(Debug)]
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    etag: HeaderValue,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: LazyLock<[Asset; 8]> = LazyLock::new(|| {
    [
        asset("app.css", "text/css; charset=utf-8", include_bytes!("../../assets/app.css")),
        asset("code.js", SCRIPT, include_bytes!("../../assets/code.js")),
        asset("confirm.js", SCRIPT, include_bytes!("../../assets/confirm.js")),
        asset("login.js", SCRIPT, include_bytes!("../../assets/login.js")),
        asset("portfolio.js", SCRIPT, include_bytes!("../../assets/portfolio.js")),
        asset("live.js", SCRIPT, include_bytes!("../../assets/live.js")),
        asset("inter.woff2", "font/woff2", include_bytes!("../../assets/inter.woff2")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../assets/icon.svg")),
    ]
});

fn asset(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Asset {
    let digest = Sha256::digest(bytes);
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..12]));
    Asset {
        name,
        media_type,
        bytes,
        etag: HeaderValue::try_from(etag).expect("base64url in quotes"),
    }
}

/// `GET /assets/{file}`
pub async fn serve(ApiPath(file): ApiPath<String>, headers: HeaderMap) -> AppResult<Response> {
    let asset = ASSETS.iter().find(|asset| asset.name == file).ok_or_else(AppError::not_found)?;
    Ok(asset.respond(&headers))
}

/// `GET /favicon.ico`: the icon, for what asks for it without having read a page.
pub async fn icon(headers: HeaderMap) -> AppResult<Response> {
    serve(ApiPath("icon.svg".to_owned()), headers).await
}

/// `GET /robots.txt`: nothing but the start page is for search engines.
pub async fn robots() -> &'static str {
    "User-agent: *\nAllow: /$\nDisallow: /\n"
}

impl Asset {
    /// The file, or 304 when the browser has this version. Browsers ask again each time, so an
    /// upgrade shows at once.
    fn respond(&'static self, request: &HeaderMap) -> Response {
        let caching = [
            (header::ETAG, self.etag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        if request.get(header::IF_NONE_MATCH) == Some(&self.etag) {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type))];
        (caching, kind, self.bytes).into_response()
    }
}
