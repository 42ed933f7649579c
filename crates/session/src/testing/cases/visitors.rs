//! Requests without a session.

use http::{HeaderMap, StatusCode};

use crate::ended::Ended;
use crate::error::SessionError;
use crate::keyring::KeyRing;
use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::testing::stage::{Browser, CookieEffect, HOUR, SECRET, Site, Stage, new_user};

pub(super) async fn visitors_who_store_nothing_cost_nothing(stage: Stage) {
    let [a, _] = stage.sites();
    let answer = a
        .request(None, |s| async move {
            assert!(s.user().is_err());
            s.remove("a")?;
            assert_eq!(s.take::<u8>("b").await?, None);
            s.get::<u8>("a").await
        })
        .await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    assert_eq!((stage.reads(), stage.writes()), (0, 0));
}

pub(super) async fn a_forged_cookie_costs_no_call(stage: Stage) {
    let [a, _] = stage.sites();
    let genuine = Browser::signed_in(&a, &new_user()).await.cookie.unwrap();
    let foreign = {
        let keys = KeyRing::new(&[9; 32]).unwrap();
        let [site, _] = stage.sites_with(&keys);
        Browser::signed_in(&site, &new_user()).await.cookie.unwrap()
    };
    let last = if genuine.ends_with('A') { "B" } else { "A" };
    let changed = format!("{}{last}", &genuine[..genuine.len() - 1]);
    let reads = stage.reads();
    // Another instance may know the secret, or another application of the host may have set it.
    for cookie in [&genuine[..100], &changed, "x", "\"\"", &foreign] {
        let answer = a.request(Some(cookie), |s| async move { s.user().map(drop) }).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{cookie}");
        assert_eq!(answer.cookie, CookieEffect::Untouched, "{cookie}");
    }
    assert_eq!(stage.reads(), reads);
    // The foreign cookie does not prevent the visitor from storing data here.
    let mut visitor = Browser { cookie: Some(foreign) };
    visitor.send(&a, |s| async move { s.set("cart", &1) }).await;
    assert_eq!(visitor.field(&a, "cart").await, 1);
}

pub(super) async fn a_visitor_who_stores_something_gets_a_session(stage: Stage) {
    let [a, b] = stage.sites();
    let mut visitor = Browser::default();
    let answer = visitor.send(&a, |s| async move { s.set("cart", &[1, 2]) }).await;
    assert!(matches!(answer.cookie, CookieEffect::Set(_)), "{answer:?}");
    assert!(!visitor.is_signed_in(&b).await);
    assert_eq!(visitor.field(&b, "cart").await, serde_json::json!([1, 2]));

    // The sign-in ends the visitor's session, because its id may have been planted.
    let before = visitor.clone();
    let user = new_user();
    visitor.sign_in(&b, &user).await;
    assert!(visitor.is_signed_in(&a).await);
    assert_eq!(before.field(&a, "cart").await, serde_json::Value::Null);
    assert_eq!(
        before.clone().send(&a, |s| async move { s.set("x", &1) }).await.status,
        StatusCode::OK
    );
    assert_eq!(a.listed(&user).await, 1);
}

pub(super) async fn first_writes_at_once_in_one_request_begin_one_session(stage: Stage) {
    let [a, b] = stage.sites();
    let mut visitor = Browser::default();
    let answer = visitor
        .send(&a, |s| async move {
            let (one, two) = tokio::join!(s.increment("a", 1), s.set_if_absent("b", &2));
            one.and(two)
        })
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!((visitor.field(&b, "a").await, visitor.field(&b, "b").await), (1.into(), 2.into()));
    assert_eq!(stage.writes(), 3, "one visit and two writes");
}

pub(super) async fn a_sign_in_beside_other_operations_of_its_request_is_what_remains(stage: Stage) {
    let [a, b] = stage.sites();
    let (first, second) = (new_user(), new_user());
    for presented in [false, true] {
        for operation in 0..4 {
            let mut browser =
                if presented { Browser::signed_in(&a, &first).await } else { Browser::default() };
            let user = second.clone();
            let answer = browser
                .send(&a, move |s| async move {
                    let beside = async {
                        // An operation may lose to the sign-in.
                        let _: Result<(), SessionError> = match operation {
                            0 => s.increment("a", 1).await.map(drop),
                            1 => s.rotate().await,
                            2 => s.sign_out_others().await,
                            _ => s.verify().await,
                        };
                    };
                    let ((), signed_in) =
                        tokio::join!(beside, s.sign_in(SignIn::new(user, "test")));
                    signed_in
                })
                .await;
            assert_eq!(answer.status, StatusCode::OK);
            let is_second = second.clone();
            let user = browser.send(&b, |s| async move { Ok(s.user()? == is_second) }).await;
            assert_eq!(user.body, true, "operation {operation}, presented: {presented}");
            assert_eq!(
                (b.listed(&first).await, b.listed(&second).await),
                (0, 1),
                "operation {operation}"
            );
            browser.send(&a, |s| async move { s.sign_out().await }).await;
        }
    }
}

pub(super) async fn two_sign_ins_at_once_in_one_request_leave_one_session(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::default();
    let (one, two) = (SignIn::new(user.clone(), "test"), SignIn::new(user.clone(), "test"));
    let answer = browser
        .send(&a, |s| async move {
            let (one, two) = tokio::join!(s.sign_in(one), s.sign_in(two));
            one.and(two)
        })
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(browser.is_signed_in(&b).await);
    assert_eq!(b.listed(&user).await, 1);
}

async fn ended(site: &Site, cookie: &str) -> Option<Ended> {
    let mut headers = HeaderMap::new();
    headers.insert("cookie", format!("session={cookie}").parse().unwrap());
    let session: Session = site.0.open(&headers).await;
    session.ended()
}

pub(super) async fn every_way_to_be_signed_out_has_its_name(stage: Stage) {
    let stage = stage.configure(|config| config.lifetime(HOUR));
    let [a, b] = stage.sites();
    let signed_in = async || Browser::signed_in(&a, &new_user()).await;

    let mut out = signed_in().await;
    let out_before = out.cookie.clone().unwrap();
    out.send(&b, |s| async move { s.sign_out().await }).await;
    let mut rotated = signed_in().await;
    let rotated_before = rotated.cookie.clone().unwrap();
    rotated.send(&b, |s| async move { s.rotate().await }).await;
    let user = new_user();
    let revoked = Browser::signed_in(&a, &user).await.cookie.unwrap();
    b.0.revoke_all(&user).await.unwrap();
    let old = signed_in().await.cookie.unwrap();

    assert_eq!(ended(&a, "no cookie of ours").await, Some(Ended::NotOurs));
    assert_eq!(ended(&a, &out_before).await, Some(Ended::Absent));
    assert_eq!(ended(&a, &rotated_before).await, Some(Ended::Rotated));
    assert!(matches!(ended(&a, &revoked).await, Some(Ended::Absent | Ended::Revoked)));
    assert_eq!(ended(&a, &old).await, None);
    stage.clock.advance(HOUR);
    assert!(matches!(ended(&a, &old).await, Some(Ended::Expired | Ended::Absent)));
    let kept = KeyRing::new(SECRET).unwrap();
    let [again, _] = stage.sites_with(&kept);
    assert!(matches!(ended(&again, &old).await, Some(Ended::Expired | Ended::Absent)));
}
