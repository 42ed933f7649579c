//! The login layer over a store in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{HeaderMap, Method, StatusCode, header};
use tower::ServiceExt;

use super::*;
use crate::{EmbeddedStore, KeyRing, SessionConfig, SessionLayer, Sessions};

/// The database's answer for the only user: the password, `None`, or an error.
#[derive(Clone)]
struct Database(Arc<Mutex<Result<Option<&'static str>, std::io::ErrorKind>>>);

impl Users for Database {
    type User = &'static str;
    type Error = std::io::Error;

    async fn load(&self, _: &UserId) -> Result<Option<&'static str>, std::io::Error> {
        (*self.0.lock().unwrap()).map_err(Into::into)
    }

    async fn permits(&self, password: &&'static str, permission: &str) -> std::io::Result<bool> {
        (*self.0.lock().unwrap()).map(|_| *password == permission).map_err(Into::into)
    }

    fn stamp(&self, password: &&'static str) -> Option<String> {
        Some((*password).to_owned())
    }
}

fn app(database: &Database) -> Router {
    let config = SessionConfig::default().secure(false).preload(&[STAMP_FIELD]).unwrap();
    let store = EmbeddedStore::in_memory().unwrap();
    let sessions = Sessions::new(store, KeyRing::new(&[1; 32]).unwrap(), config);
    let login = async |mut login: Login<Database>| {
        let new = SignIn::new(UserId::new("ada").unwrap(), "password");
        login.sign_in(&"first", new).await?;
        assert_eq!(login.user, Some("first"));
        Ok::<_, SessionError>(())
    };
    let logout = async |mut login: Login<Database>| {
        assert_eq!(login.user, Some("first"));
        login.sign_out().await?;
        assert_eq!(login.user, None);
        Ok::<_, SessionError>(())
    };
    Router::new()
        .route("/account", get(async |LoggedIn(user): LoggedIn<&'static str>| user))
        .route_layer(login_required("/login"))
        .route(
            "/",
            get(async |user: Option<LoggedIn<&'static str>>| {
                user.map_or("nobody", |LoggedIn(user)| user)
            }),
        )
        .route("/login", post(login))
        .route("/logout", post(logout))
        .merge(guarded("/first", "first"))
        .merge(guarded("/second", "second"))
        .layer(LoginLayer::new(database.clone()))
        .layer(SessionLayer::new(sessions))
}

fn guarded(path: &str, permission: &'static str) -> Router {
    let guard = permission_required::<Database>("/login", permission);
    Router::new().route(path, get(async || "for some")).route_layer(guard)
}

async fn send(app: &Router, request: Request<Body>) -> (StatusCode, HeaderMap) {
    let response = app.clone().oneshot(request).await.unwrap();
    (response.status(), response.headers().clone())
}

fn request(path: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_user_is_loaded_and_an_error_is_never_signed_out() {
    let database = Database(Arc::new(Mutex::new(Ok(Some("first")))));
    let app = app(&database);
    let signed_in = async || {
        let mut login = request("/login", &[]);
        *login.method_mut() = Method::POST;
        let (status, headers) = send(&app, login).await;
        assert_eq!(status, StatusCode::OK);
        let cookie = headers[header::SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    };
    let status =
        async |path: &str, cookie: &str| send(&app, request(path, &[("cookie", cookie)])).await.0;
    let cookie = signed_in().await;
    assert_eq!(status("/account", &cookie).await, StatusCode::OK);
    *database.0.lock().unwrap() = Err(std::io::ErrorKind::TimedOut);
    for path in ["/account", "/"] {
        assert_eq!(status(path, &cookie).await, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    *database.0.lock().unwrap() = Ok(Some("first"));
    assert_eq!(status("/account", &cookie).await, StatusCode::OK, "still signed in");
    *database.0.lock().unwrap() = Ok(Some("second password"));
    assert_eq!(status("/account", &cookie).await, StatusCode::UNAUTHORIZED);
    *database.0.lock().unwrap() = Ok(Some("first"));
    assert_eq!(status("/account", &cookie).await, StatusCode::UNAUTHORIZED, "ended for good");

    let cookie = signed_in().await;
    *database.0.lock().unwrap() = Ok(None);
    assert_eq!(status("/", &cookie).await, StatusCode::OK, "as nobody");
    *database.0.lock().unwrap() = Ok(Some("first"));
    assert_eq!(status("/account", &cookie).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn people_are_sent_to_the_sign_in_page_and_programs_told_401() {
    let app = app(&Database(Arc::new(Mutex::new(Ok(Some("first"))))));
    let page = "/account?tab=a%20b&x=1";
    let address = "/login?next=/account%3Ftab%3Da%2520b%26x%3D1";
    let (status, headers) = send(&app, request(page, &[("accept", "text/html,*/*")])).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(headers[header::LOCATION], address);
    let (status, headers) =
        send(&app, request(page, &[("accept", "text/html"), ("hx-request", "true")])).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(headers["hx-redirect"], address);
    let (status, _) = send(&app, request(page, &[("accept", "application/json")])).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[test]
fn only_paths_of_this_site_are_return_targets() {
    for good in ["/", "/account?tab=1#x", "/a//b"] {
        assert_eq!(return_target(good), Some(good));
    }
    for bad in [
        "",
        "account",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/\t/evil.example",
        "/a b",
        "/ü",
    ] {
        assert_eq!(return_target(bad), None, "{bad:?}");
    }
}

#[tokio::test]
async fn who_lacks_a_permission_is_refused_and_who_is_unknown_is_sent_to_sign_in() {
    let database = Database(Arc::new(Mutex::new(Ok(Some("first")))));
    let app = app(&database);
    let (status, headers) = send(&app, request("/first", &[("accept", "text/html")])).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(headers[header::LOCATION], "/login?next=/first");
    assert_eq!(send(&app, request("/first", &[])).await.0, StatusCode::UNAUTHORIZED);

    let post = |path, cookie| {
        let mut request = request(path, &[("cookie", cookie)]);
        *request.method_mut() = Method::POST;
        request
    };
    let (_, headers) = send(&app, post("/login", "")).await;
    let cookie = headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    let status = async |path| send(&app, request(path, &[("cookie", cookie)])).await.0;
    assert_eq!(status("/first").await, StatusCode::OK);
    assert_eq!(status("/second").await, StatusCode::FORBIDDEN);
    *database.0.lock().unwrap() = Err(std::io::ErrorKind::TimedOut);
    assert_eq!(status("/first").await, StatusCode::SERVICE_UNAVAILABLE);
    *database.0.lock().unwrap() = Ok(Some("first"));
    assert_eq!(send(&app, post("/logout", cookie)).await.0, StatusCode::OK);
    assert_eq!(status("/first").await, StatusCode::UNAUTHORIZED);
}
