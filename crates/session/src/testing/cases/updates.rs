//! Compare-and-set, and other operations that could lose data silently.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::contract::{commit, create, get, name};
use crate::error::SessionError;
use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::store::{Committed, FieldOp, FieldReply};
use crate::testing::stage::{Browser, Stage, new_user};

async fn push(session: Session, item: usize) -> Result<Option<Vec<usize>>, SessionError> {
    let add = |cart: Option<Vec<usize>>| {
        let mut cart = cart.unwrap_or_default();
        cart.push(item);
        Some(cart)
    };
    session.update("cart", add).await
}

pub(super) async fn a_hundred_parallel_updates_of_one_field_keep_a_hundred(stage: Stage) {
    let sites = stage.sites();
    let browser = Browser::signed_in(&sites[0], &new_user()).await;
    let mut running = JoinSet::new();
    for n in 0..100 {
        let (site, cookie) = (sites[n % 2].clone(), browser.cookie.clone());
        running.spawn(async move { site.request(cookie.as_deref(), move |s| push(s, n)).await });
    }
    for answer in running.join_all().await {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let cart = browser.field(&sites[1], "cart").await;
    let mut cart: Vec<usize> = serde_json::from_value(cart).unwrap();
    cart.sort_unstable();
    assert_eq!(cart, (0..100).collect::<Vec<_>>());
}

pub(super) async fn a_compare_and_set_writes_only_what_was_expected(stage: Stage) {
    let [a, b] = stage.stores();
    let id = create(a, &new_user(), stage.at()).await;
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    for (expected, new, current, left) in [
        (None, Some("1"), None, Some("1")),
        (None, Some("2"), Some("1"), Some("1")),
        (Some("2"), Some("3"), Some("1"), Some("1")),
        (Some("1"), Some(""), Some("1"), Some("")),
        (None, Some("4"), Some(""), Some("")),
        (Some(""), Some("\0+=-"), Some(""), Some("\0+=-")),
        (Some("\0+=-"), None, Some("\0+=-"), None),
        (Some("\0+=-"), Some("5"), None, None),
    ] {
        let op = FieldOp::CompareAndSet { expected: bytes(expected), new: bytes(new) };
        let beside = (name("beside"), FieldOp::Increment(1));
        let Committed::Done { answers, .. } =
            commit(b, &id, &[beside, (name("n"), op)], stage.at()).await
        else {
            panic!("it lives")
        };
        let reply = if current == expected { Ok(()) } else { Err(bytes(current)) };
        assert_eq!(answers[1], FieldReply::Compared(reply), "{expected:?} {new:?}");
        assert_eq!(get(a, &id, "n").await, bytes(left), "{expected:?} {new:?}");
    }
    assert_eq!(get(a, &id, "beside").await, bytes(Some("8")), "the other operations are done");
}

pub(super) async fn an_update_begins_the_session_of_a_visitor_and_writes_what_was_set_before(
    stage: Stage,
) {
    let [a, b] = stage.sites();
    let mut visitor = Browser::default();
    let answer = visitor
        .send(&a, |s| async move {
            s.set("theme", "dark")?;
            s.set("cart", &[1])?;
            push(s, 2).await
        })
        .await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!([1, 2])));
    assert_eq!(visitor.field(&b, "cart").await, json!([1, 2]));
    assert_eq!(visitor.field(&b, "theme").await, json!("dark"));
    let removed =
        visitor.send(&b, |s| async move { s.update("cart", |_: Option<Value>| None).await }).await;
    assert_eq!(removed.body, Value::Null);
    assert_eq!(visitor.field(&a, "cart").await, Value::Null);
}

pub(super) async fn an_update_that_fails_changes_nothing(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.send(&a, |s| async move { s.set("cart", &[1]) }).await;
    let too_long = |s: Session| async move {
        s.update("cart", |_: Option<Value>| Some("x".repeat(5000).into())).await
    };
    let answer = browser.send(&b, too_long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let slow = browser.hold(&a, |s| push(s, 2)).await;
    assert_eq!(browser.field(&b, "cart").await, json!([1]));
    browser.clone().send(&b, |s| async move { s.sign_out().await }).await;
    assert_eq!(slow.release().await.status, StatusCode::UNAUTHORIZED);
}

pub(super) async fn what_is_set_after_the_response_began_is_refused_and_an_update_is_written(
    stage: Stage,
) {
    let [a, b] = stage.sites();
    let user = new_user();
    let mut browser = Browser::signed_in(&a, &user).await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    browser
        .send(&a, |s| async move {
            s.set("before", &1)?;
            assert!(sender.send(s).is_ok());
            Ok(())
        })
        .await;
    let session: Session = receiver.await.unwrap();
    for refused in [
        session.set("late", &1),
        session.remove("before"),
        session.rotate().await,
        session.sign_in(SignIn::new(user, "test")).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, SessionError::ResponseBegan), "{error:?}");
        assert!(error.to_string().contains("commit"), "{error}");
    }
    push(session.clone(), 1).await.unwrap();
    session.increment("n", 2).await.unwrap();
    session.commit().await.unwrap();
    for (name, value) in
        [("before", json!(1)), ("late", Value::Null), ("cart", json!([1])), ("n", json!(2))]
    {
        assert_eq!(browser.field(&b, name).await, value, "{name}");
    }
    assert!(browser.is_signed_in(&b).await, "the id stayed");
}

pub(super) async fn an_absent_field_is_taken_without_a_change(stage: Stage) {
    let [a, b] = stage.stores();
    let id = create(a, &new_user(), stage.at()).await;
    let unchanged = [
        (name("none"), FieldOp::Take),
        (name("none"), FieldOp::Remove),
        (name("none"), FieldOp::CompareAndSet { expected: Some(vec![1]), new: None }),
    ];
    let Committed::Done { changed, .. } = commit(b, &id, &unchanged, stage.at()).await else {
        panic!("it lives")
    };
    assert!(!changed);

    let stage = stage.configure(|config| config.preload(&["flash"]).unwrap());
    let [site, _] = stage.sites();
    let mut browser = Browser::signed_in(&site, &new_user()).await;
    let take = |s: Session| async move { s.take::<String>("flash").await };
    let writes = stage.writes();
    assert_eq!(browser.send(&site, take).await.body, Value::Null);
    assert_eq!(stage.writes(), writes, "what is preloaded and absent costs nothing");
    browser.send(&site, |s| async move { s.set("flash", "saved") }).await;
    assert_eq!(browser.send(&site, take).await.body, json!("saved"));
    assert_eq!(browser.send(&site, take).await.body, Value::Null);
}

pub(super) async fn a_struct_that_grew_is_an_error_that_names_the_field(stage: Stage) {
    #[derive(serde::Deserialize)]
    struct Old {
        #[expect(dead_code, reason = "only the form counts")]
        theme: String,
    }
    #[derive(serde::Deserialize)]
    struct Grown {
        #[expect(dead_code, reason = "only the form counts")]
        theme: String,
        #[expect(dead_code, reason = "only the form counts")]
        font: String,
    }
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.send(&a, |s| async move { s.set("prefs", &json!({ "theme": "dark" })) }).await;
    let read = |s: Session| async move {
        assert!(s.get::<Old>("prefs").await?.is_some());
        let error = s.get::<Grown>("prefs").await.map(drop).unwrap_err();
        let text = error.to_string();
        for part in ["prefs", "Grown", "font", "serde(default)"] {
            assert!(text.contains(part), "{text}");
        }
        Ok(())
    };
    assert_eq!(browser.send(&b, read).await.status, StatusCode::OK);
}

pub(super) async fn a_sign_in_carries_the_fields_it_names_and_no_others(stage: Stage) {
    let [a, b] = stage.sites();
    let (first, second) = (new_user(), new_user());
    let mut browser = Browser::default();
    browser
        .send(&a, |s| async move {
            s.set("cart", &[1])?;
            s.set("draft", "of a visitor")
        })
        .await;
    // From a visitor to a user, to the same user again, to another user.
    for user in [&first, &first, &second] {
        let before = browser.clone();
        let sign_in = SignIn::new(user.clone(), "test").carry(&["cart", "none"]);
        let answer = browser
            .send(&a, |s| async move {
                s.sign_in(sign_in).await?;
                push(s, 2).await
            })
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(browser.field(&b, "draft").await, Value::Null);
        assert_eq!(before.field(&b, "cart").await, Value::Null, "the former one is gone");
        browser.send(&b, |s| async move { s.set("draft", "of the user") }).await;
    }
    assert_eq!(browser.field(&b, "cart").await, json!([1, 2, 2, 2]));
    assert_eq!((b.listed(&first).await, b.listed(&second).await), (0, 1));
    // Carried data counts for the budget, and ends with the session.
    let (_, sessions) = stage.stores()[0].list(&crate::token::Tag::of_user(&second)).await.unwrap();
    let record = crate::record::Record::decode(&sessions[0].record).unwrap();
    assert_eq!((record.data_fields, record.data_bytes), (2, 4 + 9 + 5 + 13));
    browser.send(&a, |s| async move { s.sign_out().await }).await;
    assert_eq!(b.listed(&second).await, 0);
}

pub(super) async fn of_two_sign_ins_with_one_cart_one_carries_it(stage: Stage) {
    let [a, b] = stage.sites();
    let mut visitor = Browser::default();
    visitor.send(&a, |s| async move { s.set("cart", &[1]) }).await;
    let sign_in = |user| SignIn::new(user, "test").carry(&["cart"]);
    let (one, other) = (sign_in(new_user()), sign_in(new_user()));
    let slow = visitor.hold(&a, |s| async move { s.sign_in(one).await }).await;
    let mut fast = visitor.clone();
    fast.send(&b, |s| async move { s.sign_in(other).await }).await;
    let answer = slow.release().await;
    assert_eq!(answer.status, StatusCode::OK);
    visitor.receive(&answer);
    assert_eq!(fast.field(&a, "cart").await, json!([1]));
    assert_eq!(visitor.field(&a, "cart").await, Value::Null);
}

pub(super) async fn a_session_names_its_fields_and_loses_them_all_when_cleared(stage: Stage) {
    let [a, b] = stage.sites();
    let user = new_user();
    let neighbour = Browser::signed_in(&a, &user).await;
    neighbour.clone().send(&a, |s| async move { s.set("of-another", &1) }).await;
    let mut browser = Browser::signed_in(&a, &user).await;
    let answer = browser.send(&a, |s| async move { s.keys().await }).await;
    assert_eq!(answer.body, json!([]));
    browser
        .send(&a, |s| async move {
            s.set("b", &1)?;
            s.set("a", &2)
        })
        .await;
    let answer = browser
        .send(&b, |s| async move {
            s.set("c", &3)?;
            s.remove("b")?;
            s.keys().await
        })
        .await;
    assert_eq!(answer.body, json!(["a", "c"]), "with what this request changes");
    let answer = browser
        .send(&a, |s| async move {
            s.set("d", &4)?;
            s.clear().await?;
            s.set("e", &5)?;
            s.keys().await
        })
        .await;
    assert_eq!(answer.body, json!(["e"]));
    assert_eq!(browser.send(&b, |s| async move { s.keys().await }).await.body, json!(["e"]));
    assert!(browser.is_signed_in(&b).await);
    assert_eq!(neighbour.field(&b, "of-another").await, json!(1));

    let answer = Browser::default().send(&a, |s| async move { s.keys().await }).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!([])), "a visitor has none");
}
