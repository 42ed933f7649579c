//! Passkeys: register, sign in, confirm, remove, "passkey only", and responses to forgeries.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tracera_testkit::{Draft, Passkey};

use crate::browser::{Answer, Browser};
use crate::harness::TestApp;

/// Replaces a part of a response by that of another one.
type Change = fn(&mut Value, &Value);

const ORIGIN: &str = "http://localhost:8080";
const REGISTER: &str = "/api/v1/auth/passkeys";
const SIGN_IN: &str = "/api/v1/auth/passkey";
const ALICE: &str = "alice@example.com";

async fn options(browser: &Browser, of: &str) -> Value {
    browser.call(Method::POST, &format!("{of}/options"), None).await.expect(200).json()
}

async fn register(browser: &Browser) -> (Passkey, Answer) {
    let mut passkey = Passkey::new(ORIGIN);
    let answer = passkey.register(&options(browser, REGISTER).await);
    (passkey, browser.post(REGISTER, &answer).await)
}

pub(crate) async fn with_passkey(browser: &Browser) -> Passkey {
    let (passkey, answer) = register(browser).await;
    answer.expect(201);
    passkey
}

pub(crate) async fn sign_in(browser: &Browser, passkey: &mut Passkey) -> Answer {
    let answer = passkey.sign(&options(browser, SIGN_IN).await);
    browser.post(SIGN_IN, &answer).await
}

async fn passkey_only(browser: &Browser, enabled: bool) -> Answer {
    let body = json!({ "enabled": enabled });
    browser.call(Method::PUT, "/api/v1/auth/passkey-only", Some(&body)).await
}

#[tokio::test]
async fn a_passkey_is_registered_named_listed_and_signs_in() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let asked = options(&owner, REGISTER).await;
    let public_key = &asked["publicKey"];
    assert_eq!(public_key["rp"]["id"], "localhost");
    assert_eq!(public_key["attestation"], "none");
    assert_eq!(public_key["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(public_key["authenticatorSelection"]["userVerification"], "required");
    let mut passkey = Passkey::new(ORIGIN);
    passkey.aaguid = 0xd548826e_79b4_db40_a3d8_11116f7e8349_u128.to_be_bytes();
    let mut answer = passkey.register(&asked);
    answer["name"] = json!("My vault");
    let made = owner.post(REGISTER, &answer).await.expect(201).json();
    let listed = owner.get(REGISTER).await.expect(200).json();
    assert_eq!(listed["passkeys"], json!([made]));
    assert_eq!((&made["name"], &made["authenticator"]), (&json!("My vault"), &json!("Bitwarden")));
    assert_eq!(made["last_used_at"], Value::Null);
    app.notice_to(ALICE, "A passkey was added").await;

    let browser = app.browser();
    assert_eq!(options(&browser, SIGN_IN).await["publicKey"]["allowCredentials"], json!([]));
    let entered = sign_in(&browser, &mut passkey).await.expect(200).json();
    assert_eq!(entered["user"]["email"], ALICE);
    let sessions = browser.get("/api/v1/auth/sessions").await.json();
    let own = sessions["sessions"].as_array().unwrap().iter().find(|it| it["current"] == true);
    assert_eq!(
        (&own.unwrap()["method"], &own.unwrap()["user_verified"]),
        (&json!("passkey"), &json!(true))
    );
    let used = owner.get(REGISTER).await.json();
    assert_ne!(used["passkeys"][0]["last_used_at"], Value::Null);

    let second = with_passkey(&owner).await;
    let excluded = options(&owner, REGISTER).await["publicKey"]["excludeCredentials"].clone();
    assert_eq!(excluded.as_array().unwrap().len(), 2);
    let id = made["id"].as_str().unwrap();
    owner.delete(&format!("{REGISTER}/{id}")).await.expect(204);
    owner.delete(&format!("{REGISTER}/{id}")).await.expect(404);
    app.notice_to(ALICE, "A passkey was removed").await;
    let gone = sign_in(&app.browser(), &mut passkey).await.expect_error(400, "passkey_invalid");
    assert_eq!(gone.json()["unknown_credential"], true);
    assert_ne!(second.id, passkey.id);
}

#[tokio::test]
async fn an_account_has_twenty_passkeys_at_most_and_no_credential_twice() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let mut first = with_passkey(&owner).await;
    let again = first.register(&options(&owner, REGISTER).await);
    owner.post(REGISTER, &again).await.expect_error(400, "passkey_invalid");
    for _ in 1..20 {
        with_passkey(&owner).await;
    }
    register(&owner).await.1.expect_error(409, "too_many_passkeys");
}

#[tokio::test]
async fn changes_need_a_recent_sign_in_and_a_passkey_makes_the_session_recent() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let mut passkey = with_passkey(&owner).await;
    app.advance(Duration::from_mins(16));
    let stale = |method, path, body| {
        let owner = owner.clone();
        async move {
            let answer: Answer = owner.call(method, path, body).await;
            answer.expect_error(403, "reauthentication_required");
        }
    };
    stale(Method::POST, "/api/v1/auth/passkeys/options", None).await;
    let id = owner.get(REGISTER).await.json()["passkeys"][0]["id"].as_str().unwrap().to_owned();
    let one = format!("{REGISTER}/{id}");
    owner.delete(&one).await.expect_error(403, "reauthentication_required");
    stale(Method::POST, "/api/v1/auth/recovery-codes", None).await;
    passkey_only(&owner, true).await.expect_error(403, "reauthentication_required");

    let before = owner.cookie("session");
    let asked = options(&owner, SIGN_IN).await;
    assert_eq!(asked["publicKey"]["allowCredentials"].as_array().unwrap().len(), 1);
    owner.post(SIGN_IN, &passkey.sign(&asked)).await.expect(200);
    assert_ne!(owner.cookie("session"), before, "more rights, another id");
    assert_eq!(
        owner.get("/api/v1/auth/sessions").await.json()["sessions"].as_array().unwrap().len(),
        1
    );
    options(&owner, REGISTER).await;
}

#[tokio::test]
async fn one_challenge_makes_one_session_however_often_and_wherever_it_is_answered() {
    let mut app = TestApp::start().await;
    let other = app.add_instance().await;
    let owner = app.signed_in(ALICE).await;
    let mut passkey = with_passkey(&owner).await;
    let browser = app.browser();
    let answer = passkey.sign(&options(&browser, SIGN_IN).await);
    let csrf = browser.csrf().await;
    let mut answers = JoinSet::new();
    for turn in 0..20 {
        let browser = if turn % 2 == 0 { browser.fork() } else { browser.fork().at(other) };
        let (answer, csrf) = (answer.clone(), csrf.clone());
        answers.spawn(async move {
            let headers = [("x-csrf-token", &*csrf)];
            browser.send(Method::POST, SIGN_IN, &headers, Some(&answer)).await.status.as_u16()
        });
    }
    let mut statuses = answers.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[..2], [200, 400]);
    assert!(statuses[1..].iter().all(|status| *status == 400), "{statuses:?}");
    let sessions = owner.get("/api/v1/auth/sessions").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn thirty_forged_answers_sign_nobody_in() {
    type Forge = fn(&mut Draft);
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let stranger = app.signed_in("mallory@example.com").await;
    let mut passkey = with_passkey(&owner).await;
    let mut of_stranger = with_passkey(&stranger).await;
    let strangers_handle = of_stranger.user_handle.clone();
    let browser = app.browser();

    let drafts: [(&str, Forge); 18] = [
        ("a challenge of nobody's", |it| it.client_data["challenge"] = "AAAA".into()),
        ("no challenge", |it| it.client_data["challenge"] = "".into()),
        ("the ceremony of registration", |it| it.client_data["type"] = "webauthn.create".into()),
        ("another ceremony", |it| it.client_data["type"] = "payment.get".into()),
        ("another origin", |it| it.client_data["origin"] = "http://evil.example".into()),
        ("another port", |it| it.client_data["origin"] = "http://localhost:8081".into()),
        ("another scheme", |it| it.client_data["origin"] = "https://localhost:8080".into()),
        ("no origin", |it| it.client_data["origin"] = Value::Null),
        ("a frame of another site", |it| it.client_data["crossOrigin"] = true.into()),
        ("another top origin", |it| it.client_data["topOrigin"] = "http://evil.example".into()),
        ("another relying party", |it| it.rp_id = "evil.example".to_owned()),
        ("nobody present", |it| it.flags &= !0x01),
        ("nobody verified", |it| it.flags &= !0x04),
        ("suddenly able to be backed up", |it| it.flags |= 0x08),
        ("backed up but not able to be", |it| it.flags |= 0x10),
        ("attested data", |it| it.flags |= 0x40),
        ("extensions that are not there", |it| it.flags |= 0x80),
        ("bytes behind the data", |it| it.tail = vec![0]),
    ];
    for (what, forge) in drafts {
        let answer = passkey.sign_forged(&options(&browser, SIGN_IN).await, forge);
        refused(&browser, what, &answer).await;
    }

    let good = passkey.sign(&options(&browser, SIGN_IN).await);
    let changes: [(&str, Change); 8] = [
        ("another signature", |it, other| {
            it["response"]["signature"] = other["response"]["signature"].clone();
        }),
        ("other client data", |it, other| {
            it["response"]["clientDataJSON"] = other["response"]["clientDataJSON"].clone();
        }),
        ("no signature", |it, _| it["response"]["signature"] = "".into()),
        ("ids that differ", |it, _| it["rawId"] = "AAAA".into()),
        ("an unknown credential", |it, _| {
            it["id"] = "AAAA".into();
            it["rawId"] = "AAAA".into();
        }),
        ("another type", |it, _| it["type"] = "password".into()),
        ("no response", |it, _| it["response"] = Value::Null),
        ("padding", |it, _| it["id"] = "AA==".into()),
    ];
    for (what, change) in changes {
        let asked = options(&browser, SIGN_IN).await;
        let mut answer = passkey.sign(&asked);
        change(&mut answer, &good);
        refused(&browser, what, &answer).await;
    }

    let other_handle = json!(base64url(&strangers_handle));
    let asked = options(&browser, SIGN_IN).await;
    let answer = passkey.sign_forged(&asked, |it| it.user_handle = other_handle);
    refused(&browser, "another user's handle", &answer).await;
    let asked = options(&browser, SIGN_IN).await;
    let answer = passkey.sign_forged(&asked, |it| it.user_handle = Value::Null);
    refused(&browser, "no handle", &answer).await;
    let asked = options(&app.browser(), SIGN_IN).await;
    refused(&browser, "another browser's challenge", &passkey.sign(&asked)).await;
    let asked = options(&browser, SIGN_IN).await;
    app.advance(Duration::from_mins(10));
    refused(&browser, "too late", &passkey.sign(&asked)).await;
    let asked = options(&owner, SIGN_IN).await;
    let answer = of_stranger.sign(&asked);
    owner.post(SIGN_IN, &answer).await.expect_error(400, "passkey_invalid");

    let asked = options(&browser, SIGN_IN).await;
    let answer = passkey.sign(&asked);
    browser.fork().post(SIGN_IN, &answer).await.expect(200);
    refused(&browser, "a replay", &answer).await;
    refused(&browser, "no JSON of a credential", &json!([])).await;
    let events = owner.get("/api/v1/auth/events").await.json();
    assert!(events.to_string().contains("\"sign_in_failed\""), "their owner is told");
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

async fn refused(browser: &Browser, what: &str, answer: &Value) {
    let answer = browser.post(SIGN_IN, answer).await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (400, "passkey_invalid"), "{what}");
    assert_eq!(browser.me().await, None, "{what}");
}

#[tokio::test]
async fn a_copied_key_is_refused_by_its_counter() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let mut passkey = Passkey::new(ORIGIN);
    passkey.counter = 5;
    let answer = passkey.register(&options(&owner, REGISTER).await);
    owner.post(REGISTER, &answer).await.expect(201);
    sign_in(&app.browser(), &mut passkey).await.expect(200);
    passkey.counter = 5;
    sign_in(&app.browser(), &mut passkey).await.expect_error(400, "passkey_invalid");
    sign_in(&app.browser(), &mut passkey).await.expect(200);
}

#[tokio::test]
async fn a_challenge_of_a_session_counts_in_that_session_alone() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let mut passkey = with_passkey(&owner).await;
    let asked = options(&owner, SIGN_IN).await;
    let other = app.signed_in(ALICE).await;
    other.set_cookie("passkey", &owner.cookie("passkey").unwrap());
    other.post(SIGN_IN, &passkey.sign(&asked)).await.expect_error(400, "passkey_invalid");
    let asked = options(&owner, REGISTER).await;
    app.sign_in(&owner, ALICE).await;
    let answer = Passkey::new(ORIGIN).register(&asked);
    owner.post(REGISTER, &answer).await.expect_error(400, "passkey_invalid");
}

#[tokio::test]
async fn passkey_only_closes_mailed_links_and_needs_two_passkeys_or_one_and_codes() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    passkey_only(&owner, false).await.expect(204);
    passkey_only(&owner, true).await.expect_error(409, "passkeys_missing");
    let mut passkey = with_passkey(&owner).await;
    passkey_only(&owner, true).await.expect_error(409, "passkeys_missing");
    let codes = owner.call(Method::POST, "/api/v1/auth/recovery-codes", None).await.expect(200);
    assert_eq!(codes.json()["codes"].as_array().unwrap().len(), 10);
    passkey_only(&owner, true).await.expect(204);
    app.notice_to(ALICE, "Only passkeys open").await;

    let visitor = app.browser();
    let link = app.link_token(&visitor, ALICE).await;
    visitor.redeem(&link).await.expect_error(403, "passkey_only");
    assert_eq!(visitor.me().await, None);
    sign_in(&visitor, &mut passkey).await.expect(200);

    let id = |listed: Value| listed["passkeys"][0]["id"].as_str().unwrap().to_owned();
    let first = format!("{REGISTER}/{}", id(owner.get(REGISTER).await.json()));
    owner.delete(&first).await.expect_error(409, "passkeys_missing");
    with_passkey(&owner).await;
    owner.delete(&first).await.expect(204);
    passkey_only(&owner, false).await.expect(204);
    app.signed_in(ALICE).await;
}

#[tokio::test]
async fn a_recovery_code_signs_in_once_and_its_owner_is_told() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    with_passkey(&owner).await;
    let make = || owner.call(Method::POST, "/api/v1/auth/recovery-codes", None);
    let void = make().await.expect(200).json()["codes"][0].clone();
    let codes = make().await.expect(200).json()["codes"].clone();
    passkey_only(&owner, true).await.expect(204);
    let recover = |email: &str, code: &Value| {
        let (browser, body) = (app.browser(), json!({ "email": email, "code": code }));
        async move { browser.post("/api/v1/auth/recovery", &body).await }
    };
    for (email, code) in [
        (ALICE, &void),
        ("nobody@example.com", &codes[0]),
        ("no address", &codes[0]),
        (ALICE, &json!("")),
        (ALICE, &json!("aaaa-aaaa-aaaa-aaaa-aaaa-aaaa")),
    ] {
        recover(email, code).await.expect_error(400, "recovery_invalid");
    }
    let entered = recover(ALICE, &codes[0]).await.expect(200).json();
    assert_eq!(entered["user"]["email"], ALICE);
    recover(ALICE, &codes[0]).await.expect_error(400, "recovery_invalid");
    let mail = app.notice_to(ALICE, "A recovery code opened").await;
    assert!(mail.text.contains("Codes left: 9"), "{}", mail.text);
    let mut tries = JoinSet::new();
    for _ in 0..10 {
        let recovering = recover(ALICE, &codes[1]);
        tries.spawn(async move { recovering.await.status.as_u16() });
    }
    let statuses = tries.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn guesses_of_recovery_codes_are_limited_by_address_and_leave_passkeys_alone() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let mut passkey = with_passkey(&owner).await;
    for email in [ALICE, "nobody@example.com"] {
        let guess = json!({ "email": email, "code": "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa" });
        for _ in 0..10 {
            let answer = app.browser().post("/api/v1/auth/recovery", &guess).await;
            answer.expect_error(400, "recovery_invalid");
        }
        let limited = app.browser().post("/api/v1/auth/recovery", &guess).await;
        assert_ne!(limited.expect_error(429, "rate_limited").header("retry-after"), "");
    }
    sign_in(&app.browser(), &mut passkey).await.expect(200);
}

#[tokio::test]
async fn nothing_usable_is_in_the_database_or_redis() {
    let app = TestApp::start().await;
    let owner = app.signed_in(ALICE).await;
    let asked = options(&owner, REGISTER).await;
    let challenge = asked["publicKey"]["challenge"].as_str().unwrap().to_owned();
    let codes = owner.call(Method::POST, "/api/v1/auth/recovery-codes", None).await.json();
    let wanted = json!({ "name": "bot", "scopes": ["portfolio:read"] });
    let token = owner.post("/api/v1/auth/tokens", &wanted).await.expect(201).json();
    let secrets = [
        challenge,
        codes["codes"][0].as_str().unwrap().to_owned(),
        token["token"].as_str().unwrap().to_owned(),
    ];
    let dump = app.dump().await;
    assert!(dump.len() > 10_000);
    for secret in secrets {
        let found = dump.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}
