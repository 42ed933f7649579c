//! The conformance suite on the embedded store in a file, and tests of its durability.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::HeaderMap;
use tracera_session::{
    EmbeddedStore, KeyRing, OpenError, SessionConfig, Sessions, SignIn, UserId, testing::Instances,
};

async fn storage() -> Instances {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path().join("sessions")).unwrap();
    Instances::new(store.clone(), store).keeping(directory)
}

tracera_session::conformance!(storage);

#[tokio::test]
async fn sessions_and_the_epoch_are_there_after_reopening_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions");
    let open = || {
        let store = EmbeddedStore::open(&file).unwrap();
        Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), SessionConfig::default())
    };
    let user = UserId::new("user").unwrap();
    let (epoch, listed) = {
        let sessions = open();
        sessions.revoke_all(&user).await.unwrap();
        let session = sessions.open(&HeaderMap::new()).await;
        session.sign_in(SignIn::new(user.clone(), "test")).await.unwrap();
        session.increment("n", 1).await.unwrap();
        (sessions.epoch(&user).await.unwrap(), sessions.list(&user).await.unwrap())
    };
    let sessions = open();
    assert_eq!(sessions.epoch(&user).await.unwrap(), epoch);
    assert_eq!(sessions.list(&user).await.unwrap(), listed);
    assert!(sessions.revoke(&user, listed[0].handle).await.unwrap());
}

#[test]
fn a_file_in_use_and_a_file_of_another_kind_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions");
    let _open = EmbeddedStore::open(&file).unwrap();
    assert!(matches!(EmbeddedStore::open(&file), Err(OpenError::InUse)));
    let other = directory.path().join("other");
    std::fs::write(&other, "something else").unwrap();
    assert!(matches!(EmbeddedStore::open(&other), Err(OpenError::Unusable(_))));
    assert_eq!(std::fs::read(&other).unwrap(), b"something else");
}
