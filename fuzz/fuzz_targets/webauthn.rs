//! Answers of authenticators, in JSON. A registration needs no secret, but what it brings has one
//! form. Nobody signs for a key that he has not.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tracera::auth::webauthn::{
    AssertionAnswer, Ceremony, KnownCredential, MAX_CREDENTIAL_ID_BYTES, PublicKey,
    RegistrationAnswer, RelyingParty,
};
use url::Url;

static RELYING_PARTY: LazyLock<RelyingParty> =
    LazyLock::new(|| RelyingParty::at(&Url::parse("https://tracera.example").expect("a URL")));
/// Of Ed25519: the public key of RFC 8032, 7.1, test 1.
static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
    let mut cose = vec![0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20];
    cose.extend([
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ]);
    PublicKey::from_cose(&cose).expect("a key")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(answer) = serde_json::from_slice::<RegistrationAnswer>(data) {
        let _ = RELYING_PARTY.challenge(answer.client_data(), Ceremony::Registration);
        if let Ok(new) = RELYING_PARTY.registered(&answer) {
            assert!(!new.id.is_empty() && new.id.len() <= MAX_CREDENTIAL_ID_BYTES);
            assert_eq!(PublicKey::from_cose(new.public_key.as_cose()), Ok(new.public_key));
            assert!(new.backup_eligible || !new.backed_up);
        }
    }
    if let Ok(answer) = serde_json::from_slice::<AssertionAnswer>(data) {
        let _ = RELYING_PARTY.challenge(answer.client_data(), Ceremony::Assertion);
        let known = KnownCredential { public_key: &KEY, counter: 0, backup_eligible: true };
        assert!(RELYING_PARTY.asserted(&answer, known).is_err(), "a signature without the key");
    }
    // The key of a credential by itself, which is rarely reached through all of the above.
    if let Ok(key) = PublicKey::from_cose(data) {
        assert_eq!(key.as_cose(), data, "there is one form of a key");
    }
});
