//! Device proofs by an attacker who has a copy of a session's cookie. The input is three parts, one
//! per line, that are encoded here, or one raw line. Without the device's key no proof registers or
//! renews anything, and the session lives on.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tracera_session::testing::signed_in;
use tracera_session::{
    DeviceBinding, EmbeddedStore, KeyRing, SessionConfig, Sessions, SignIn, UserId,
};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
/// The application, and the headers of a browser that has signed in.
static SCENE: LazyLock<(Sessions, HeaderMap)> = LazyLock::new(|| {
    let store = EmbeddedStore::in_memory().expect("memory");
    let keys = KeyRing::new(&[7; 32]).expect("a secret of 32 bytes");
    let config = SessionConfig::default().device_binding(DeviceBinding::default());
    let sessions = Sessions::new(store, keys, config);
    let sign_in = SignIn::new(UserId::from(7_i64), "test");
    let headers = RUNTIME.block_on(signed_in(&sessions, sign_in)).expect("memory answers");
    (sessions, headers)
});

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.splitn(3, |byte| *byte == b'\n').collect();
    let proof = match *lines {
        [header, payload, signature] => {
            let parts = [header, payload, signature];
            parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".").into_bytes()
        }
        _ => data.to_vec(),
    };
    let Ok(proof) = HeaderValue::from_bytes(&proof) else { return };
    let (sessions, browser) = &*SCENE;
    let mut headers = browser.clone();
    headers.insert("sec-secure-session-id", proof.clone());
    headers.insert("secure-session-response", proof);
    RUNTIME.block_on(async {
        let registered = sessions.register_device(&headers).await.status();
        assert_eq!(registered, StatusCode::BAD_REQUEST);
        let refreshed = sessions.refresh_device(&headers).await.status();
        assert_eq!(refreshed, StatusCode::BAD_REQUEST, "no key is registered");
        assert!(sessions.open(browser).await.user().is_ok(), "the session lives on");
    });
});
