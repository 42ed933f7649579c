//! The store's invalidations, as seen in the near-cache of another instance. A store without a feed
//! passes, because nothing is cached then.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::invalidations::MAX_STALENESS;
use crate::session::sign_in::SignIn;
use crate::testing::stage::{Browser, Site, Stage, new_user};

/// The longest time a change may take: the staleness bound, plus time for a read.
const LIMIT: Duration = Duration::from_secs(2 + MAX_STALENESS.as_secs());

/// Sends requests until the instance answers from memory, or clearly keeps nothing.
async fn warm(site: &Site, browser: &Browser) {
    let begun = Instant::now();
    while site.0.cache_stats().hits == 0 && begun.elapsed() < LIMIT {
        assert!(browser.is_signed_in(site).await);
        sleep(Duration::from_millis(1)).await;
    }
}

/// Pauses between two polls of the other instance; panics when the change is overdue.
async fn wait_for(what: &str, begun: Instant) {
    assert!(begun.elapsed() < LIMIT, "{what} is not known to the other instance after {LIMIT:?}");
    sleep(Duration::from_millis(1)).await;
}

async fn reads_in_time(site: &Site, browser: &Browser, value: Value) {
    let begun = Instant::now();
    while browser.field(site, "n").await != value {
        wait_for("a write", begun).await;
    }
}

pub(super) async fn what_another_instance_ends_is_refused_in_time(stage: Stage) {
    if !stage.tells_changes() {
        return;
    }
    for end in ["sign-out", "sign-out everywhere", "revocation", "rotation", "another sign-in"] {
        let [here, there] = stage.cached_sites();
        let user = new_user();
        let browser = Browser::signed_in(&there, &user).await;
        warm(&here, &browser).await;
        let mut acting = browser.clone();
        let other = SignIn::new(new_user(), "test");
        match end {
            "sign-out" => acting.send(&there, |s| async move { s.sign_out().await }).await.status,
            "rotation" => acting.send(&there, |s| async move { s.rotate().await }).await.status,
            "another sign-in" => {
                acting.send(&there, |s| async move { s.sign_in(other).await }).await.status
            }
            "revocation" => {
                let handle = there.0.list(&user).await.unwrap()[0].handle;
                assert!(there.0.revoke(&user, handle).await.unwrap());
                StatusCode::OK
            }
            _ => {
                there.0.revoke_all(&user).await.unwrap();
                StatusCode::OK
            }
        };
        let begun = Instant::now();
        while browser.is_signed_in(&here).await {
            wait_for(end, begun).await;
        }
    }
}

pub(super) async fn what_another_instance_writes_is_read_in_time(stage: Stage) {
    if !stage.tells_changes() {
        return;
    }
    let stage = stage.configure(|config| config.preload(&["n"]).unwrap());
    let [here, there] = stage.cached_sites();
    let mut browser = Browser::signed_in(&there, &new_user()).await;
    warm(&here, &browser).await;
    assert_eq!(browser.field(&here, "n").await, Value::Null);
    browser.send(&there, |s| async move { s.set("n", &1) }).await;
    reads_in_time(&here, &browser, json!(1)).await;
    browser.send(&there, |s| async move { s.increment("n", 1).await }).await;
    reads_in_time(&here, &browser, json!(2)).await;
}
