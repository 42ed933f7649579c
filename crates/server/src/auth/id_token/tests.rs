use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_777_000_000;
const CLIENT: &str = "client-1";
const NONCE: &str = "the-nonce";
const ISSUER: &str = "https://issuer.example";

/// An issuer with one key.
struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { key: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(), random }
    }

    fn jwk(&self, id: &str) -> Value {
        let point = self.key.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({
            "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256", "x": x, "y": y
        })
    }

    fn keys(&self) -> KeySet {
        keys(&[self.jwk("k1")])
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.key.sign(&self.random, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn keys(jwks: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn header() -> Value {
    json!({ "alg": "ES256", "kid": "k1", "typ": "JWT" })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "1234", "nonce": NONCE, "iat": NOW - 5,
        "exp": NOW + 300, "email": "a@example.com", "email_verified": true,
    })
}

fn expected() -> Expected<'static> {
    Expected {
        issuers: &[ISSUER, "issuer.example"],
        client_id: CLIENT,
        nonce: NONCE,
        access_token: "at",
        now: NOW,
    }
}

#[test]
fn a_token_that_fits_says_who_it_is() {
    let issuer = Issuer::new();
    let claims = verify(&issuer.sign(&header(), &claims()), &issuer.keys(), &expected()).unwrap();
    assert_eq!((claims.sub.as_str(), claims.email.as_deref()), ("1234", Some("a@example.com")));
    assert!(claims.email_is_verified());
}

#[test]
fn every_claim_has_to_fit() {
    use IdTokenError::{Claim, Malformed};
    let issuer = Issuer::new();
    let half_hash = URL_SAFE_NO_PAD.encode(&Sha256::digest("at")[..16]);
    for (claim, value, verdict) in [
        ("iss", json!("issuer.example"), Ok(())),
        ("iss", json!("https://issuer.example/"), Err(Claim("iss"))),
        ("iss", json!("https://evil.example"), Err(Claim("iss"))),
        ("iss", json!([ISSUER]), Err(Malformed)),
        ("iss", Value::Null, Err(Malformed)),
        ("aud", json!([CLIENT]), Ok(())),
        ("aud", json!("client-2"), Err(Claim("aud"))),
        ("aud", json!(["client-2"]), Err(Claim("aud"))),
        ("aud", json!([]), Err(Claim("aud"))),
        ("aud", json!([CLIENT, "client-2"]), Err(Claim("azp"))),
        ("aud", Value::Null, Err(Malformed)),
        ("azp", json!(CLIENT), Ok(())),
        ("azp", json!("client-2"), Err(Claim("azp"))),
        ("exp", json!(NOW - 59), Ok(())),
        ("exp", json!(NOW - 60), Err(Claim("exp"))),
        ("exp", json!("never"), Err(Malformed)),
        ("exp", Value::Null, Err(Malformed)),
        ("iat", json!(NOW + 59), Ok(())),
        ("iat", json!(NOW + 60), Err(Claim("iat"))),
        ("nbf", json!(NOW + 60), Err(Claim("nbf"))),
        ("nonce", json!("another"), Err(Claim("nonce"))),
        ("nonce", json!(""), Err(Claim("nonce"))),
        ("nonce", Value::Null, Err(Claim("nonce"))),
        ("at_hash", json!(half_hash), Ok(())),
        ("at_hash", json!("another"), Err(Claim("at_hash"))),
        ("sub", json!(""), Err(Claim("sub"))),
        ("sub", json!("a b"), Err(Claim("sub"))),
        ("sub", json!("x".repeat(256)), Err(Claim("sub"))),
        ("sub", json!(1234), Err(Malformed)),
        ("sub", Value::Null, Err(Malformed)),
    ] {
        let mut claims = claims();
        claims[claim] = value.clone();
        let told = verify(&issuer.sign(&header(), &claims), &issuer.keys(), &expected()).map(drop);
        assert_eq!(told, verdict, "{claim} {value}");
    }
}

#[test]
fn only_true_is_verified() {
    let issuer = Issuer::new();
    for value in [
        json!(false),
        json!("true"),
        json!("false"),
        json!("true "),
        json!(1),
        json!([true]),
        Value::Null,
    ] {
        let mut claims = claims();
        claims["email_verified"] = value.clone();
        let told = verify(&issuer.sign(&header(), &claims), &issuer.keys(), &expected()).unwrap();
        assert!(!told.email_is_verified(), "{value}");
    }
}

#[test]
fn the_token_does_not_choose_its_algorithm() {
    let issuer = Issuer::new();
    for algorithm in
        ["none", "None", "NONE", "HS256", "HS512", "RS512", "PS256", "ES384", "EdDSA", "es256", ""]
    {
        let header = json!({ "alg": algorithm, "kid": "k1" });
        let unsigned = format!("{}.", message(&header, &claims()));
        for token in [issuer.sign(&header, &claims()), unsigned] {
            assert_eq!(
                verify(&token, &issuer.keys(), &expected()),
                Err(IdTokenError::Algorithm),
                "{algorithm}"
            );
        }
    }
    // The token is signed with the public key as if it were a shared secret.
    let message = message(&json!({ "alg": "HS256", "kid": "k1" }), &claims());
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, issuer.key.public_key().as_ref()),
        message.as_bytes(),
    );
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(verify(&token, &issuer.keys(), &expected()), Err(IdTokenError::Algorithm));
    // The key has another type than the header's algorithm.
    let token = issuer.sign(&json!({ "alg": "RS256", "kid": "k1" }), &claims());
    assert_eq!(verify(&token, &issuer.keys(), &expected()), Err(IdTokenError::UnknownKey));
}

#[test]
fn the_token_does_not_bring_its_key() {
    let (issuer, attacker) = (Issuer::new(), Issuer::new());
    let mut header = header();
    header["jwk"] = attacker.jwk("k1");
    header["jku"] = json!("https://evil.example/keys");
    header["x5u"] = json!("https://evil.example/cert");
    let forged = attacker.sign(&header, &claims());
    assert_eq!(verify(&forged, &issuer.keys(), &expected()), Err(IdTokenError::Signature));
}

#[test]
fn a_changed_token_is_refused() {
    let issuer = Issuer::new();
    let token = issuer.sign(&header(), &claims());
    let parts: Vec<_> = token.split('.').collect();
    let mut other = claims();
    other["sub"] = json!("5678");
    let other = URL_SAFE_NO_PAD.encode(other.to_string());
    let swapped = format!("{}.{other}.{}", parts[0], parts[2]);
    assert_eq!(verify(&swapped, &issuer.keys(), &expected()), Err(IdTokenError::Signature));
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    assert_eq!(verify(&unsigned, &issuer.keys(), &expected()), Err(IdTokenError::Signature));
    let two_parts = format!("{}.{}", parts[0], parts[1]);
    for token in ["", ".", "..", "a.b.c", &two_parts, &format!("{token}.x")] {
        assert!(verify(token, &issuer.keys(), &expected()).is_err(), "{token}");
    }
    let critical = json!({ "alg": "ES256", "kid": "k1", "crit": ["exp"] });
    let told = verify(&issuer.sign(&critical, &claims()), &issuer.keys(), &expected());
    assert_eq!(told, Err(IdTokenError::Algorithm));
}

#[test]
fn a_key_is_found_by_its_name_or_by_being_alone() {
    let (one, two) = (Issuer::new(), Issuer::new());
    let both = keys(&[one.jwk("k1"), two.jwk("k2")]);
    let unnamed = json!({ "alg": "ES256" });
    assert!(verify(&one.sign(&header(), &claims()), &both, &expected()).is_ok());
    assert_eq!(
        verify(&two.sign(&header(), &claims()), &both, &expected()),
        Err(IdTokenError::Signature)
    );
    assert!(verify(&one.sign(&unnamed, &claims()), &one.keys(), &expected()).is_ok());
    assert_eq!(
        verify(&one.sign(&unnamed, &claims()), &both, &expected()),
        Err(IdTokenError::UnknownKey)
    );
    let unknown = one.sign(&json!({ "alg": "ES256", "kid": "k3" }), &claims());
    assert_eq!(verify(&unknown, &both, &expected()), Err(IdTokenError::UnknownKey));
}

#[test]
fn keys_for_something_else_are_left_out() {
    let issuer = Issuer::new();
    let token = issuer.sign(&header(), &claims());
    for (field, value) in [
        ("use", json!("enc")),
        ("alg", json!("ES384")),
        ("crv", json!("P-384")),
        ("kty", json!("oct")),
        ("x", json!("%")),
    ] {
        let mut jwk = issuer.jwk("k1");
        jwk[field] = value;
        assert_eq!(
            verify(&token, &keys(&[jwk]), &expected()),
            Err(IdTokenError::UnknownKey),
            "{field}"
        );
    }
    assert!(KeySet::parse(b"<html>").is_err());
}
