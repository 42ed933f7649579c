//! Properties of the conformance suite, tested over HTTP through actix-web with two instances on
//! one store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use actix_http::Request;
use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, SET_COOKIE};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error, web};
use bridge_actix::{Refused, Session, with_session};
use tokio::sync::Notify;
use tracera_session::store::{StoreError, StoreFuture, Tag, Update, ValueStore};
use tracera_session::{Budget, EmbeddedStore, KeyRing, NearCache, SessionConfig, Sessions, SignIn};

/// A gate between load and commit, at which a slow request waits.
#[derive(Clone, Default)]
struct Gate {
    arrived: Arc<Notify>,
    open: Arc<Notify>,
}

async fn sign_in(session: Session) -> Result<&'static str, Refused> {
    session.sign_in(SignIn::new(42.into(), "demo").carry(&["cart"])).await?;
    Ok("welcome")
}

async fn me(session: Session) -> Result<String, Refused> {
    Ok(session.user()?.to_string())
}

async fn sign_out(session: Session) -> Result<&'static str, Refused> {
    session.sign_out().await?;
    Ok("bye")
}

async fn rotate(session: Session) -> Result<&'static str, Refused> {
    session.rotate().await?;
    Ok("new id")
}

async fn put(session: Session, path: web::Path<(String, String)>) -> Result<&'static str, Refused> {
    session.set(&path.0, &path.1)?;
    Ok("kept")
}

async fn slow_put(
    session: Session,
    path: web::Path<(String, String)>,
    gate: web::Data<Gate>,
) -> Result<&'static str, Refused> {
    session.set(&path.0, &path.1)?;
    gate.arrived.notify_one();
    gate.open.notified().await;
    Ok("kept")
}

async fn field(session: Session, name: web::Path<String>) -> Result<String, Refused> {
    Ok(session.get::<String>(&name).await?.unwrap_or_default())
}

fn sessions(store: &EmbeddedStore) -> Sessions {
    let config = SessionConfig::default()
        .secure(false)
        .near_cache(NearCache::Off)
        .budget(Budget { fields: 4, bytes: 100 });
    Sessions::new(store.clone(), KeyRing::new(&[7; 32]).unwrap(), config)
}

async fn instance(
    sessions: Sessions,
    gate: Gate,
) -> impl Service<Request, Response = ServiceResponse, Error = Error> {
    let app = App::new()
        .app_data(web::Data::new(sessions))
        .app_data(web::Data::new(gate))
        .wrap(from_fn(with_session))
        .route("/in", web::post().to(sign_in))
        .route("/me", web::get().to(me))
        .route("/out", web::post().to(sign_out))
        .route("/rotate", web::post().to(rotate))
        .route("/set/{name}/{value}", web::post().to(put))
        .route("/slow/{name}/{value}", web::post().to(slow_put))
        .route("/field/{name}", web::get().to(field));
    init_service(app).await
}

struct Answer {
    status: StatusCode,
    /// The value of `Set-Cookie` before its attributes; empty when the cookie is cleared.
    cookie: Option<String>,
    body: String,
}

async fn send<S>(app: &S, method: &str, path: &str, cookie: &str) -> Answer
where
    S: Service<Request, Response = ServiceResponse, Error = Error>,
{
    let mut request = TestRequest::with_uri(path).method(method.parse().unwrap());
    if !cookie.is_empty() {
        request = request.insert_header(("cookie", format!("session={cookie}")));
    }
    let response = app.call(request.to_request()).await.unwrap();
    let status = response.status();
    let cookie = response.headers().get(SET_COOKIE).map(|line| {
        let pair = line.to_str().unwrap().split(';').next().unwrap();
        pair.strip_prefix("session=").unwrap().to_owned()
    });
    if cookie.is_some() {
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store", "{path}");
    }
    let body = to_bytes(response.into_body()).await.map_err(|_| "no body").unwrap();
    Answer { status, cookie, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// Makes two instances on one store, and the gate that holds a slow request at the first.
macro_rules! scene {
    ($a:ident, $b:ident, $gate:ident) => {
        let store = EmbeddedStore::in_memory().unwrap();
        let $gate = Gate::default();
        let $a = instance(sessions(&store), $gate.clone()).await;
        let $b = instance(sessions(&store), $gate.clone()).await;
    };
}

/// Runs `meanwhile` while a request that has set `slow` to `1` is held.
macro_rules! while_a_writer_is_held {
    ($a:ident, $gate:ident, $cookie:expr, $meanwhile:expr) => {{
        let held = send(&$a, "POST", "/slow/slow/1", $cookie);
        let other = async {
            $gate.arrived.notified().await;
            let answer = $meanwhile.await;
            $gate.open.notify_one();
            answer
        };
        tokio::join!(held, other)
    }};
}

#[actix_web::test]
async fn a_browser_signs_in_and_is_known_on_both_instances_until_it_signs_out() {
    scene!(a, b, gate);
    drop(gate);
    let nobody = send(&a, "GET", "/me", "").await;
    assert_eq!((nobody.status, nobody.cookie), (StatusCode::UNAUTHORIZED, None));
    assert!(nobody.body.contains(r#""code":"unauthenticated""#), "{}", nobody.body);
    let cookie = send(&a, "POST", "/in", "").await.cookie.unwrap();
    for app in [&b, &b] {
        let known = send(app, "GET", "/me", &cookie).await;
        assert_eq!((known.status, &*known.body, known.cookie), (StatusCode::OK, "42", None));
    }
    assert_eq!(send(&a, "POST", "/out", &cookie).await.cookie.as_deref(), Some(""));
    let over = send(&b, "GET", "/me", &cookie).await;
    assert_eq!((over.status, over.cookie.as_deref()), (StatusCode::UNAUTHORIZED, Some("")));
}

#[actix_web::test]
async fn visitors_who_store_nothing_get_no_cookie_and_others_keep_what_they_carry() {
    scene!(a, b, gate);
    drop(gate);
    assert_eq!(send(&a, "GET", "/field/cart", "").await.cookie, None);
    let visitor = send(&a, "POST", "/set/cart/full", "").await.cookie.unwrap();
    send(&a, "POST", "/set/theme/dark", &visitor).await;
    let user = send(&b, "POST", "/in", &visitor).await.cookie.unwrap();
    assert_eq!(send(&a, "GET", "/field/cart", &user).await.body, "full");
    assert_eq!(send(&a, "GET", "/field/theme", &user).await.body, "");
    assert_eq!(send(&a, "GET", "/field/cart", &visitor).await.body, "");
}

#[actix_web::test]
async fn two_writers_of_different_fields_keep_both() {
    scene!(a, b, gate);
    let cookie = send(&a, "POST", "/in", "").await.cookie.unwrap();
    let (slow, fast) =
        while_a_writer_is_held!(a, gate, &cookie, send(&b, "POST", "/set/fast/2", &cookie));
    assert_eq!((slow.status, fast.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(send(&a, "GET", "/field/fast", &cookie).await.body, "2");
    assert_eq!(send(&b, "GET", "/field/slow", &cookie).await.body, "1");
}

#[actix_web::test]
async fn logout_beats_a_writer_in_flight() {
    scene!(a, b, gate);
    let cookie = send(&a, "POST", "/in", "").await.cookie.unwrap();
    let (slow, _) = while_a_writer_is_held!(a, gate, &cookie, send(&b, "POST", "/out", &cookie));
    assert_eq!((slow.status, &*slow.body), (StatusCode::OK, "kept"), "the answer stays");
    assert_eq!(slow.cookie.as_deref(), Some(""));
    for app in [&a, &a] {
        assert_eq!(send(app, "GET", "/me", &cookie).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[actix_web::test]
async fn a_writer_in_flight_survives_a_rotation_and_leaves_the_new_cookie_alone() {
    scene!(a, b, gate);
    let cookie = send(&a, "POST", "/in", "").await.cookie.unwrap();
    let (slow, rotated) =
        while_a_writer_is_held!(a, gate, &cookie, send(&b, "POST", "/rotate", &cookie));
    assert_eq!((slow.status, slow.cookie), (StatusCode::OK, None));
    let new = rotated.cookie.unwrap();
    assert_ne!(new, cookie);
    assert_eq!(send(&b, "GET", "/field/slow", &new).await.body, "1");
}

#[actix_web::test]
async fn what_is_beyond_the_budget_is_413_in_the_answers_place() {
    scene!(a, b, gate);
    drop((b, gate));
    let cookie = send(&a, "POST", "/in", "").await.cookie.unwrap();
    let full = send(&a, "POST", &format!("/set/big/{}", "x".repeat(200)), &cookie).await;
    assert_eq!(full.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(full.body.contains(r#""code":"session_full""#), "{}", full.body);
    assert_eq!(send(&a, "GET", "/field/big", &cookie).await.body, "");
}

/// A store that is always unavailable.
struct Away;

impl ValueStore for Away {
    fn read<'a>(&'a self, _: &'a Tag) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Err(StoreError::unavailable("it is away")) })
    }

    fn update<'a>(&'a self, _: &'a Tag, _: Update) -> StoreFuture<'a, ()> {
        Box::pin(async { Err(StoreError::unavailable("it is away")) })
    }
}

#[actix_web::test]
async fn a_store_that_cannot_be_reached_is_503_and_never_signed_out() {
    let store = EmbeddedStore::in_memory().unwrap();
    let there = instance(sessions(&store), Gate::default()).await;
    let cookie = send(&there, "POST", "/in", "").await.cookie.unwrap();
    let keys = KeyRing::new(&[7; 32]).unwrap();
    let config = SessionConfig::default().secure(false);
    let away = instance(Sessions::new(Away, keys, config), Gate::default()).await;
    let answer = send(&away, "GET", "/me", &cookie).await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::SERVICE_UNAVAILABLE, None));
    assert!(answer.body.contains(r#""code":"unavailable""#), "{}", answer.body);
}
