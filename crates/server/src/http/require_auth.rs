//! RequireAuth: who may pass to private paths, and that look-alike paths tell nothing else.

use axum::extract::{Request, State};
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tracera_session::{Session, SessionError};

use crate::http::App;
use crate::http::endpoint::{Access, Endpoint};
use crate::http::error::{AppError, AppResult};
use crate::http::gate::Refusal;
use crate::pages::page::to_sign_in;

/// Whether a request goes to something that may ask who is signed in. Others do not cost the
/// session store a look.
pub fn is_personal(request: &Request) -> bool {
    let endpoint = request.extensions().get::<Endpoint>();
    endpoint.is_none_or(|endpoint| endpoint.access != Access::NoSession)
}

/// Lets only signed-in users through to private paths, whatever the method. To private pages too,
/// but from there anybody else is sent to the sign-in page.
pub fn require_auth((): &(), request: &mut Request) -> Result<(), Refusal> {
    let Some(endpoint) = request.extensions().get::<Endpoint>() else { return Ok(()) };
    match endpoint.access {
        Access::Private => Ok(signed_in(request)?),
        Access::PrivatePage if endpoint.takes(request.method()) => match signed_in(request) {
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => {
                Err(to_sign_in(request.method(), request.uri()).into())
            }
            answer => Ok(answer?),
        },
        Access::PrivatePage | Access::Public | Access::PublicPage | Access::NoSession => Ok(()),
    }
}

fn signed_in(request: &Request) -> AppResult<()> {
    let session = request.extensions().get::<Session>().ok_or(SessionError::NoLayer)?;
    Ok(session.user().map(drop)?)
}

/// What matches no route: 401 for another spelling of a private path when nobody is signed in, else
/// 404.
pub async fn no_such_route(State(app): State<App>, session: Session, uri: Uri) -> AppError {
    if is_closed(&app, &session, &uri) {
        AppError::unauthenticated()
    } else {
        AppError::not_found()
    }
}

/// A method the path does not take. Private paths have said 401 before, if nobody is signed in.
pub async fn no_such_method() -> AppError {
    AppError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address does not take that method; see the Allow header",
    )
}

fn is_closed(app: &App, session: &Session, uri: &Uri) -> bool {
    let meant = app.endpoints.find(&plain_spelling(uri.path()));
    meant.is_some_and(|endpoint| endpoint.access == Access::Private) && session.user().is_err()
}

/// The path a careless proxy or router might take this for: decoded, lower case, single slashes, no
/// dot segments, no parameters, no slash at the end.
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
