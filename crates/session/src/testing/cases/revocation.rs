//! Sign out everywhere, and one by one.

use std::time::Duration;

use http::StatusCode;

use super::contract::{commit, create, record};
use crate::ended::Ended;
use crate::keyring::KeyRing;
use crate::record::Epoch;
use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::store::{Committed, Created, FieldName, FieldOp, Found, NewSession, Rotated, Rotation};
use crate::testing::stage::{Browser, CookieEffect, HOUR, SECRET, Stage, new_user};
use crate::token::{Handle, NewToken, Tag};

pub(super) async fn signing_out_everywhere_ends_every_session(stage: Stage) {
    let [a, b] = stage.sites();
    let (user, other) = (new_user(), new_user());
    let browsers = [Browser::signed_in(&a, &user).await, Browser::signed_in(&b, &user).await];
    let unconcerned = Browser::signed_in(&a, &other).await;
    let slow = browsers[0].hold(&a, |s| async move { s.set("a", &1) }).await;
    b.0.revoke_all(&user).await.unwrap();
    assert_eq!(slow.release().await.cookie, CookieEffect::Cleared);
    for browser in &browsers {
        assert!(!browser.is_signed_in(&a).await);
    }
    assert_eq!((a.listed(&user).await, a.listed(&other).await), (0, 1));
    assert!(unconcerned.is_signed_in(&b).await);
    assert!(Browser::signed_in(&a, &user).await.is_signed_in(&b).await, "a new sign-in is welcome");
}

pub(super) async fn signing_out_the_others_keeps_this_one(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut this = Browser::signed_in(&a, &user).await;
    let other = Browser::signed_in(&b, &user).await;
    this.send(&a, |s| async move { s.set("a", &1) }).await;
    let parallel = this.hold(&a, |s| async move { s.set("b", &2) }).await;
    assert_eq!(
        this.send(&b, |s| async move { s.sign_out_others().await }).await.status,
        StatusCode::OK
    );
    assert_eq!(parallel.release().await.cookie, CookieEffect::Untouched);
    assert!(!other.is_signed_in(&a).await);
    assert_eq!((this.field(&a, "a").await, this.field(&b, "b").await), (1.into(), 2.into()));
    assert_eq!(a.listed(&user).await, 1);
}

pub(super) async fn a_dead_session_cannot_sign_out_the_others(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut thief = Browser::signed_in(&a, &user).await;
    let owner = Browser::signed_in(&a, &user).await;
    let slow = thief.hold(&a, |s| async move { s.sign_out_others().await }).await;
    thief.send(&b, |s| async move { s.sign_out().await }).await;
    assert_eq!(slow.release().await.status, StatusCode::UNAUTHORIZED);
    assert!(owner.is_signed_in(&b).await);
}

pub(super) async fn a_sign_in_that_began_before_a_sign_out_everywhere_is_refused(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let epoch = a.0.epoch(&user).await.unwrap();
    b.0.revoke_all(&user).await.unwrap();
    let sign_in = SignIn::new(user.clone(), "test").epoch(epoch);
    let answer = Browser::default().send(&a, |s| async move { s.sign_in(sign_in).await }).await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::CONFLICT, CookieEffect::Untouched));
    assert_eq!(a.listed(&user).await, 0);
}

pub(super) async fn a_refused_sign_in_clears_the_cookie_of_the_session_it_ended(stage: Stage) {
    let [a, b] = stage.sites();
    let (first, second) = (new_user(), new_user());
    let outdated = a.0.epoch(&second).await.unwrap();
    b.0.revoke_all(&second).await.unwrap();
    let mut browser = Browser::signed_in(&a, &first).await;
    let sign_in = SignIn::new(second, "test").epoch(outdated);
    let draft_and_sign_in = |s: Session| async move {
        s.set("draft", &1)?;
        s.sign_in(sign_in).await
    };
    let answer = browser.send(&a, draft_and_sign_in).await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::CONFLICT, CookieEffect::Cleared));
    assert_eq!(a.listed(&first).await, 0);
    let stored = browser.send(&a, |s| async move { s.set("cart", &1) }).await;
    assert!(matches!(stored.cookie, CookieEffect::Set(_)), "{stored:?}");
}

pub(super) async fn a_record_from_before_a_sign_out_everywhere_is_dead_wherever_it_comes_from(
    stage: Stage,
) {
    let [a, b] = stage.sites();
    let [store, _] = stage.stores();
    let user = new_user();
    let tag = Tag::of_user(&user);
    a.0.revoke_all(&user).await.unwrap();
    // A session of an old epoch, as a restored backup would bring it back.
    let token = NewToken::mint(&KeyRing::new(SECRET).unwrap(), tag);
    let old = NewSession {
        id: token.id,
        user: Some(&user),
        record: record(stage.clock.now(), HOUR, Epoch::default()).encode(),
        epoch: store.epoch(&tag).await.unwrap(),
        replaces: None,
        max_sessions: 100,
        carry: &[],
        data: &[],
    };
    assert_eq!(store.create(&old, stage.at()).await.unwrap(), Created::Created);
    assert!(store.load(&token.id, &[]).await.unwrap().is_some(), "it is there");

    for site in [&a, &b] {
        let answer = site.request(Some(&token.cookie.0), |s| async move {
            Ok(s.ended() == Some(Ended::Revoked))
        });
        let answer = answer.await;
        assert_eq!((answer.body, answer.cookie), (true.into(), CookieEffect::Cleared));
        assert_eq!(site.listed(&user).await, 0);
    }
    let change = [(FieldName::new("a").unwrap(), FieldOp::Set(b"1".into()))];
    assert_eq!(commit(store, &token.id, &change, stage.at()).await, Committed::Gone);
    let rotation = Rotation { to: [9; 16], record: old.record.clone() };
    assert_eq!(store.rotate(&token.id, &rotation, stage.at()).await.unwrap(), Rotated::Gone);
    let keep = Some(&token.id.field);
    assert_eq!(store.revoke_all(&tag, keep, HOUR, stage.at()).await.unwrap(), Found::Gone);
}

pub(super) async fn fifty_sign_ins_racing_a_sign_out_everywhere_leave_none_of_before(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let before = a.0.epoch(&user).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..50 {
        if n == 25 {
            let (site, user) = (b.clone(), user.clone());
            running.spawn(async move {
                site.0.revoke_all(&user).await.unwrap();
                None
            });
        }
        let (site, sign_in) =
            (if n % 2 == 0 { &a } else { &b }.clone(), SignIn::new(user.clone(), "test"));
        running.spawn(async move {
            let sign_in = sign_in.epoch(before);
            let answer =
                Browser::default().send(&site, |s| async move { s.sign_in(sign_in).await }).await;
            Some(answer.status)
        });
    }
    let statuses: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    assert_eq!(statuses.len(), 50);
    assert!(statuses.iter().all(|status| [StatusCode::OK, StatusCode::CONFLICT].contains(status)));
    assert_eq!((a.listed(&user).await, b.listed(&user).await), (0, 0));
}

pub(super) async fn the_epoch_only_rises_and_is_remembered(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let tag = Tag::of_user(&user);
    let mut last = Epoch::default();
    for _ in 0..3 {
        // The clock stands still: two revocations in one millisecond both count.
        assert_eq!(a.revoke_all(&tag, None, HOUR, stage.at()).await.unwrap(), Found::Alive);
        let epoch = b.epoch(&tag).await.unwrap();
        assert!(epoch > last, "{epoch:?} after {last:?}");
        last = epoch;
    }
    let id = create(a, &user, stage.at()).await;
    a.destroy(&id, stage.at()).await.unwrap();
    assert_eq!(b.epoch(&tag).await.unwrap(), last);
    stage.clock.advance(Duration::from_millis(3_599_999));
    create(a, &new_user(), stage.at()).await;
    assert_eq!(b.epoch(&tag).await.unwrap(), last);
}

pub(super) async fn one_session_is_revoked_by_its_handle_and_only_by_its_user(stage: Stage) {
    let [a, b] = stage.sites();
    let (user, other) = (new_user(), new_user());
    let mut one = Browser::signed_in(&a, &user).await;
    let two = Browser::signed_in(&a, &user).await;
    let handle = one
        .send(&a, |s| async move { Ok(s.info().map(|info| info.handle.to_string())) })
        .await
        .body;
    let handle = Handle::parse(handle.as_str().unwrap()).unwrap();
    assert!(!b.0.revoke(&other, handle).await.unwrap());
    assert!(one.is_signed_in(&a).await);
    assert!(b.0.revoke(&user, handle).await.unwrap());
    assert!(!b.0.revoke(&user, handle).await.unwrap());
    assert!(!one.is_signed_in(&a).await);
    assert!(two.is_signed_in(&a).await);
}
