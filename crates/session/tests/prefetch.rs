//! A session read ahead of the layers in between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use tower::{ServiceBuilder, ServiceExt};
use tracera_session::{
    CurrentUser, EmbeddedStore, KeyRing, NearCache, PrefetchLayer, RedisStore, Session,
    SessionConfig, SessionLayer, Sessions, SignIn, UserId,
};
use tracera_testkit::{FaultProxy, Hold, RedisServer};

/// A layer between the two: waits until Redis has been asked for the session, then answers or
/// continues.
#[derive(Clone)]
struct Between {
    asked: Arc<Mutex<Option<Hold>>>,
    lets_through: bool,
}

impl Between {
    async fn pass(self, request: Request, next: Next) -> Response {
        let asked = self.asked.lock().unwrap().take();
        if let Some(mut asked) = asked {
            tokio::time::timeout(Duration::from_secs(20), asked.reached())
                .await
                .expect("asked ahead");
            asked.release();
        }
        if self.lets_through {
            next.run(request).await
        } else {
            StatusCode::TOO_MANY_REQUESTS.into_response()
        }
    }
}

fn app(sessions: &Sessions, between: Between) -> Router {
    let ahead = |request: &Request| request.uri().path() == "/me";
    Router::new()
        .route("/me", get(async |CurrentUser(user): CurrentUser| user.as_str().unwrap().to_owned()))
        .route("/login", post(sign_in))
        .layer(
            ServiceBuilder::new()
                .layer(PrefetchLayer::new(sessions.clone(), ahead))
                .layer(from_fn(move |request, next| between.clone().pass(request, next)))
                .layer(SessionLayer::new(sessions.clone())),
        )
}

async fn sign_in(session: Session) {
    session.sign_in(SignIn::new(UserId::new("ann").unwrap(), "test")).await.unwrap();
}

async fn send(app: Router, method: &str, path: &str, cookie: Option<&str>) -> Response {
    let request = Request::builder().method(method).uri(path);
    let request =
        cookie.into_iter().fold(request, |request, cookie| request.header(header::COOKIE, cookie));
    app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_question_is_on_its_way_before_the_layers_between_have_asked_theirs() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.port()).await;
    let store = RedisStore::connect(&proxy.redis_url()).await.unwrap();
    let config = SessionConfig::default().secure(false).near_cache(NearCache::Off);
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), config);
    let between =
        |asked, lets_through| Between { asked: Arc::new(Mutex::new(asked)), lets_through };

    let response = send(app(&sessions, between(None, true)), "POST", "/login", None).await;
    let cookie = response.headers()[header::SET_COOKIE]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();

    let asked = proxy.hold_next("HMGET");
    let response =
        send(app(&sessions, between(Some(asked), true)), "GET", "/me", Some(&cookie)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(redis.command_calls("hmget").await, 1, "asked ahead, and not again");

    let asked = proxy.hold_next("HMGET");
    let response =
        send(app(&sessions, between(Some(asked), false)), "GET", "/me", Some(&cookie)).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    // The request was answered without the session, so the command may still be on its way from the
    // proxy to Redis.
    let arrived = async { while redis.command_calls("hmget").await < 2 {} };
    tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("asked ahead, and in vain");

    let (rest, last) = cookie.split_at(cookie.len() - 1);
    let forged = format!("{rest}{}", if last == "A" { "E" } else { "A" });
    let response = send(app(&sessions, between(None, true)), "GET", "/me", Some(&forged)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(redis.command_calls("hmget").await, 2, "a forged cookie asks nothing");

    let response = send(app(&sessions, between(None, true)), "POST", "/login", Some(&cookie)).await;
    assert_eq!(
        response.status(),
        StatusCode::OK,
        "the layer inside asks where nothing was asked ahead"
    );
}

/// Waits for the session of its request, as a layer may that opens the session by itself.
async fn look(sessions: Sessions, request: Request, next: Next) -> Response {
    let looking = sessions.open(request.headers());
    tokio::time::timeout(Duration::from_secs(20), looking)
        .await
        .expect("it waits for what was asked ahead");
    next.run(request).await
}

#[tokio::test]
async fn nobody_waits_for_what_was_asked_ahead() {
    let redis = RedisServer::start().await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let config = SessionConfig::default().secure(false);
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), config);
    let looking = sessions.clone();
    let app = Router::new()
        .route("/me", get(async |CurrentUser(user): CurrentUser| user.as_str().unwrap().to_owned()))
        .route("/login", post(sign_in))
        .layer(SessionLayer::new(sessions.clone()))
        .route("/", get(async || "nobody takes the session here"))
        .layer(
            ServiceBuilder::new()
                .layer(PrefetchLayer::new(sessions.clone(), |_: &Request| true))
                .layer(from_fn(move |request, next| look(looking.clone(), request, next))),
        );
    // Until the near-cache is in use, because only then requests share a read.
    let in_use = async {
        while sessions.cache_stats().hits == 0 {
            let response = send(app.clone(), "POST", "/login", None).await;
            let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
            let cookie = cookie.split(';').next().unwrap();
            for path in ["/", "/me"] {
                assert_eq!(
                    send(app.clone(), "GET", path, Some(cookie)).await.status(),
                    StatusCode::OK
                );
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), in_use)
        .await
        .expect("the near-cache comes into use");
}

#[tokio::test]
async fn what_was_asked_ahead_is_not_taken_for_a_session_of_others() {
    let sessions = |name: &str, secret| {
        let config = SessionConfig::default().secure(false).cookie_name(name);
        Sessions::new(
            EmbeddedStore::in_memory().unwrap(),
            KeyRing::new(&[secret; 32]).unwrap(),
            config,
        )
    };
    let (site, admin) = (sessions("site", 1), sessions("admin", 2));
    let me = async |CurrentUser(user): CurrentUser| user.as_str().unwrap().to_owned();
    let app = Router::new()
        .route("/admin", get(me))
        .layer(SessionLayer::new(admin))
        .merge(
            Router::new()
                .route("/me", get(me))
                .route("/login", post(sign_in))
                .layer(SessionLayer::new(site.clone())),
        )
        .layer(PrefetchLayer::new(site, |_: &Request| true));
    let response = send(app.clone(), "POST", "/login", None).await;
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = Some(cookie.split(';').next().unwrap());
    assert_eq!(send(app.clone(), "GET", "/me", cookie).await.status(), StatusCode::OK);
    assert_eq!(send(app, "GET", "/admin", cookie).await.status(), StatusCode::UNAUTHORIZED);
}
