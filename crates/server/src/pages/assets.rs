//! The pages' assets, embedded in the binary.
//!
//! 1. Pages use URLs that contain a digest of the content ([`url()`]). So browsers can cache an
//!    asset for a year, and an upgrade takes effect at once.
//! 2. Under its plain name an asset is revalidated each time.
//! 3. All assets are compressed once, at the first request for any of them.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::http::compress::{gzip, takes_gzip};
use crate::http::error::{AppError, AppResult};
use crate::http::etag::ETag;
use crate::http::extract::ApiPath;

/// The slowest level: the files are small and compressed only once.
const BEST: u32 = 9;
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/png";
const FONT: &str = "inter.woff2";
const STYLE: &str = "app.css";

#[derive(Debug)]
struct Asset {
    name: &'static str,
    /// The path that pages use; it contains a digest of the content.
    path: String,
    media_type: &'static str,
    bytes: Vec<u8>,
    gzip: Option<Vec<u8>>,
    etag: ETag,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let font = asset(FONT, "font/woff2", include_bytes!("../../assets/inter.woff2"));
    // The style sheet refers to the font.
    let plain = format!("/assets/{FONT}");
    let style = include_str!("../../assets/app.css").replace(&plain, &font.path);
    // Other scripts import these two.
    let shared = script("passkey.js", include_str!("../../assets/passkey.js"));
    let times = script("times.js", include_str!("../../assets/times.js"));
    let sharing = |name, text: &str| {
        let text = text.replace("./passkey.js", &shared.path);
        script(name, &text.replace("./times.js", &times.path))
    };
    let account = sharing("account.js", include_str!("../../assets/account.js"));
    let sign_in = sharing("passkey-login.js", include_str!("../../assets/passkey-login.js"));
    let portfolio = sharing("portfolio.js", include_str!("../../assets/portfolio.js"));
    let offer = sharing("passkey-offer.js", include_str!("../../assets/passkey-offer.js"));
    vec![
        asset(STYLE, "text/css; charset=utf-8", style.as_bytes()),
        shared,
        times,
        account,
        portfolio,
        sign_in,
        offer,
        asset("clean.js", SCRIPT, include_bytes!("../../assets/clean.js")),
        asset("code.js", SCRIPT, include_bytes!("../../assets/code.js")),
        asset("confirm.js", SCRIPT, include_bytes!("../../assets/confirm.js")),
        asset("login.js", SCRIPT, include_bytes!("../../assets/login.js")),
        asset("live.js", SCRIPT, include_bytes!("../../assets/live.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../assets/icon.svg")),
        asset("touch-icon.png", PICTURE, include_bytes!("../../assets/touch-icon.png")),
        asset("preview.png", PICTURE, include_bytes!("../../assets/preview.png")),
        asset(
            "site.webmanifest",
            "application/manifest+json",
            include_bytes!("../../assets/site.webmanifest"),
        ),
        font,
    ]
});

fn script(name: &'static str, text: &str) -> Asset {
    asset(name, SCRIPT, text.as_bytes())
}

fn asset(name: &'static str, media_type: &'static str, bytes: &[u8]) -> Asset {
    let digest = Sha256::digest(bytes);
    let (stem, extension) = name.rsplit_once('.').expect("every asset has an extension");
    let content = URL_SAFE_NO_PAD.encode(&digest[..9]);
    Asset {
        name,
        path: format!("/assets/{stem}.{content}.{extension}"),
        media_type,
        // Fonts and images are already compressed.
        gzip: if name == FONT || media_type == PICTURE { None } else { gzip(bytes, BEST) },
        bytes: bytes.to_vec(),
        etag: ETag::of(&digest[..12]),
    }
}

/// The URL of an asset, with a digest of its content.
///
/// # Panics
/// If there is no such asset.
pub fn url(name: &str) -> &'static str {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    &asset.expect("pages name assets there are").path
}

/// `GET /assets/{file}`
pub async fn serve(ApiPath(file): ApiPath<String>, headers: HeaderMap) -> AppResult<Response> {
    let named = |asset: &&Asset| asset.path.strip_prefix("/assets/") == Some(&file);
    if let Some(asset) = ASSETS.iter().find(named) {
        return Ok(asset.respond(&headers, "public, max-age=31536000, immutable"));
    }
    let asset = ASSETS.iter().find(|asset| asset.name == file).ok_or_else(AppError::not_found)?;
    Ok(asset.respond(&headers, "no-cache"))
}

/// `GET /favicon.ico`: the icon, for clients that request it without reading a page.
pub async fn icon(headers: HeaderMap) -> AppResult<Response> {
    serve(ApiPath("icon.svg".to_owned()), headers).await
}

impl Asset {
    /// The file, or 304 when the browser has this version.
    fn respond(&'static self, request: &HeaderMap, caching: &'static str) -> Response {
        let about = [
            (header::ETAG, self.etag.header()),
            (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ];
        if self.etag.is_known_to(request) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type))];
        match &self.gzip {
            Some(gzip) if takes_gzip(request) => {
                let packed = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
                (about, kind, packed, gzip.as_slice()).into_response()
            }
            _ => (about, kind, self.bytes.as_slice()).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_what_is_behind_them() {
        assert!(url(STYLE).starts_with("/assets/app."), "{}", url(STYLE));
        assert_ne!(asset("a.js", SCRIPT, b"1").path, asset("a.js", SCRIPT, b"2").path);
        let style = ASSETS.iter().find(|asset| asset.name == STYLE).unwrap();
        assert!(String::from_utf8_lossy(&style.bytes).contains(url(FONT)));
        assert!(style.gzip.as_ref().unwrap().len() < style.bytes.len() / 3);
    }
}
