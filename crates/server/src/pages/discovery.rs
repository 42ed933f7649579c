//! Files that programs request before reading any page.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use time::format_description::well_known::Rfc3339;
use time::{Duration, Time};

use crate::http::App;
use crate::http::error::{AppError, AppResult};

/// Validity of `security.txt`. RFC 9116 recommends less than a year.
const SECURITY_TXT_GOOD_FOR: Duration = Duration::days(180);

/// `GET /robots.txt`: search engines may read the sign-in page and the assets.
pub async fn robots() -> &'static str {
    "User-agent: *\nAllow: /$\nAllow: /login$\nAllow: /assets/\nDisallow: /\n"
}

/// `GET /.well-known/security.txt` (RFC 9116): the contact for security reports.
pub async fn security_txt(State(app): State<App>) -> AppResult<Response> {
    let contact = app.security_contact.as_ref().ok_or_else(AppError::not_found)?;
    let expires = (app.now() + SECURITY_TXT_GOOD_FOR).replace_time(Time::MIDNIGHT);
    let expires = expires.format(&Rfc3339).map_err(AppError::internal)?;
    let canonical = app.page("/.well-known/security.txt");
    let text = format!(
        "Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\nCanonical: {canonical}\n"
    );
    // The RFC requires `text/plain`, which a string has by default.
    Ok(([(header::CACHE_CONTROL, "public, max-age=86400")], text).into_response())
}
