//! A slow request S is held between load and commit while others run.

use std::time::Duration;

use http::StatusCode;

use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::testing::stage::{Browser, CookieEffect, HOUR, Stage, new_user};

const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn two_writers_of_different_fields_keep_both(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    let slow = browser.hold(&a, |s| async move { s.set("slow", &1) }).await;
    browser.send(&b, |s| async move { s.set("quick", &2) }).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    for site in [&a, &b] {
        assert_eq!(browser.field(site, "slow").await, 1);
        assert_eq!(browser.field(site, "quick").await, 2);
    }
}

pub(super) async fn a_reader_does_not_undo_a_write(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.send(&a, |s| async move { s.set("a", &"before") }).await;
    let slow = browser.hold(&a, |s| async move { s.get::<String>("a").await }).await;
    browser.send(&b, |s| async move { s.set("a", &"after") }).await;
    assert_eq!(slow.release().await.status, StatusCode::OK);
    assert_eq!(browser.field(&a, "a").await, "after");
}

pub(super) async fn logout_beats_a_writer_in_flight(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let before = browser.clone();
    let slow = browser.hold(&a, |s| async move { s.set("a", &1) }).await;
    browser.send(&b, |s| async move { s.sign_out().await }).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Cleared));
    for site in [&a, &b] {
        assert!(!before.is_signed_in(site).await);
        assert_eq!(site.listed(&user).await, 0);
    }
}

pub(super) async fn logout_beats_a_reader_in_flight(stage: Stage) {
    let stage = stage.configure(|config| config.idle_timeout(Some(MINUTE * 30)));
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let before = browser.clone();
    // Long enough for the reader to write its "last seen".
    stage.clock.advance(MINUTE * 10);
    let slow = browser.hold(&a, |s| async move { s.user().map(drop) }).await;
    browser.send(&b, |s| async move { s.sign_out().await }).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Cleared));
    for site in [&a, &b] {
        assert!(!before.is_signed_in(site).await);
        assert_eq!(site.listed(&user).await, 0);
    }
}

pub(super) async fn a_writer_in_flight_survives_a_rotation_and_leaves_the_new_cookie_alone(
    stage: Stage,
) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    let before = browser.clone();
    let slow = browser.hold(&a, |s| async move { s.set("slow", &1) }).await;
    let rotated = browser.send(&b, |s| async move { s.rotate().await }).await;
    assert!(matches!(rotated.cookie, CookieEffect::Set(_)), "{rotated:?}");
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    assert_eq!(browser.field(&a, "slow").await, 1);
    // The old cookie is not signed in, and its answer does not clear the browser's new cookie.
    let old = a.request(before.cookie.as_deref(), |s| async move { Ok(s.user().is_ok()) }).await;
    assert_eq!((old.body, old.cookie), (false.into(), CookieEffect::Untouched));
}

pub(super) async fn a_late_request_with_a_former_cookie_leaves_the_new_one_alone(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let before_rotation = browser.clone();
    browser.send(&a, |s| async move { s.rotate().await }).await;
    let before_sign_in = browser.clone();
    browser.sign_in(&a, &user).await;
    let writes = stage.writes();
    for mut late in [before_rotation, before_sign_in] {
        let set = late.send(&b, |s| async move { s.set("late", &1) }).await;
        assert_eq!((set.status, set.cookie), (StatusCode::OK, CookieEffect::Untouched));
        let increment = late.send(&b, |s| async move { s.increment("late", 1).await }).await;
        assert_eq!(
            (increment.status, increment.cookie),
            (StatusCode::UNAUTHORIZED, CookieEffect::Untouched)
        );
    }
    assert_eq!(stage.writes(), writes);
    assert_eq!(browser.field(&a, "late").await, serde_json::Value::Null);
    assert!(browser.is_signed_in(&a).await);
}

pub(super) async fn two_rotations_in_flight_leave_the_browser_a_live_session(stage: Stage) {
    for confirms in [false, true] {
        let [a, b] = stage.sites();
        let mut browser = Browser::signed_in(&a, &new_user()).await;
        let slow = browser.hold(&a, |s| async move { s.rotate().await }).await;
        let quick = browser
            .clone()
            .send(&b, move |s| async move {
                if confirms { s.confirm("again").await } else { s.rotate().await }
            })
            .await;
        let slow = slow.release().await;
        assert_eq!((quick.status, slow.status), (StatusCode::OK, StatusCode::OK));
        for order in [[&quick, &slow], [&slow, &quick]] {
            for answer in order {
                browser.receive(answer);
            }
            assert!(browser.is_signed_in(&a).await);
        }
        // A confirmation that comes too late to be recorded reports it.
        let late = browser.hold(&a, |s| async move { s.confirm("late").await }).await;
        browser.send(&b, |s| async move { s.rotate().await }).await;
        assert_eq!(late.release().await.status, StatusCode::CONFLICT);
    }
}

pub(super) async fn a_writer_in_flight_survives_a_rotation_that_ends_the_others(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    let slow = browser.hold(&a, |s| async move { s.set("slow", &1) }).await;
    let confirmed = browser
        .send(&b, |s| async move {
            s.confirm("password").await?;
            s.sign_out_others().await
        })
        .await;
    assert_eq!(confirmed.status, StatusCode::OK);
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    assert_eq!(browser.field(&a, "slow").await, 1);
}

pub(super) async fn a_reader_in_flight_survives_a_rotation(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.send(&a, |s| async move { s.set("a", &"kept") }).await;
    let slow = browser.hold(&a, |s| async move { s.get::<String>("a").await }).await;
    browser.send(&b, |s| async move { s.rotate().await }).await;
    browser.send(&b, |s| async move { s.rotate().await }).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    assert_eq!(answer.body, "kept");
}

pub(super) async fn a_request_in_flight_is_verified_after_a_rotation(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let verify = |s: Session| async move {
        s.set("slow", &1)?;
        s.verify().await?;
        s.require_fresh(MINUTE).await
    };
    let slow = browser.hold(&a, verify).await;
    browser.send(&b, |s| async move { s.rotate().await }).await;
    browser.sign_in(&b, &user).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    assert_eq!(browser.field(&a, "slow").await, 1);

    // If the session has ended since, the browser's newer cookie is not cleared.
    let slow = browser.hold(&a, verify).await;
    browser.send(&b, |s| async move { s.rotate().await }).await;
    browser.send(&b, |s| async move { s.rotate().await }).await;
    let _other = Browser::signed_in(&a, &user).await;
    browser.send(&b, |s| async move { s.sign_out().await }).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::UNAUTHORIZED, CookieEffect::Untouched));
}

pub(super) async fn a_request_in_flight_is_over_a_minute_after_a_rotation(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.send(&a, |s| async move { s.set("a", &1) }).await;
    let slow = [
        browser.hold(&a, |s| async move { s.verify().await }).await,
        browser.hold(&a, |s| async move { s.require_fresh(HOUR).await }).await,
        browser.hold(&a, |s| async move { s.get::<u8>("a").await.map(drop) }).await,
        browser.hold(&a, |s| async move { s.increment("a", 1).await.map(drop) }).await,
    ];
    browser.send(&b, |s| async move { s.rotate().await }).await;
    stage.clock.advance(MINUTE);
    for slow in slow {
        let answer = slow.release().await;
        assert_eq!(
            (answer.status, answer.cookie),
            (StatusCode::UNAUTHORIZED, CookieEffect::Untouched)
        );
    }
    assert_eq!(browser.field(&a, "a").await, 1);
}

pub(super) async fn a_proof_under_a_new_id_is_none_for_a_request_in_flight(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    stage.clock.advance(MINUTE * 2);
    let slow = browser.hold(&a, |s| async move { s.require_fresh(MINUTE).await }).await;
    browser.send(&b, |s| async move { s.confirm("again").await }).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::FORBIDDEN, CookieEffect::Untouched));
    let fresh = browser.send(&a, |s| async move { s.require_fresh(MINUTE).await }).await;
    assert_eq!(fresh.status, StatusCode::OK);
}

pub(super) async fn a_sign_in_ends_the_session_presented_with_it(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let before = browser.clone();
    let slow = browser.hold(&a, |s| async move { s.set("slow", &1) }).await;
    let again = browser.sign_in(&b, &user).await;
    assert!(matches!(again.cookie, CookieEffect::Set(_)), "{again:?}");
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    assert!(browser.is_signed_in(&a).await);
    assert!(!before.is_signed_in(&a).await);
    assert_eq!(a.listed(&user).await, 1);
}

pub(super) async fn a_sign_in_as_somebody_else_keeps_its_cookie_whatever_was_under_way(
    stage: Stage,
) {
    let [a, b] = stage.sites();
    let (first, second) = (new_user(), new_user());
    for is_visitor in [true, false] {
        let mut browser =
            if is_visitor { Browser::default() } else { Browser::signed_in(&a, &first).await };
        browser.send(&a, |s| async move { s.set("a", &1) }).await;
        let oldest = browser.clone();
        browser.send(&a, |s| async move { s.rotate().await }).await;
        let before = browser.clone();
        let slow = [
            browser.hold(&a, |s| async move { s.set("slow", &1) }).await,
            browser.hold(&a, |s| async move { s.increment("slow", 1).await.map(drop) }).await,
            browser.hold(&a, |s| async move { s.get::<u8>("a").await.map(drop) }).await,
            browser.hold(&a, |s| async move { s.verify().await }).await,
            browser.hold(&a, |s| async move { s.rotate().await }).await,
            browser.hold(&a, |s| async move { s.sign_out_others().await }).await,
        ];
        browser.sign_in(&b, &second).await;
        for slow in slow {
            assert_eq!(slow.release().await.cookie, CookieEffect::Untouched);
        }
        let writes = stage.writes();
        for mut late in [oldest, before.clone()] {
            let read = late.send(&a, |s| async move { s.user().map(drop) }).await;
            assert_eq!(
                (read.status, read.cookie),
                (StatusCode::UNAUTHORIZED, CookieEffect::Untouched)
            );
            let write = late.send(&a, |s| async move { s.set("late", &1) }).await;
            assert_eq!((write.status, write.cookie), (StatusCode::OK, CookieEffect::Untouched));
        }
        assert_eq!(stage.writes(), writes);
        assert!(browser.is_signed_in(&a).await);
        assert_eq!((a.listed(&first).await, a.listed(&second).await), (0, 1));
        stage.clock.advance(MINUTE);
        let late = a.request(before.cookie.as_deref(), |s| async move { s.user().map(drop) }).await;
        assert_eq!((late.status, late.cookie), (StatusCode::UNAUTHORIZED, CookieEffect::Cleared));
        browser.send(&a, |s| async move { s.sign_out().await }).await;
    }
}

pub(super) async fn logout_in_flight_ends_a_session_rotated_meanwhile(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let before = browser.clone();
    let slow = browser.hold(&a, |s| async move { s.sign_out().await }).await;
    browser.send(&b, |s| async move { s.rotate().await }).await;
    let answer = slow.release().await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Cleared));
    assert!(!browser.is_signed_in(&a).await);
    assert_eq!(a.listed(&user).await, 0);

    // The same for a logout that was sent with the old cookie and arrives after the rotation.
    let mut browser = Browser::signed_in(&a, &user).await;
    let late = browser.clone();
    browser.send(&b, |s| async move { s.rotate().await }).await;
    let answer = a.request(late.cookie.as_deref(), |s| async move { s.sign_out().await }).await;
    assert_eq!(answer.cookie, CookieEffect::Cleared);
    assert!(!browser.is_signed_in(&a).await);
    assert!(!before.is_signed_in(&a).await);
}

pub(super) async fn a_write_in_flight_never_reaches_another_user(stage: Stage) {
    let [a, b] = stage.sites();
    let (first, second) = (new_user(), new_user());
    let mut browser = Browser::signed_in(&a, &first).await;
    let write = |s: Session| async move { s.set("secret", &"of the first") };
    let slow = browser.hold(&a, write).await;
    let next = second.clone();
    browser.send(&b, |s| async move { s.sign_in(SignIn::new(next, "test")).await }).await;
    assert_eq!(slow.release().await.status, StatusCode::OK);
    assert_eq!((a.listed(&first).await, a.listed(&second).await), (0, 1));
    assert_eq!(browser.field(&a, "secret").await, serde_json::Value::Null);
}
