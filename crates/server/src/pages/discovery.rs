//! What programs ask a site for before they have read a page of it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use time::format_description::well_known::Rfc3339;
use time::{Duration, Time};

use crate::http::App;
use crate::http::error::{AppError, AppResult};

/// How long what stands in `security.txt` may be believed. RFC 9116 recommends less than a year.
const SECURITY_TXT_GOOD_FOR: Duration = Duration::days(180);

/// `GET /robots.txt`: the page everybody may read is for search engines, with what it is drawn
/// with.
pub async fn robots() -> &'static str {
    "User-agent: *\nAllow: /$\nAllow: /login$\nAllow: /assets/\nDisallow: /\n"
}

/// `GET /.well-known/security.txt` (RFC 9116): whom to tell of a weakness.
pub async fn security_txt(State(app): State<App>) -> AppResult<Response> {
    let contact = app.security_contact.as_ref().ok_or_else(AppError::not_found)?;
    let expires = (app.now() + SECURITY_TXT_GOOD_FOR).replace_time(Time::MIDNIGHT);
    let expires = expires.format(&Rfc3339).map_err(AppError::internal)?;
    let canonical = app.page("/.well-known/security.txt");
    let text = format!(
        "Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\nCanonical: {canonical}\n"
    );
    // The media type is the RFC's, which plain text has here anyway.
    Ok(([(header::CACHE_CONTROL, "public, max-age=86400")], text).into_response())
}
