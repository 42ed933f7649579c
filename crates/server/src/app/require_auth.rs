//! RequireAuth: who may pass to private routes, and that look-alike paths tell nothing else.

use axum::extract::{OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tracera_session::{Session, SessionError};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::web::page::to_sign_in;

/// Lets only signed-in users through.
pub fn require_auth((): &(), request: &mut Request) -> AppResult<()> {
    let session = request.extensions().get::<Session>().ok_or(SessionError::NoLayer)?;
    session.available()?;
    session.user()?;
    Ok(())
}

/// [`require_auth`] for pages: whoever is not signed in is sent to the sign-in page.
pub async fn or_sign_in(session: Session, request: Request, next: Next) -> AppResult<Response> {
    session.available()?;
    if session.user().is_err() {
        return Ok(to_sign_in(&request.into_parts().0));
    }
    Ok(next.run(request).await)
}

/// What matches no route: 401 for another spelling of a private path when nobody is signed in, else 404.
pub async fn no_such_route(
    State(app): State<App>,
    session: Session,
    OriginalUri(uri): OriginalUri,
) -> AppError {
    if is_closed(&app, &session, &uri) { AppError::unauthenticated() } else { AppError::not_found() }
}

/// A method no route of the path takes: 401 on a private path when nobody is signed in, else 405.
pub async fn no_such_method(
    State(app): State<App>,
    session: Session,
    OriginalUri(uri): OriginalUri,
) -> AppError {
    if is_closed(&app, &session, &uri) { AppError::unauthenticated() } else { wrong_method().await }
}

/// 405 where there is nobody to tell apart.
pub async fn wrong_method() -> AppError {
    AppError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address does not take that method; see the Allow header",
    )
}

fn is_closed(app: &App, session: &Session, uri: &Uri) -> bool {
    app.private_paths.at(&plain_spelling(uri.path())).is_ok() && session.user().is_err()
}

/// The path a careless proxy or router might take this for: decoded, lower case, single slashes, no dot segments, no
/// parameters, no slash at the end.
pub fn plain_spelling(path: &str) -> String {
    let mut decoded = path.to_owned();
    for _ in 0..3 {
        decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
    }
    let mut segments = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        let segment = segment.split(';').next().unwrap_or_default().trim().to_lowercase();
        match &*segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::plain_spelling;

    #[test]
    fn every_spelling_becomes_the_plain_one() {
        for spelling in [
            "/api/v1/auth/logout",
            "/api/v1/auth/logout/",
            "//api//v1/auth/logout",
            "/api/v1/./auth/x/../logout",
            "/api/v1/auth/%6cogout",
            "/api/v1/auth%2flogout",
            "/api/v1/auth/%256cogout",
            "/API/v1/Auth/LOGOUT",
            "/api/v1/auth/logout;x=1",
            "/api\\v1\\auth\\logout",
            "/%2e/api/v1/auth/logout",
        ] {
            assert_eq!(plain_spelling(spelling), "/api/v1/auth/logout", "{spelling}");
        }
        assert_eq!(plain_spelling("/"), "/");
    }
}
