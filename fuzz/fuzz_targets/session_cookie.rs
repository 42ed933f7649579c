//! The cookies of a request, one `Cookie` header per line of input. None of them signs anybody in,
//! because the fuzzer has no secret.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, header::COOKIE};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tracera_session::{EmbeddedStore, KeyRing, SessionConfig, SessionError, Sessions};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));
static SESSIONS: LazyLock<Sessions> = LazyLock::new(|| {
    let store = EmbeddedStore::in_memory().expect("memory");
    let keys = KeyRing::new(&[7; 32]).expect("a secret of 32 bytes");
    Sessions::new(store, keys, SessionConfig::default().secure(false))
});

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, line);
        }
    }
    let session = RUNTIME.block_on(SESSIONS.open(&headers));
    assert!(matches!(session.user(), Err(SessionError::Unauthenticated)));
    assert!(session.info().is_none() && session.binding().is_none());
});
