//! Changing secrets, and versions of records side by side.

use http::StatusCode;

use super::contract::record;
use crate::keyring::KeyRing;
use crate::record::Epoch;
use crate::store::NewSession;
use crate::testing::stage::{Browser, CookieEffect, HOUR, SECRET, Stage, new_user};
use crate::token::{NewToken, Tag};

const SECOND: &[u8] = b"the second secret of the suite, long enough";
const THIRD: &[u8] = b"the third secret of the suite, long enough";

pub(super) async fn changing_the_secret_twice_under_load_signs_nobody_out(stage: Stage) {
    let rings = [
        KeyRing::new(SECRET).unwrap(),
        KeyRing::with_previous(SECOND, [SECRET]).unwrap(),
        KeyRing::with_previous(THIRD, [SECOND, SECRET]).unwrap(),
    ];
    let mut browsers = Vec::new();
    for ring in &rings {
        let [a, b] = stage.sites_with(ring);
        // Requests that load before the change and write after it.
        let mut held = Vec::new();
        for browser in &browsers {
            held.push(
                Browser::hold(browser, &a, |s| async move { s.increment("n", 1).await }).await,
            );
        }
        for _ in 0..5 {
            browsers.push(Browser::signed_in(&b, &new_user()).await);
        }
        for slow in held {
            assert_eq!(slow.release().await.status, StatusCode::OK);
        }
        for browser in &browsers {
            assert!(browser.is_signed_in(&a).await && browser.is_signed_in(&b).await);
        }
    }
}

pub(super) async fn old_and_new_instances_accept_each_other_while_the_secret_changes_in_two_steps(
    stage: Stage,
) {
    let rings = [
        KeyRing::new(SECRET).unwrap(),
        KeyRing::with_previous(SECRET, [SECOND]).unwrap(),
        KeyRing::with_previous(SECOND, [SECRET]).unwrap(),
    ];
    let user = new_user();
    let mut browsers = Vec::new();
    for step in rings.windows(2) {
        let [old, new] = [&step[0], &step[1]].map(|ring| stage.sites_with(ring)[0].clone());
        browsers.push(Browser::signed_in(&old, &user).await);
        browsers.push(Browser::signed_in(&new, &user).await);
        for browser in &browsers {
            assert!(browser.is_signed_in(&old).await && browser.is_signed_in(&new).await);
        }
        assert_eq!(
            (old.listed(&user).await, new.listed(&user).await),
            (browsers.len(), browsers.len())
        );
    }
}

pub(super) async fn an_instance_that_misses_a_secret_leaves_its_cookies_alone(stage: Stage) {
    let [new, _] = stage.sites_with(&KeyRing::with_previous(SECOND, [SECRET]).unwrap());
    let [old, _] = stage.sites();
    let mut browser = Browser::signed_in(&new, &new_user()).await;
    let reads = stage.reads();
    let answer = browser.send(&old, |s| async move { s.user().map(drop) }).await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::UNAUTHORIZED, CookieEffect::Untouched));
    assert_eq!(stage.reads(), reads);
    assert!(browser.is_signed_in(&new).await);
}

pub(super) async fn dropping_the_oldest_secret_ends_exactly_its_sessions(stage: Stage) {
    let user = new_user();
    let [before, _] = stage.sites_with(&KeyRing::new(SECRET).unwrap());
    let oldest = Browser::signed_in(&before, &user).await;
    let mut renewed = Browser::signed_in(&before, &user).await;
    let [both, _] = stage.sites_with(&KeyRing::with_previous(SECOND, [SECRET]).unwrap());
    renewed.send(&both, |s| async move { s.rotate().await }).await;
    let newer = Browser::signed_in(&both, &user).await;
    assert_eq!(both.listed(&user).await, 3);

    let [a, b] = stage.sites_with(&KeyRing::new(SECOND).unwrap());
    for site in [&a, &b] {
        assert!(!oldest.is_signed_in(site).await);
        assert!(newer.is_signed_in(site).await);
        assert!(renewed.is_signed_in(site).await, "a new id is signed with the current secret");
        assert_eq!(site.listed(&user).await, 2);
    }
}

/// A session whose record was written by another version of the application.
async fn written_by_another_version(
    stage: &Stage,
    change: impl FnOnce(&mut Vec<u8>),
) -> (Browser, Vec<u8>, NewToken) {
    let [store, _] = stage.stores();
    let keys = KeyRing::new(SECRET).unwrap();
    let user = new_user();
    let token = NewToken::mint(&keys, Tag::of_user(&user));
    let mut bytes = record(stage.clock.now(), HOUR, Epoch::default()).encode();
    change(&mut bytes);
    let new = NewSession {
        id: token.id,
        user: Some(&user),
        record: bytes.clone(),
        epoch: Epoch::default(),
        replaces: None,
        max_sessions: 100,
        carry: &[],
        data: &[],
    };
    store.create(&new, stage.at()).await.unwrap();
    (Browser { cookie: Some(token.cookie.0.to_string()) }, bytes, token)
}

pub(super) async fn a_record_of_an_unknown_version_is_left_alone(stage: Stage) {
    let [a, b] = stage.sites();
    let (mut browser, bytes, token) =
        written_by_another_version(&stage, |bytes| bytes[0] = 200).await;
    for site in [&a, &b] {
        let answer = browser.send(site, |s| async move { s.user().map(drop) }).await;
        assert_eq!(
            (answer.status, answer.cookie),
            (StatusCode::UNAUTHORIZED, CookieEffect::Untouched)
        );
        let answer = browser.send(site, |s| async move { s.set("a", &1) }).await;
        assert_eq!((answer.status, answer.cookie), (StatusCode::OK, CookieEffect::Untouched));
    }
    let stored = stage.stores()[0].load(&token.id, &[]).await.unwrap().unwrap();
    assert_eq!(stored.record, bytes);
}

pub(super) async fn a_record_with_a_newer_tail_is_read(stage: Stage) {
    let [a, b] = stage.sites();
    let (mut browser, bytes, token) =
        written_by_another_version(&stage, |bytes| bytes.extend(b"newer")).await;
    assert_eq!(browser.send(&a, |s| async move { s.set("a", &1) }).await.status, StatusCode::OK);
    assert!(browser.is_signed_in(&b).await);
    let stored = stage.stores()[0].load(&token.id, &[]).await.unwrap().unwrap();
    assert_eq!(stored.record[24..], bytes[24..], "a write keeps what it does not know");
}
