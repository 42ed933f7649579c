//! Several kinds of sessions over one store and one key ring.

use axum::body::Body;
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, Request, StatusCode, header};
use tower::ServiceExt;

use crate::error::SessionError;
use crate::keyring::KeyRing;
use crate::layer::{SessionLayer, SessionOf};
use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::sessions::Sessions;
use crate::testing::stage::{Browser, SECRET, Site, Stage, new_user};
use crate::token::UserId;

/// The second instance as another realm.
fn admin(stage: &Stage) -> Site {
    let config = stage.config.clone().realm("admin");
    Site(Sessions::new(stage.probe(), KeyRing::new(SECRET).unwrap(), config))
}

pub(super) async fn a_cookie_of_one_realm_opens_nothing_in_another(stage: Stage) {
    let ([site, _], admin) = (stage.sites(), admin(&stage));
    let user = new_user();
    let (as_user, as_admin) =
        (Browser::signed_in(&site, &user).await, Browser::signed_in(&admin, &user).await);
    let reads = stage.reads();
    assert!(!as_user.is_signed_in(&admin).await && !as_admin.is_signed_in(&site).await);
    assert_eq!(stage.reads(), reads, "such a cookie is a forged one");
    assert!(as_user.is_signed_in(&site).await && as_admin.is_signed_in(&admin).await);
    // By default the name of the cookie is the realm.
    let by_name = stage.config.clone().cookie_name("admin");
    let by_name = Sessions::new(stage.probe(), KeyRing::new(SECRET).unwrap(), by_name);
    let cookie = as_user.cookie.unwrap();
    let headers: HeaderMap =
        [(header::COOKIE, format!("admin={cookie}").parse().unwrap())].into_iter().collect();
    assert!(by_name.open(&headers).await.user().is_err());
}

pub(super) async fn neither_realm_sees_or_ends_the_sessions_of_the_other(stage: Stage) {
    let stage = stage.configure(|config| config.max_sessions_per_user(2));
    let ([site, _], admin) = (stage.sites(), admin(&stage));
    let user = new_user();
    let as_admin = Browser::signed_in(&admin, &user).await;
    for _ in 0..3 {
        Browser::signed_in(&site, &user).await;
    }
    assert_eq!((site.listed(&user).await, admin.listed(&user).await), (2, 1));
    let handle = admin.0.list(&user).await.unwrap()[0].handle;
    assert!(!site.0.revoke(&user, handle).await.unwrap());
    site.0.revoke_all(&user).await.unwrap();
    assert_eq!((site.listed(&user).await, admin.listed(&user).await), (0, 1));
    assert!(as_admin.is_signed_in(&admin).await);
}

pub(super) async fn a_layer_inside_a_layer_of_the_same_sessions_opens_once(stage: Stage) {
    let [site, _] = stage.sites();
    let user = new_user();
    let sign_in = SignIn::new(user, "test");
    let route = post(move |session: Session| {
        let sign_in = sign_in.clone();
        async move {
            session.sign_in(sign_in).await?;
            session.set("n", &1)
        }
    });
    let layer = || SessionLayer::new(site.0.clone());
    let app = Router::new().route("/", route).layer(layer()).layer(layer());
    let request = Request::post("/").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let cookies: Vec<_> = response.headers().get_all(header::SET_COOKIE).iter().collect();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    let cookie = cookies[0].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().strip_prefix("session=").unwrap();
    let browser = Browser { cookie: Some(cookie.to_owned()) };
    assert!(browser.is_signed_in(&site).await);
    assert_eq!(browser.field(&site, "n").await, 1);
}

pub(super) async fn two_sessions_on_one_route_are_both_there(stage: Stage) {
    struct Admin;
    let [site, _] = stage.sites();
    let config = stage.config.clone().cookie_name("admin");
    let admin = Sessions::new(stage.probe(), KeyRing::new(SECRET).unwrap(), config);
    let (first, second) = (new_user(), new_user());
    let sign_in = {
        let (first, second) = (first.clone(), second.clone());
        post(async move |session: Session, admin: SessionOf<Admin>| {
            session.sign_in(SignIn::new(first, "test")).await?;
            admin.sign_in(SignIn::new(second, "test")).await
        })
    };
    let who = async |session: Session, admin: SessionOf<Admin>| {
        Ok::<_, SessionError>(Json([session.user()?, admin.user()?]))
    };
    let app = Router::new()
        .route("/", sign_in.get(who))
        .layer(SessionLayer::new(site.0))
        .layer(SessionLayer::new(admin).marked::<Admin>());
    let request = Request::post("/").body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let cookies = response.headers().get_all(header::SET_COOKIE).iter();
    let cookies: Vec<_> =
        cookies.map(|line| line.to_str().unwrap().split(';').next().unwrap()).collect();
    let request =
        Request::get("/").header(header::COOKIE, cookies.join("; ")).body(Body::empty()).unwrap();
    let body = app.oneshot(request).await.unwrap().into_body();
    let body = axum::body::to_bytes(body, 999).await.unwrap();
    let both: [String; 2] = serde_json::from_slice(&body).unwrap();
    assert_eq!(both.map(|user| UserId::new(user).unwrap()), [first, second]);
}
