//! Sessions bound to a device, over HTTP, with the service's own responses.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::browser::{Answer, Browser};
use crate::fake_providers::FakeProviders;
use crate::harness::TestApp;

const HTTPS: (&str, &str) = ("BASE_URL", "https://tracera.localhost");

/// The key of a device.
struct Device(EcdsaKeyPair);

impl Device {
    fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn proof(&self, challenge: &str, with_key: bool) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = self.0.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let mut header = json!({ "alg": "ES256", "typ": "dbsc+jwt" });
        if with_key {
            header["jwk"] = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        }
        let payload = json!({ "jti": challenge });
        let parts = [header, payload].map(|part| encode(part.to_string().as_bytes()));
        let signed = parts.join(".");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

fn quoted<'a>(text: &'a str, before: &str) -> &'a str {
    text.split(before).nth(1).unwrap().split('"').nth(1).unwrap()
}

async fn sign_in(app: &TestApp, browser: &Browser) -> Answer {
    let token = app.link_token(browser, "a@example.com").await;
    browser.post("/api/v1/auth/magic/verify", &json!({ "token": token })).await.expect(200)
}

/// A browser with a session bound to `device`, and the id of its device session.
async fn bound(app: &TestApp, device: &Device) -> (Browser, String) {
    let browser = app.browser();
    let offer = sign_in(app, &browser).await.header("secure-session-registration").to_owned();
    let proof = device.proof(quoted(&offer, "challenge="), true);
    let headers = [("secure-session-response", &*proof)];
    let answer = browser.send(Method::POST, "/device/register", &headers, None).await.expect(200);
    let id = answer.json()["session_identifier"].as_str().unwrap().to_owned();
    browser.get("/api/v1/auth/sessions").await.expect(200);
    app.advance(Duration::from_secs(10));
    (browser, id)
}

/// A browser with a copy of the session cookie alone.
fn copied(app: &TestApp, browser: &Browser) -> Browser {
    let thief = app.browser();
    thief.set_cookie("__Host-session", &browser.cookie("__Host-session").unwrap());
    thief
}

#[tokio::test]
async fn a_copied_cookie_opens_nothing_and_is_told_why() {
    let app = TestApp::start_with(&[HTTPS]).await;
    let (owner, _) = bound(&app, &Device::new()).await;
    let sessions = owner.get("/api/v1/auth/sessions").await.json();
    assert_eq!(sessions["sessions"][0]["device_bound"], Value::Bool(true));

    let thief = copied(&app, &owner);
    thief.get("/api/v1/portfolio").await.expect_error(401, "device_proof_required");
    assert_eq!(thief.get("/api/v1/auth/me").await.expect(200).json()["user"], Value::Null);
    thief.get("/api/v1/auth/csrf").await.expect(200);

    let (page, document) = (("accept", "text/html"), ("sec-fetch-dest", "document"));
    let sent = [page, ("sec-fetch-mode", "navigate"), document, ("sec-fetch-site", "cross-site")];
    let step = thief.send(Method::GET, "/?q=ak", &sent, None).await.expect(200);
    assert!(step.body.contains(r#"<meta http-equiv="refresh" content="0">"#));
    assert_eq!(step.header("cache-control"), "no-store");
    let own = [page, ("sec-fetch-mode", "navigate"), document, ("sec-fetch-site", "same-origin")];
    let missing = thief.send(Method::GET, "/?q=ak", &own, None).await.expect(401);
    assert!(missing.body.contains("Your session has not ended"));
    let skipped = [page, ("secure-session-skipped", "server_error")];
    let answer = thief.send(Method::GET, "/", &skipped, None).await.expect(503);
    assert!(!answer.header("retry-after").is_empty());
    owner.get("/api/v1/portfolio").await.expect(200);
    let account = owner.get("/account").await.expect(200).body;
    assert!(account.contains("Bound to its device"), "{account}");
}

#[tokio::test]
async fn a_proof_by_another_device_ends_the_session_and_tells_its_owner() {
    let app = TestApp::start_with(&[HTTPS]).await;
    let (owner, id) = bound(&app, &Device::new()).await;
    let thief = copied(&app, &owner);
    let headers = [("sec-secure-session-id", &*id)];
    let asked = thief.send(Method::POST, "/device/refresh", &headers, None).await.expect(403);
    let challenge = asked.header("secure-session-challenge").to_owned();
    let proof = Device::new().proof(challenge.split('"').nth(1).unwrap(), false);
    let headers = [("sec-secure-session-id", &*id), ("secure-session-response", &*proof)];
    thief.send(Method::POST, "/device/refresh", &headers, None).await.expect(401);
    owner.get("/api/v1/portfolio").await.expect_error(401, "unauthenticated");
    app.notice_to("a@example.com", "A copy of your Tracera session was tried elsewhere").await;
    sign_in(&app, &owner).await;
    let events = owner.get("/api/v1/auth/events").await.json();
    let kinds = events["events"].as_array().unwrap().iter().map(|event| event["event"].as_str());
    assert!(kinds.flatten().any(|kind| kind == "other_device"), "{events}");
}

#[tokio::test]
async fn a_provider_s_callback_is_loaded_once_more_so_that_the_browser_can_register() {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars = vars.iter().map(|(name, value)| (&**name, &**value)).chain([HTTPS]);
    let app = TestApp::start_with(&vars.collect::<Vec<_>>()).await;
    let (navigates, document) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
    let (elsewhere, here) = (("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-origin"));
    let chromium = ("sec-ch-ua", "\"Chromium\";v=\"156\"");
    let begin = async || {
        let browser = app.browser();
        let begun = browser.get("/api/v1/auth/github").await.expect(303);
        let emails = json!([{ "email": "a@example.com", "primary": true, "verified": true }]);
        let person = json!({ "id": 1, "emails": emails });
        (browser, fake_providers.agree(begun.header("location"), person))
    };
    let offered = |answer: &Answer| !answer.header("secure-session-registration").is_empty();

    let (browser, callback) = begin().await;
    let sent = [navigates, document, elsewhere, chromium];
    let step = browser.send(Method::GET, &callback, &sent, None).await.expect(200);
    assert!(step.body.contains(r#"<meta http-equiv="refresh" content="0">"#) && !offered(&step));
    let sent = [navigates, document, here, chromium];
    let landed = browser.send(Method::GET, &callback, &sent, None).await.expect(303);
    assert!(offered(&landed));

    let (other, callback) = begin().await;
    other.send(Method::GET, &callback, &[navigates, document, elsewhere], None).await.expect(303);
}

#[tokio::test]
async fn nothing_is_offered_where_the_cookie_is_not_secure_or_binding_is_off() {
    for vars in [&[][..], &[HTTPS, ("SESSION_DEVICE_BINDING", "off")][..]] {
        let app = TestApp::start_with(vars).await;
        let browser = app.browser();
        let answer = sign_in(&app, &browser).await;
        assert_eq!(answer.header("secure-session-registration"), "");
        browser.send(Method::POST, "/device/refresh", &[], None).await.expect(404);
    }
}
