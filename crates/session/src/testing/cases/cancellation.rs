//! Clients that disconnect: a request's future is dropped at each of its await points.

use std::pin::pin;
use std::task::Poll;

use http::StatusCode;

use crate::testing::stage::{Browser, Stage, new_user};

/// More await points than any request here has.
const MANY: usize = 200;

/// Polls `future` until it was pending `waits` times; `None` if it is not done by then.
async fn until_it_has_waited<T>(waits: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut waited = 0;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

pub(super) async fn a_cancelled_sign_out_is_done_or_not_done(stage: Stage) {
    let [a, b] = stage.sites();
    for waits in 0..MANY {
        let user = new_user();
        let mut browser = Browser::signed_in(&a, &user).await;
        browser.send(&a, |s| async move { s.set("a", &1) }).await;
        let before = browser.clone();
        let sign_out = browser.send(&a, |s| async move { s.sign_out().await });
        let answer = until_it_has_waited(waits, sign_out).await;
        // A command already sent may still take effect; a second sign-out makes sure that it has.
        let seen = before.is_signed_in(&b).await;
        let listed = b.listed(&user).await;
        assert!(usize::from(seen) >= listed, "dead and listed");
        before.clone().send(&b, |s| async move { s.sign_out().await }).await;
        assert!(!before.is_signed_in(&a).await);
        assert_eq!(a.listed(&user).await, 0);
        if answer.is_some() {
            assert!(!seen && waits >= 4, "two steps, each with a point before and after it");
            return;
        }
    }
    panic!("it never finished");
}

pub(super) async fn a_cancelled_write_is_done_or_not_done(stage: Stage) {
    let [a, b] = stage.sites();
    for waits in 0..MANY {
        let mut browser = Browser::signed_in(&a, &new_user()).await;
        let write = browser.send(&a, |s| async move {
            s.set("x", &1)?;
            s.set("y", &1)
        });
        let answer = until_it_has_waited(waits, write).await;
        // A later write on the same handle arrives after the commands already sent.
        browser.send(&a, |s| async move { s.set("z", &1) }).await;
        let (x, y) = (browser.field(&b, "x").await, browser.field(&b, "y").await);
        assert_eq!(x, y, "half a write");
        if answer.is_some() {
            assert_eq!(x, 1);
            return;
        }
    }
    panic!("it never finished");
}

pub(super) async fn a_cancelled_operation_loses_no_buffered_write(stage: Stage) {
    let [a, b] = stage.sites();
    let mut browser = Browser::signed_in(&a, &new_user()).await;
    browser.send(&a, |s| async move { s.set("text", &"abc") }).await;
    let answer = browser
        .send(&a, |s| async move {
            s.set("kept", &1)?;
            assert!(until_it_has_waited(0, s.increment("n", 1)).await.is_none());
            s.set("failed", &2)?;
            assert!(s.increment("text", 1).await.is_err());
            Ok(())
        })
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        (browser.field(&b, "kept").await, browser.field(&b, "failed").await),
        (1.into(), 2.into())
    );
}
