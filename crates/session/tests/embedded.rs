//! The conformance suite on the embedded store in memory, and an update that never wins.

use tracera_session::testing::{Instances, signed_in};
use tracera_session::{EmbeddedStore, KeyRing, SessionConfig, SessionError, Sessions, SignIn};

async fn storage() -> Instances {
    let store = EmbeddedStore::in_memory().expect("memory is there");
    Instances::new(store.clone(), store)
}

tracera_session::conformance!(storage);

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_always_loses_is_an_error_and_changes_nothing() {
    let store = EmbeddedStore::in_memory().unwrap();
    let keys = KeyRing::new(&[1; 32]).unwrap();
    let instance = || Sessions::new(store.clone(), keys.clone(), SessionConfig::default());
    let (here, there) = (instance(), instance());
    let headers = signed_in(&here, SignIn::new(1.into(), "test")).await.unwrap();
    let (slow, fast) = (here.open(&headers).await, there.open(&headers).await);
    let runtime = tokio::runtime::Handle::current();
    let mut attempts = 0;
    let change = |_: Option<i64>| {
        attempts += 1;
        let writing = fast.increment("n", 1);
        tokio::task::block_in_place(|| runtime.block_on(writing)).unwrap();
        Some(-1)
    };
    let error = slow.update("n", change).await.unwrap_err();
    assert!(matches!(error, SessionError::Unavailable(_)), "{error:?}");
    assert!(attempts > 1);
    assert_eq!(fast.get("n").await.unwrap(), Some(attempts));
}
