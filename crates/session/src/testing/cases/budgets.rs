//! Limits of one session's data and of one user's sessions.

use http::StatusCode;

use super::contract::{commit, create, get, name};
use crate::session::sign_in::SignIn;
use crate::store::{Budget, Committed, FieldOp};
use crate::testing::stage::{Browser, CookieEffect, Stage, new_user};

pub(super) async fn a_session_holds_what_its_budget_allows_and_no_more(stage: Stage) {
    let [store, _] = stage.stores();
    let budget = Budget { fields: 3, bytes: 20 };
    let at = stage.at();
    let id = create(store, &new_user(), at).await;
    let set = async |field: &str, len: usize| {
        let changes = [(name(field), FieldOp::Set(vec![b'x'; len]))];
        store.commit(&id, &changes, None, budget, at).await.unwrap()
    };
    assert_eq!(set("abc", 18).await, Committed::OverBudget, "names count");
    for (field, len) in [("a", 0), ("b", 0), ("c", 17)] {
        assert!(matches!(set(field, len).await, Committed::Done { .. }), "{field}");
    }
    assert_eq!(set("c", 18).await, Committed::OverBudget);
    assert_eq!(set("d", 0).await, Committed::OverBudget);
    assert!(matches!(set("c", 1).await, Committed::Done { .. }));
    assert_eq!(set("d", 0).await, Committed::OverBudget, "three fields are three however short");
    for change in [FieldOp::SetIfAbsent(vec![]), FieldOp::Increment(1)] {
        let changes = [(name("d"), change)];
        assert_eq!(
            store.commit(&id, &changes, None, budget, at).await.unwrap(),
            Committed::OverBudget
        );
    }

    let [site, _] = stage.sites();
    let mut browser = Browser::signed_in(&site, &new_user()).await;
    let answer = browser.send(&site, |s| async move { s.set("a", &"x".repeat(5000)) }).await;
    assert_eq!(
        (answer.status, answer.body["code"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("session_full"))
    );
    assert!(browser.is_signed_in(&site).await);
}

pub(super) async fn a_new_cookie_goes_out_though_the_changes_are_over_the_budget(stage: Stage) {
    let [a, b] = stage.sites();
    let sign_in = SignIn::new(new_user(), "test");
    let mut browser = Browser::default();
    let signed_in = browser
        .send(&a, |s| async move {
            s.sign_in(sign_in).await?;
            s.set("a", &"x".repeat(5000))
        })
        .await;
    assert_eq!(signed_in.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(matches!(signed_in.cookie, CookieEffect::Set(_)), "{signed_in:?}");
    assert!(browser.is_signed_in(&b).await);
    let rotated = browser
        .send(&a, |s| async move {
            s.rotate().await?;
            s.set("a", &"x".repeat(5000))
        })
        .await;
    assert_eq!(rotated.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(matches!(rotated.cookie, CookieEffect::Set(_)), "{rotated:?}");
    assert!(browser.is_signed_in(&b).await);
}

pub(super) async fn what_is_removed_is_free_again(stage: Stage) {
    let [store, _] = stage.stores();
    let id = create(store, &new_user(), stage.at()).await;
    let long = vec![b'x'; 4000];
    for n in 0..10 {
        let field = format!("field.{n}");
        let changes = [(name(&field), FieldOp::Set(long.clone()))];
        assert!(matches!(commit(store, &id, &changes, stage.at()).await, Committed::Done { .. }));
        let removal = if n % 2 == 0 { FieldOp::Remove } else { FieldOp::Take };
        commit(store, &id, &[(name(&field), removal)], stage.at()).await;
        assert_eq!(get(store, &id, &field).await, None);
    }
    // A session over a lowered budget may shrink, but not grow.
    commit(store, &id, &[(name("a"), FieldOp::Set(long))], stage.at()).await;
    let small = Budget { fields: 1, bytes: 10 };
    let shrink = [(name("a"), FieldOp::Set(vec![b'x'; 100]))];
    let outcome = store.commit(&id, &shrink, None, small, stage.at()).await.unwrap();
    assert!(matches!(outcome, Committed::Done { .. }));
    let grow = [(name("a"), FieldOp::Set(vec![b'x'; 101]))];
    assert_eq!(
        store.commit(&id, &grow, None, small, stage.at()).await.unwrap(),
        Committed::OverBudget
    );
}

pub(super) async fn a_session_beyond_the_most_ends_the_oldest(stage: Stage) {
    let stage = stage.configure(|config| config.max_sessions_per_user(3));
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browsers = Vec::new();
    for _ in 0..5 {
        stage.clock.advance(std::time::Duration::from_secs(1));
        browsers.push(Browser::signed_in(&a, &user).await);
    }
    let mut alive = Vec::new();
    for browser in &browsers {
        alive.push(browser.is_signed_in(&b).await);
    }
    assert_eq!(alive, [false, false, true, true, true]);
    assert_eq!(b.listed(&user).await, 3);
}
