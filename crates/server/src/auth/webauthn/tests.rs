//! Genuine and forged authenticator responses.

use serde_json::{Value, json};
use tracera_testkit::{Algorithm, Draft, Passkey};

use super::*;

const ORIGIN: &str = "https://tracera.example";

fn relying_party() -> RelyingParty {
    RelyingParty::at(&Url::parse(ORIGIN).unwrap())
}

fn creation() -> Value {
    json!({ "publicKey": {
        "challenge": "Y2hhbGxlbmdl", "rp": { "id": "tracera.example" }, "user": { "id": "dXNlcg" },
    } })
}

fn request() -> Value {
    json!({ "publicKey": { "challenge": "Y2hhbGxlbmdl", "rpId": "tracera.example" } })
}

fn register(answer: &Value) -> Result<NewCredential, Rejection> {
    let answer: RegistrationAnswer = serde_json::from_value(answer.clone()).unwrap();
    let challenge = relying_party().challenge(answer.client_data(), Ceremony::Registration)?;
    assert_eq!(challenge, b"challenge");
    relying_party().registered(&answer)
}

fn assert(answer: &Value, known: &NewCredential) -> Result<Asserted, Rejection> {
    let answer: AssertionAnswer = serde_json::from_value(answer.clone()).unwrap();
    let challenge = relying_party().challenge(answer.client_data(), Ceremony::Assertion)?;
    assert_eq!(challenge, b"challenge");
    relying_party().asserted(
        &answer,
        KnownCredential {
            public_key: &known.public_key,
            counter: known.counter,
            backup_eligible: known.backup_eligible,
        },
    )
}

#[test]
fn a_passkey_of_each_algorithm_is_registered_and_signs() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let mut passkey = Passkey::with(ORIGIN, algorithm);
        passkey.aaguid = [7; 16];
        let known = register(&passkey.register(&creation())).unwrap();
        assert_eq!((&known.id, known.aaguid), (&passkey.id, [7; 16]));
        assert_eq!(PublicKey::from_cose(known.public_key.as_cose()).unwrap(), known.public_key);
        let asserted = assert(&passkey.sign(&request()), &known);
        assert_eq!(asserted, Ok(Asserted { counter: 0, backed_up: false }), "{algorithm:?}");
    }
}

#[test]
fn a_counter_grows_or_stays_at_zero() {
    let mut passkey = Passkey::new(ORIGIN);
    passkey.counter = 7;
    let mut known = register(&passkey.register(&creation())).unwrap();
    assert_eq!(known.counter, 7);
    for (stored, signed, accepted) in
        [(7, 8, true), (7, 7, false), (7, 6, false), (7, 0, false), (0, 1, true), (0, 0, true)]
    {
        known.counter = stored;
        let answer = passkey.sign_forged(&request(), |draft| draft.counter = signed);
        let expected = if accepted {
            Ok(Asserted { counter: signed, backed_up: false })
        } else {
            Err(Rejection::Counter)
        };
        assert_eq!(assert(&answer, &known), expected, "{stored} then {signed}");
    }
}

#[test]
fn flags_of_backup_are_kept_and_have_to_fit() {
    let mut passkey = Passkey::new(ORIGIN);
    let synced = register(&passkey.register_forged(&creation(), |it| it.flags |= 0x18)).unwrap();
    assert!(synced.backup_eligible && synced.backed_up);
    let alone = register(&passkey.register(&creation())).unwrap();
    for (known, flags, outcome) in [
        (&synced, 0x18, Ok(true)),
        (&synced, 0x08, Ok(false)),
        (&synced, 0x00, Err(Rejection::Backup)),
        (&alone, 0x08, Err(Rejection::Backup)),
        (&alone, 0x10, Err(Rejection::Backup)),
        (&alone, 0x00, Ok(false)),
    ] {
        let answer = passkey.sign_forged(&request(), |it| it.flags |= flags);
        let asserted = assert(&answer, known).map(|asserted| asserted.backed_up);
        assert_eq!(asserted, outcome, "{flags:x}");
    }
}

#[test]
fn forged_registrations_are_refused_for_what_is_wrong_with_them() {
    type Forge = fn(&mut Draft);
    let forgeries: [(Forge, Rejection); 16] = [
        (|it| it.client_data["type"] = "webauthn.get".into(), Rejection::Ceremony),
        (|it| it.client_data["type"] = 1.into(), Rejection::ClientData),
        (|it| it.client_data["origin"] = "https://tracera.example.evil".into(), Rejection::Origin),
        (|it| it.client_data["origin"] = "http://tracera.example".into(), Rejection::Origin),
        (|it| it.client_data["origin"] = "https://tracera.example:8443".into(), Rejection::Origin),
        (|it| it.client_data["crossOrigin"] = true.into(), Rejection::CrossOrigin),
        (|it| it.client_data["topOrigin"] = "https://evil".into(), Rejection::CrossOrigin),
        (|it| it.client_data["challenge"] = "not base64url!".into(), Rejection::Challenge),
        (|it| it.rp_id = "example".to_owned(), Rejection::RelyingParty),
        (|it| it.flags &= !0x01, Rejection::NotPresent),
        (|it| it.flags &= !0x04, Rejection::NotVerified),
        (|it| it.flags |= 0x10, Rejection::Backup),
        (|it| it.flags &= !0x40, Rejection::AuthenticatorData),
        (|it| it.flags |= 0x80, Rejection::AuthenticatorData),
        (|it| it.tail = vec![0], Rejection::AuthenticatorData),
        (|it| it.attested_id[0] ^= 1, Rejection::CredentialId),
    ];
    for (at, (forge, rejection)) in forgeries.into_iter().enumerate() {
        let answer = Passkey::new(ORIGIN).register_forged(&creation(), forge);
        assert_eq!(register(&answer), Err(rejection), "forgery {at}");
    }
}

#[test]
fn forged_signatures_are_refused_for_what_is_wrong_with_them() {
    type Forge = fn(&mut Draft);
    let forgeries: [(Forge, Rejection); 14] = [
        (|it| it.client_data["type"] = "webauthn.create".into(), Rejection::Ceremony),
        (|it| it.client_data["type"] = "payment.get".into(), Rejection::Ceremony),
        (|it| it.client_data["origin"] = "https://evil.example".into(), Rejection::Origin),
        (|it| it.client_data["origin"] = "https://tracera.example/".into(), Rejection::Origin),
        (|it| it.client_data["origin"] = Value::Null, Rejection::ClientData),
        (|it| it.client_data["crossOrigin"] = true.into(), Rejection::CrossOrigin),
        (|it| it.rp_id = "evil.example".to_owned(), Rejection::RelyingParty),
        (|it| it.rp_id = "login.tracera.example".to_owned(), Rejection::RelyingParty),
        (|it| it.flags = 0x04, Rejection::NotPresent),
        (|it| it.flags = 0x01, Rejection::NotVerified),
        (|it| it.flags = 0, Rejection::NotPresent),
        (|it| it.flags |= 0x08, Rejection::Backup),
        (|it| it.flags |= 0x40, Rejection::AuthenticatorData),
        (|it| it.tail = b"\xa0".to_vec(), Rejection::AuthenticatorData),
    ];
    let mut passkey = Passkey::new(ORIGIN);
    let known = register(&passkey.register(&creation())).unwrap();
    for (at, (forge, rejection)) in forgeries.into_iter().enumerate() {
        let answer = passkey.sign_forged(&request(), forge);
        assert_eq!(assert(&answer, &known), Err(rejection), "forgery {at}");
    }
}

#[test]
fn what_was_changed_after_the_signature_does_not_verify() {
    let mut passkey = Passkey::new(ORIGIN);
    let known = register(&passkey.register(&creation())).unwrap();
    let good = passkey.sign(&request());
    let other = passkey.sign_forged(&request(), |it| it.client_data["more"] = 1.into());
    let mut stranger = Passkey::new(ORIGIN);
    for part in ["clientDataJSON", "signature"] {
        let mut answer = good.clone();
        answer["response"][part] = other["response"][part].clone();
        assert_eq!(assert(&answer, &known), Err(Rejection::Signature), "{part}");
    }
    for signature in ["", "AA", "MAYCAQACAQA"] {
        let mut answer = good.clone();
        answer["response"]["signature"] = signature.into();
        assert_eq!(assert(&answer, &known), Err(Rejection::Signature), "{signature}");
    }
    let mut answer = stranger.sign(&request());
    answer["id"] = good["id"].clone();
    answer["rawId"] = good["id"].clone();
    assert_eq!(assert(&answer, &known), Err(Rejection::Signature), "another key");
    answer["rawId"] = "AAAA".into();
    let answer: AssertionAnswer = serde_json::from_value(answer).unwrap();
    assert_eq!(answer.credential_id(), Err(Rejection::CredentialId));
}

#[test]
fn keys_of_other_algorithms_and_forms_are_refused() {
    let es256 = Passkey::new(ORIGIN).cose();
    let changed = |at: usize, byte: u8| {
        let mut cose = es256.clone();
        cose[at] = byte;
        cose
    };
    let rsa = |bits: usize| {
        let mut cose = b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59".to_vec();
        cose.extend(u16::try_from(bits / 8).unwrap().to_be_bytes());
        cose.extend(vec![0xff; bits / 8]);
        cose.extend(b"\x21\x43\x01\x00\x01");
        cose
    };
    assert!(PublicKey::from_cose(&rsa(2048)).is_ok());
    for (what, cose) in [
        ("a key type that is none of the algorithm's", changed(2, 1)),
        ("an unknown algorithm", changed(4, 0x27)),
        ("another curve", changed(6, 2)),
        ("a parameter twice", changed(7, 0x20)),
        ("a short coordinate", [&es256[..9], b"\x1f", &es256[10..]].concat()),
        ("bytes behind the key", [&*es256, b"\x00"].concat()),
        ("a short RSA key", rsa(1024)),
        ("no map", b"\x80".to_vec()),
        ("nothing", Vec::new()),
    ] {
        assert!(PublicKey::from_cose(&cose).is_err(), "{what}");
    }
}
