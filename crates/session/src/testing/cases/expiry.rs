//! Deadlines, touches and freshness, by a clock that the case moves.

use std::time::Duration;

use http::StatusCode;

use super::contract::{commit, create, get, name, new_field, set};
use crate::ended::Ended;
use crate::record::Record;
use crate::session::Session;
use crate::store::{Budget, Committed, FieldOp, Found, Rotated, Rotation};
use crate::testing::stage::{Browser, CookieEffect, HOUR, Stage, new_user};

const MINUTE: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);
const ALMOST_A_MINUTE: Duration = Duration::from_millis(59_999);

pub(super) async fn the_absolute_deadline_survives_use_and_rotation(stage: Stage) {
    let stage = stage.configure(|config| config.lifetime(HOUR));
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let expires = a.0.list(&user).await.unwrap()[0].expires;
    for site in [&a, &b, &a] {
        stage.clock.advance(MINUTE * 19);
        browser.send(site, |s| async move { s.set("a", &1) }).await;
        browser.send(site, |s| async move { s.rotate().await }).await;
        browser.send(site, |s| async move { s.confirm("again").await }).await;
        assert_eq!(site.0.list(&user).await.unwrap()[0].expires, expires);
    }
    stage.clock.advance(MINUTE * 2);
    stage.clock.advance(ALMOST_A_MINUTE);
    assert!(browser.is_signed_in(&a).await);
    stage.clock.advance(MILLI);
    for site in [&a, &b] {
        assert!(!browser.is_signed_in(site).await);
        assert_eq!(site.listed(&user).await, 0);
    }
}

pub(super) async fn the_idle_deadline_moves_with_use(stage: Stage) {
    let stage = stage.configure(|config| config.idle_timeout(Some(MINUTE * 30)));
    let [a, b] = stage.sites();
    let user = new_user();
    let (active, idle) = (Browser::signed_in(&a, &user).await, Browser::signed_in(&a, &user).await);
    for _ in 0..4 {
        stage.clock.advance(MINUTE * 20);
        assert!(active.is_signed_in(&b).await);
    }
    assert!(!idle.is_signed_in(&a).await);
    assert_eq!(a.listed(&user).await, 1);
    stage.clock.advance(MINUTE * 30);
    assert!(!active.is_signed_in(&a).await);
}

pub(super) async fn absolute_and_idle_deadlines_hold_together(stage: Stage) {
    let stage = stage.configure(|config| config.lifetime(HOUR).idle_timeout(Some(MINUTE * 25)));
    let [a, b] = stage.sites();
    let browser = Browser::signed_in(&a, &new_user()).await;
    for _ in 0..2 {
        stage.clock.advance(MINUTE * 20);
        assert!(browser.is_signed_in(&b).await);
    }
    stage.clock.advance(MINUTE * 19);
    stage.clock.advance(ALMOST_A_MINUTE);
    assert!(browser.is_signed_in(&a).await);
    stage.clock.advance(MILLI);
    assert!(!browser.is_signed_in(&a).await);
}

pub(super) async fn an_expired_session_is_dead_for_every_write(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let (dead, at_first) = (create(a, &user, stage.at()).await, stage.at());
    set(a, &dead, "a", "1", at_first).await;
    stage.clock.advance(HOUR);
    assert!(!set(b, &dead, "a", "2", stage.at()).await);
    let touch =
        b.commit(&dead, &[], Some(Duration::ZERO), Budget::default(), stage.at()).await.unwrap();
    assert_eq!(touch, Committed::Gone);
    let record = a.load(&dead, &[]).await.unwrap().map(|stored| stored.record).unwrap_or_default();
    let rotation = Rotation { to: new_field(), record };
    assert_eq!(b.rotate(&dead, &rotation, stage.at()).await.unwrap(), Rotated::Gone);
    assert_eq!(
        b.revoke_all(&dead.tag, Some(&dead.field), HOUR, stage.at()).await.unwrap(),
        Found::Gone
    );
}

pub(super) async fn the_dead_are_cleared_away_at_the_next_sign_in(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let mut dead = Vec::new();
    for _ in 0..3 {
        dead.push(create(a, &user, stage.at()).await);
    }
    set(a, &dead[0], "a", "1", stage.at()).await;
    let forward = new_field();
    let record = a.load(&dead[1], &[]).await.unwrap().unwrap().record;
    a.rotate(&dead[1], &Rotation { to: forward, record }, stage.at()).await.unwrap();
    stage.clock.advance(HOUR);
    let alive = create(b, &user, stage.at()).await;
    let (_, listed) = a.list(&alive.tag).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [alive]);
    for id in dead {
        assert_eq!(a.load(&id, &[]).await.unwrap(), None);
    }
}

pub(super) async fn a_browser_that_missed_its_new_cookie_is_a_visitor_after_a_minute(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.clone().send(&a, |s| async move { s.rotate().await }).await;
    let set = |s: Session| async move { s.set("cart", &1) };
    stage.clock.advance(ALMOST_A_MINUTE);
    assert_eq!(browser.send(&b, set).await.cookie, CookieEffect::Untouched);
    stage.clock.advance(MILLI);
    let asked =
        browser.clone().send(&b, |s| async move { Ok(s.ended() == Some(Ended::Absent)) }).await;
    assert_eq!((asked.body, asked.cookie), (true.into(), CookieEffect::Cleared));
    assert!(matches!(browser.send(&b, set).await.cookie, CookieEffect::Set(_)));
    assert_eq!(browser.field(&a, "cart").await, 1);
}

pub(super) async fn reading_writes_nothing(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.send(&a, |s| async move { s.set("a", &1) }).await;
    let (reads, writes) = (stage.reads(), stage.writes());
    for n in 0..10 {
        stage.clock.advance(HOUR);
        let site = if n % 2 == 0 { &a } else { &b };
        let answer =
            site.request(browser.cookie.as_deref(), |s| async move { s.user().map(drop) }).await;
        assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    }
    assert_eq!(
        (stage.reads() - reads, stage.writes() - writes),
        (10, 0),
        "one read each and no write"
    );
}

pub(super) async fn a_touch_is_written_once_per_interval_over_all_instances(stage: Stage) {
    let stage = stage.configure(|config| config.idle_timeout(Some(HOUR)).touch_interval(MINUTE));
    let [a, b] = stage.sites();
    let user = new_user();
    let browser = Browser::signed_in(&a, &user).await;
    let writes = stage.writes();
    for n in 0..12 {
        stage.clock.advance(Duration::from_secs(10));
        assert!(browser.is_signed_in(if n % 2 == 0 { &a } else { &b }).await);
    }
    assert_eq!(stage.writes() - writes, 2, "in two minutes");
    assert_eq!(a.0.list(&user).await.unwrap()[0].last_seen, stage.clock.now());
}

pub(super) async fn a_touch_that_comes_late_does_not_write_again(stage: Stage) {
    let stage = stage.configure(|config| config.idle_timeout(Some(HOUR)).touch_interval(MINUTE));
    let [a, b] = stage.sites();
    let user = new_user();
    let browser = Browser::signed_in(&a, &user).await;
    stage.clock.advance(MINUTE);
    let slow = browser.hold(&a, |s: Session| async move { s.user().map(drop) }).await;
    assert!(browser.is_signed_in(&b).await);
    let touched = stage.clock.now();
    stage.clock.advance(MINUTE / 2);
    assert_eq!(slow.release().await.status, StatusCode::OK);
    assert_eq!(b.0.list(&user).await.unwrap()[0].last_seen, touched);

    // Nor does it move "last seen" back.
    let [store, _] = stage.stores();
    let id = create(store, &new_user(), stage.at()).await;
    let early = stage.at();
    stage.clock.advance(MINUTE * 2);
    for at in [stage.at(), early] {
        let changes = [(name("a"), FieldOp::Increment(1))];
        store.commit(&id, &changes, Some(MINUTE), Budget::default(), at).await.unwrap();
    }
    let stored = store.load(&id, &[]).await.unwrap().unwrap();
    assert_eq!(Record::decode(&stored.record).unwrap().last_seen, stage.clock.now());
    assert_eq!(get(store, &id, "a").await, Some(b"2".to_vec()));
    assert!(matches!(commit(store, &id, &[], stage.at()).await, Committed::Done { .. }));
}

pub(super) async fn fresh_authentication_ages_and_is_renewed(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let dangerous = |s: Session| async move { s.require_fresh(MINUTE * 10).await };
    assert_eq!(browser.send(&b, dangerous).await.status, StatusCode::OK);
    stage.clock.advance(MINUTE * 10);
    assert_eq!(browser.send(&b, dangerous).await.status, StatusCode::OK);
    stage.clock.advance(MINUTE);
    let refused = browser.send(&a, dangerous).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.body["code"], "reauthentication_required");
    browser.send(&a, |s| async move { s.rotate().await }).await;
    assert_eq!(
        browser.send(&b, dangerous).await.status,
        StatusCode::FORBIDDEN,
        "a new id proves nothing"
    );
    browser.send(&a, |s| async move { s.confirm("google").await }).await;
    assert_eq!(browser.send(&b, dangerous).await.status, StatusCode::OK);
    let proof = b.0.list(&user).await.unwrap()[0].authentication.clone().unwrap();
    assert_eq!((&*proof.method, proof.at), ("google", stage.clock.now()));
    let visitor = Browser::default().send(&a, dangerous).await;
    assert_eq!(visitor.status, StatusCode::UNAUTHORIZED);
}
