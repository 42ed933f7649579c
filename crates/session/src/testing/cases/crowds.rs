//! Many requests at once.

use http::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::error::SessionError;
use crate::session::Session;
use crate::store::Budget;
use crate::testing::stage::{Browser, Site, Stage, new_user};

/// Sends `count` requests at once over both instances, and returns their answers.
async fn crowd<F, R, T>(
    sites: &[Site; 2],
    browser: &Browser,
    count: usize,
    handler: F,
) -> Vec<Value>
where
    F: Fn(Session, usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<T, SessionError>> + Send + 'static,
    T: serde::Serialize + 'static,
{
    let mut running = JoinSet::new();
    for n in 0..count {
        let (site, cookie, handler) =
            (sites[n % 2].clone(), browser.cookie.clone(), handler.clone());
        running.spawn(async move {
            let answer = site.request(cookie.as_deref(), move |s| handler(s, n)).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            answer.body
        });
    }
    running.join_all().await
}

pub(super) async fn a_hundred_parallel_requests_lose_no_increment_and_no_field(stage: Stage) {
    let stage = stage.configure(|config| config.budget(Budget { fields: 101, bytes: 4096 }));
    let sites = stage.sites();
    let browser = Browser::signed_in(&sites[0], &new_user()).await;
    let sums = crowd(&sites, &browser, 100, |s, n| async move {
        s.set(&format!("own.{n}"), &n)?;
        s.increment("count", 1).await
    })
    .await;
    let mut sums: Vec<_> = sums.iter().map(|sum| sum.as_i64().unwrap()).collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=100).collect::<Vec<_>>());
    let all = |s: Session| async move {
        let mut found = 0;
        for n in 0..100 {
            found += usize::from(s.get::<usize>(&format!("own.{n}")).await? == Some(n));
        }
        Ok(found)
    };
    assert_eq!(sites[1].request(browser.cookie.as_deref(), all).await.body, 100);
}

pub(super) async fn of_a_hundred_takers_one_takes(stage: Stage) {
    let sites = stage.sites();
    let mut browser = Browser::signed_in(&sites[0], &new_user()).await;
    browser.send(&sites[0], |s| async move { s.set("once", &"token") }).await;
    let taken =
        crowd(&sites, &browser, 100, |s, _| async move { s.take::<String>("once").await }).await;
    assert_eq!(taken.iter().filter(|taken| **taken == "token").count(), 1);
    assert_eq!(taken.iter().filter(|taken| taken.is_null()).count(), 99);
}

pub(super) async fn of_a_hundred_setters_one_sets(stage: Stage) {
    let sites = stage.sites();
    let browser = Browser::signed_in(&sites[0], &new_user()).await;
    let set = crowd(&sites, &browser, 100, |s, n| async move {
        Ok(if s.set_if_absent("first", &n).await? { Some(n) } else { None })
    })
    .await;
    let winners: Vec<_> = set.into_iter().filter(|winner| !winner.is_null()).collect();
    assert_eq!(winners, [browser.field(&sites[1], "first").await]);
}

pub(super) async fn two_hundred_sign_ins_and_sign_outs_leave_index_and_sessions_equal(
    stage: Stage,
) {
    let stage = stage.configure(|config| config.max_sessions_per_user(1000));
    let sites = stage.sites();
    let user = new_user();
    let mut running = JoinSet::new();
    for n in 0..100 {
        let (site, other, user) = (sites[n % 2].clone(), sites[(n + 1) % 2].clone(), user.clone());
        running.spawn(async move {
            let mut stays = Browser::default();
            assert_eq!(stays.sign_in(&site, &user).await.status, StatusCode::OK);
            let mut leaves = Browser::signed_in(&other, &user).await;
            let gone = leaves.clone();
            leaves.send(&site, |s| async move { s.sign_out().await }).await;
            (stays, gone)
        });
    }
    let browsers = running.join_all().await;
    assert_eq!(sites[0].listed(&user).await, 100);
    for (stays, gone) in browsers {
        assert!(stays.is_signed_in(&sites[1]).await);
        assert!(!gone.is_signed_in(&sites[0]).await);
    }
}
