//! Sessions on salvo, with `Sessions::open` and `Session::finish`: a hoop around the handlers.

use http::{HeaderValue, header};
use salvo::prelude::*;
use tracera_session::{Session, SessionError, Sessions, SignIn};

/// Opens each request's session, and writes it back after the handlers.
///
/// `SessionLayer` does not fit through `salvo::prelude::TowerLayerCompat`, which demands bodies
/// that are `Sync`. Those of axum are not.
pub struct SessionHoop {
    sessions: Sessions,
}

impl SessionHoop {
    /// A hoop for these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

#[async_trait]
impl Handler for SessionHoop {
    async fn handle(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        flow: &mut FlowCtrl,
    ) {
        let session = self.sessions.open(request.headers()).await;
        depot.inject(session.clone());
        flow.call_next(request, depot, response).await;
        let finished = session.finish().await;
        if let Err(error) = finished.written {
            refuse(&error, response);
        }
        if let Some(cookie) = finished.set_cookie {
            let headers = response.headers_mut();
            headers.append(header::SET_COOKIE, cookie);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

/// The session that the hoop has opened.
pub fn session(depot: &Depot) -> Result<&Session, SessionError> {
    depot.obtain::<Session>().map_err(|_| SessionError::NoLayer)
}

/// Writes the response to a session error.
pub fn refuse(error: &SessionError, response: &mut Response) {
    response.status_code(error.status_and_code().0);
    response.render(Text::Plain(error.to_string()));
}

#[handler]
async fn sign_in(depot: &mut Depot, response: &mut Response) {
    let signed_in = match session(depot) {
        Ok(session) => session.sign_in(SignIn::new(42.into(), "demo")).await,
        Err(error) => Err(error),
    };
    if let Err(error) = signed_in {
        refuse(&error, response);
    }
}

#[handler]
async fn me(depot: &mut Depot, response: &mut Response) {
    match session(depot).and_then(Session::user) {
        Ok(user) => response.render(Text::Plain(user.to_string())),
        Err(error) => refuse(&error, response),
    }
}

/// The example application: `/in` and `/me`.
pub fn app(sessions: Sessions) -> Router {
    Router::new()
        .hoop(SessionHoop::new(sessions))
        .push(Router::with_path("in").get(sign_in))
        .push(Router::with_path("me").get(me))
}
