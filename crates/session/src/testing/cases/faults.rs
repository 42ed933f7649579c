//! Errors of a store, caused as [`Instances::breaking`](crate::testing::Instances::breaking) says.

use std::fmt::Debug;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, timeout};

use super::contract::{create, name, new_field, record};
use crate::record::Epoch;
use crate::store::{Budget, FieldOp, NewSession, Rotation, SessionStore, StoreError};
use crate::testing::Fault;
use crate::testing::stage::{Browser, HOUR, Stage, new_user};
use crate::token::{SessionId, UserId};

/// Time beyond the store's limit, because the machine may be busy with other tests.
const SLACK: Duration = Duration::from_secs(2);

/// Checks that every operation fails in time.
async fn all_fail(store: &dyn SessionStore, user: &UserId, id: SessionId, stage: &Stage) {
    let (at, limit) = (stage.at(), store.time_limit() + SLACK);
    let epoch = Epoch::default();
    let fresh = record(at.now, HOUR, epoch).encode();
    let new = NewSession {
        id: SessionId { field: new_field(), ..id },
        user: Some(user),
        record: fresh.clone(),
        epoch,
        replaces: None,
        max_sessions: 9,
        carry: &[],
        data: &[],
    };
    let rotation = Rotation { to: new_field(), record: fresh };
    let ops = [(name("n"), FieldOp::Increment(1))];
    fails("load", limit, store.load(&id, &[])).await;
    fails("load_watched", limit, store.load_watched(&id, &[])).await;
    fails("epoch", limit, store.epoch(&id.tag)).await;
    fails("list", limit, store.list(&id.tag)).await;
    fails("list_watched", limit, store.list_watched(&id.tag)).await;
    fails("fields", limit, store.fields(&id.tag)).await;
    fails("create", limit, store.create(&new, at)).await;
    fails("commit", limit, store.commit(&id, &ops, None, Budget::default(), at)).await;
    fails("rotate", limit, store.rotate(&id, &rotation, at)).await;
    fails("abandon", limit, store.abandon(&id, at)).await;
    fails("destroy", limit, store.destroy(&id, at)).await;
    fails("revoke_all", limit, store.revoke_all(&id.tag, None, HOUR, at)).await;
    fails("ping", limit, store.ping()).await;
}

async fn fails<T: Debug>(
    operation: &str,
    limit: Duration,
    future: impl Future<Output = Result<T, StoreError>>,
) {
    match timeout(limit, future).await.ok() {
        Some(Err(StoreError::Unavailable(_))) => {}
        Some(Err(StoreError::Corrupt(what))) => {
            panic!("{operation} says that data is corrupt, though the store is not there: {what}")
        }
        Some(Ok(answer)) => panic!("{operation} answers {answer:?}, though the store is not there"),
        None => panic!("{operation} does not answer within its limit and more, {limit:?}"),
    }
}

async fn every_operation_fails(stage: &Stage, fault: Fault) {
    let [store, _] = stage.stores();
    let user = new_user();
    let id = create(store, &user, stage.at()).await;
    let [site, _] = stage.sites();
    let browser = Browser::signed_in(&site, &user).await;
    if !stage.set(fault).await {
        return;
    }
    all_fail(store, &user, id, stage).await;
    let answer =
        site.request(browser.cookie.as_deref(), |s| async move { s.user().map(drop) }).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "never signed out: {answer:?}");
    stage.set(Fault::None).await;
    let begun = Instant::now();
    while store.ping().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the store does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(browser.is_signed_in(&site).await, "the session outlives the fault");
}

pub(super) async fn a_store_that_cannot_be_reached_is_an_error_and_no_absence(stage: Stage) {
    every_operation_fails(&stage, Fault::Refuses).await;
}

pub(super) async fn a_store_that_stalls_answers_within_its_limit(stage: Stage) {
    every_operation_fails(&stage, Fault::Stalls).await;
}
