//! ID tokens: three lines that are encoded here as the parts of one, or one line as it is. And key
//! sets. Without the issuer's key none counts.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use tracera::auth::id_token::{Expected, KeySet, verify};

/// Example keys of RFC 7515, A.2 and A.3, with names.
static KEYS: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::parse(include_bytes!("../seeds/id_token/keys")).expect("a key set"));

fuzz_target!(|data: &[u8]| {
    // Whatever an issuer's server answers is read or refused.
    let _ = KeySet::parse(data);
    let lines: Vec<&[u8]> = data.splitn(3, |byte| *byte == b'\n').collect();
    let token = match *lines {
        [header, claims, signature] => {
            [header, claims, signature].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".")
        }
        _ => String::from_utf8_lossy(data).into_owned(),
    };
    let expected = Expected {
        issuers: &["https://issuer.example"],
        client_id: "client",
        nonce: "nonce",
        access_token: "access",
        now: 1_900_000_000,
    };
    assert!(verify(&token, &KEYS, &expected).is_err(), "nobody here has the issuer's key");
});
