//! Sessions bound to a device, as a browser with a key sees them.
#![cfg(all(feature = "device-binding", feature = "embedded"))]
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tower::ServiceExt;
use tracera_session::{
    Clock, CurrentUser, DeviceBinding, DeviceEvent, DeviceEventKind, EmbeddedStore, GRACE, KeyRing,
    NearCache, OFFER_LIFETIME, Session, SessionConfig, SessionError, SessionLayer, Sessions,
    SignIn, Timestamp, UserId,
};

const LIFETIME: Duration = Duration::from_secs(600);

struct Server {
    app: Router,
    sessions: Sessions,
    clock: Clock,
}

impl Server {
    fn new(near_cache: NearCache) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let config = SessionConfig::default()
            .clock(clock.clone())
            .near_cache(near_cache)
            .device_binding(DeviceBinding::new(LIFETIME).exclude("/assets"));
        let keys = KeyRing::new(b"0123456789abcdef0123456789abcdef").unwrap();
        let sessions = Sessions::new(EmbeddedStore::in_memory().unwrap(), keys, config);
        let mut app = Router::new()
            .route("/login", post(login))
            .route("/logout", post(async |session: Session| session.sign_out().await))
            .route("/rotate", post(async |session: Session| session.rotate().await))
            .route("/me", get(async |CurrentUser(user): CurrentUser| format!("{user:?}")))
            .route("/visitor", get(async |user: Option<CurrentUser>| user.is_some().to_string()))
            .layer(SessionLayer::new(sessions.clone()));
        for (path, route) in sessions.device_routes() {
            app = app.route(path, route);
        }
        Self { app, sessions, clock }
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

async fn login(session: Session) -> Result<&'static str, SessionError> {
    session.sign_in(SignIn::new(UserId::new("ada")?, "password")).await?;
    Ok("welcome")
}

/// A browser with a key and cookies.
struct Browser {
    key: EcdsaKeyPair,
    jar: Vec<(String, String)>,
    offer: Option<String>,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

fn jwk(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
}

fn sign(key: &EcdsaKeyPair, header: &Value, payload: &Value) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(payload.to_string()));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(signature))
}

impl Browser {
    fn new() -> Self {
        Self { key: new_key(), jar: Vec::new(), offer: None }
    }

    /// Another program with copies of these cookies and a different key.
    fn copied(&self, names: &[&str]) -> Self {
        let jar = self.jar.iter().filter(|(name, _)| names.contains(&&**name)).cloned().collect();
        Self { jar, ..Self::new() }
    }

    async fn ask(
        &mut self,
        server: &Server,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response {
        let cookies: Vec<_> =
            self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder().method(method).uri(path);
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = server.app.clone().oneshot(request).await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.jar.retain(|(kept, _)| kept != name);
            if !cookie.contains("Max-Age=0") {
                self.jar.push((name.to_owned(), value.to_owned()));
            }
        }
        let offer = response.headers().get("secure-session-registration");
        self.offer = offer.map(|offer| offer.to_str().unwrap().to_owned());
        response
    }

    async fn sign_in(&mut self, server: &Server) -> String {
        assert_eq!(self.ask(server, "POST", "/login", &[]).await.status(), StatusCode::OK);
        let offer = self.offer.clone().expect("a sign-in offers the registration");
        assert!(offer.starts_with(r#"(ES256);path="/device/register";challenge=""#), "{offer}");
        quoted(&offer, "challenge=").to_owned()
    }

    fn registration(&self, challenge: &str) -> String {
        let header = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(&self.key) });
        sign(&self.key, &header, &json!({ "jti": challenge }))
    }

    async fn register(&mut self, server: &Server, challenge: &str) -> Response {
        let proof = self.registration(challenge);
        self.ask(server, "POST", "/device/register", &[("secure-session-response", &proof)]).await
    }

    /// Signs in, registers and shows the device cookie once.
    async fn bound(server: &Server) -> (Self, String) {
        let mut browser = Self::new();
        let challenge = browser.sign_in(server).await;
        let response = browser.register(server, &challenge).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(event(&response), Some(DeviceEventKind::Registered));
        assert!(!response.headers().contains_key("secure-session-challenge"));
        let instructions = body(response).await;
        assert_eq!(instructions["refresh_url"], "/device/refresh");
        assert_eq!(instructions["credentials"][0]["name"], "__Host-bound");
        assert_eq!(browser.me(server).await, StatusCode::OK);
        server.pass(GRACE);
        (browser, instructions["session_identifier"].as_str().unwrap().to_owned())
    }

    async fn me(&mut self, server: &Server) -> StatusCode {
        self.ask(server, "GET", "/me", &[]).await.status()
    }

    /// Asks for a challenge, as a browser does that has none.
    async fn challenge(&mut self, server: &Server, id: &str) -> String {
        let headers = [("sec-secure-session-id", id)];
        let response = self.ask(server, "POST", "/device/refresh", &headers).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        challenge_in(response.headers(), id)
    }

    async fn prove(&mut self, server: &Server, id: &str, challenge: &str) -> Response {
        let header = json!({ "alg": "ES256", "typ": "dbsc+jwt" });
        let proof = sign(&self.key, &header, &json!({ "jti": challenge }));
        self.refresh(server, id, &proof).await
    }

    async fn refresh(&mut self, server: &Server, id: &str, proof: &str) -> Response {
        let headers = [("sec-secure-session-id", id), ("secure-session-response", proof)];
        self.ask(server, "POST", "/device/refresh", &headers).await
    }
}

fn quoted<'a>(text: &'a str, before: &str) -> &'a str {
    let begin = text.find(before).unwrap() + before.len() + 1;
    text[begin..].split('"').next().unwrap()
}

fn challenge_in(headers: &HeaderMap, id: &str) -> String {
    let challenge = headers["secure-session-challenge"].to_str().unwrap();
    assert!(challenge.ends_with(&format!(r#";id="{id}""#)), "{challenge}");
    quoted(challenge, "").to_owned()
}

fn event(response: &Response) -> Option<DeviceEventKind> {
    response.extensions().get::<DeviceEvent>().map(|event| event.kind)
}

async fn body(response: Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), 9_999).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_copied_session_cookie_opens_nothing_and_the_session_lives_on() {
    for near_cache in [NearCache::default(), NearCache::Off] {
        let server = Server::new(near_cache);
        let (mut owner, _) = Browser::bound(&server).await;
        let mut thief = owner.copied(&["__Host-session"]);
        let response = thief.ask(&server, "GET", "/me", &[]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(!response.headers().contains_key(header::SET_COOKIE), "the cookie stays");
        assert_eq!(body(response).await["code"], "device_proof_required");
        let response = thief.ask(&server, "GET", "/visitor", &[]).await;
        assert_eq!(axum::body::to_bytes(response.into_body(), 9).await.unwrap(), "false");
        assert_eq!(owner.me(&server).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn with_the_device_cookie_a_copy_works_until_that_ends() {
    let server = Server::new(NearCache::default());
    let (owner, id) = Browser::bound(&server).await;
    let mut thief = owner.copied(&["__Host-session", "__Host-bound"]);
    assert_eq!(thief.me(&server).await, StatusCode::OK);
    server.pass(LIFETIME);
    assert_eq!(thief.me(&server).await, StatusCode::UNAUTHORIZED);
    let mut owner = owner;
    let challenge = owner.challenge(&server, &id).await;
    assert_eq!(owner.prove(&server, &id, &challenge).await.status(), StatusCode::OK);
    assert_eq!(owner.me(&server).await, StatusCode::OK);
}

#[tokio::test]
async fn signing_out_clears_the_device_cookie_too() {
    let server = Server::new(NearCache::default());
    let (mut browser, _) = Browser::bound(&server).await;
    let copy = browser.copied(&["__Host-session", "__Host-bound"]);
    assert_eq!(copy.jar.len(), 2);
    assert_eq!(browser.ask(&server, "POST", "/logout", &[]).await.status(), StatusCode::OK);
    assert_eq!(browser.jar, []);
    assert_eq!({ copy }.me(&server).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_refresh_gives_a_new_cookie_and_the_next_challenge() {
    let server = Server::new(NearCache::default());
    let (mut browser, id) = Browser::bound(&server).await;
    let challenge = browser.challenge(&server, &id).await;
    let before = browser.jar.clone();
    let response = browser.prove(&server, &id, &challenge).await;
    assert_eq!(
        (response.status(), event(&response)),
        (StatusCode::OK, Some(DeviceEventKind::Refreshed))
    );
    assert_ne!(browser.jar, before, "no value comes twice");
    let next = challenge_in(response.headers(), &id);
    // The same proof may arrive twice, as after a lost answer.
    assert_eq!(browser.prove(&server, &id, &challenge).await.status(), StatusCode::OK);
    server.pass(LIFETIME);
    assert_eq!(browser.prove(&server, &id, &next).await.status(), StatusCode::OK);
    server.pass(LIFETIME + Duration::from_secs(301));
    let response = browser.prove(&server, &id, &next).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN, "an old challenge is asked for anew");
    let next = challenge_in(response.headers(), &id);
    assert_eq!(browser.prove(&server, &id, &next).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_proof_by_another_key_ends_the_session_everywhere() {
    let server = Server::new(NearCache::default());
    let (mut owner, id) = Browser::bound(&server).await;
    let mut thief = owner.copied(&["__Host-session", "__Host-bound"]);
    let challenge = thief.challenge(&server, &id).await;
    let response = thief.prove(&server, &id, &challenge).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(event(&response), Some(DeviceEventKind::OtherDevice));
    assert!(thief.jar.is_empty(), "both cookies are cleared");
    assert_eq!(owner.me(&server).await, StatusCode::UNAUTHORIZED);
    let user = UserId::new("ada").unwrap();
    assert!(server.sessions.list(&user).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_binding_counts_from_the_first_device_cookie_and_after_the_grace() {
    let server = Server::new(NearCache::default());
    let mut browser = Browser::new();
    let challenge = browser.sign_in(&server).await;
    assert_eq!(browser.register(&server, &challenge).await.status(), StatusCode::OK);
    // The answer was lost: the browser has no device cookie and is accepted without one for good.
    let mut without = browser.copied(&["__Host-session"]);
    server.pass(Duration::from_secs(3600));
    assert_eq!(without.me(&server).await, StatusCode::OK);

    let server = Server::new(NearCache::default());
    let mut browser = Browser::new();
    let challenge = browser.sign_in(&server).await;
    let mut under_way = browser.copied(&["__Host-session"]);
    assert_eq!(browser.register(&server, &challenge).await.status(), StatusCode::OK);
    server.pass(Duration::from_secs(4));
    assert_eq!(browser.me(&server).await, StatusCode::OK);
    server.pass(Duration::from_secs(5));
    assert_eq!(under_way.me(&server).await, StatusCode::OK);
    server.pass(Duration::from_secs(1));
    assert_eq!(under_way.me(&server).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_a_sign_in_offers_and_a_session_registers_once() {
    let server = Server::new(NearCache::default());
    let mut browser = Browser::new();
    let challenge = browser.sign_in(&server).await;
    browser.me(&server).await;
    assert_eq!(browser.offer, None);
    browser.ask(&server, "POST", "/rotate", &[]).await;
    assert_eq!(browser.offer, None);

    // A challenge is valid for the session it was offered to, and expires.
    let mut other = Browser::new();
    let others = other.sign_in(&server).await;
    assert_eq!(browser.register(&server, &others).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(browser.register(&server, &challenge).await.status(), StatusCode::BAD_REQUEST);
    server.pass(OFFER_LIFETIME);
    assert_eq!(other.register(&server, &others).await.status(), StatusCode::BAD_REQUEST);

    let (mut bound, _) = Browser::bound(&server).await;
    let mut again = bound.copied(&["__Host-session", "__Host-bound"]);
    let challenge = "x".repeat(67);
    assert_eq!(again.register(&server, &challenge).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(bound.me(&server).await, StatusCode::OK);
}

#[tokio::test]
async fn a_new_id_keeps_the_binding_and_a_new_sign_in_begins_a_new_one() {
    let server = Server::new(NearCache::default());
    let (mut browser, id) = Browser::bound(&server).await;
    browser.ask(&server, "POST", "/rotate", &[]).await;
    assert_eq!(browser.me(&server).await, StatusCode::OK);
    let mut thief = browser.copied(&["__Host-session"]);
    assert_eq!(thief.me(&server).await, StatusCode::UNAUTHORIZED);
    let challenge = browser.challenge(&server, &id).await;
    assert_eq!(browser.prove(&server, &id, &challenge).await.status(), StatusCode::OK);

    // The first device session is refreshed beside the cookie of the second sign-in.
    browser.sign_in(&server).await;
    let response = browser.prove(&server, &id, &challenge).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(browser.me(&server).await, StatusCode::OK, "nothing has ended");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of forgeries")]
async fn forged_proofs_and_registrations_change_nothing() {
    let server = Server::new(NearCache::default());
    let mut browser = Browser::new();
    let challenge = browser.sign_in(&server).await;
    let good = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(&browser.key) });
    let payload = json!({ "jti": challenge });
    let with = |name: &str, value: Value| {
        let mut header = good.clone();
        header[name] = value;
        header
    };
    let key = |name: &str, value: Value| {
        let mut key = jwk(&browser.key);
        key[name] = value;
        with("jwk", key)
    };
    let without = |name: &str| {
        let mut header = good.clone();
        header.as_object_mut().unwrap().remove(name);
        header
    };
    let point = jwk(&browser.key);
    let x = point["x"].as_str().unwrap();
    let headers = [
        with("alg", json!("none")),
        with("alg", json!("HS256")),
        with("alg", json!("RS256")),
        with("alg", json!("es256")),
        with("alg", json!(["ES256"])),
        with("typ", json!("JWT")),
        with("typ", Value::Null),
        with("crit", json!(["exp"])),
        with("crit", json!([])),
        with("jwk", Value::Null),
        with("jwk", json!({})),
        with("jwk", jwk(&new_key())),
        key("kty", json!("oct")),
        key("kty", json!("RSA")),
        key("crv", json!("P-384")),
        key("crv", json!("secp256k1")),
        key("x", json!("")),
        key("x", json!(format!("{x}="))),
        key("x", json!(format!("{x}AA"))),
        key("x", json!(encode([0; 32]))),
        key("y", json!(encode([0xff; 32]))),
        key("y", json!(x)),
        key("y", json!(7)),
        without("alg"),
        without("typ"),
        without("jwk"),
        json!([]),
        json!("ES256"),
    ];
    let mut forged: Vec<_> =
        headers.iter().map(|header| sign(&browser.key, header, &payload)).collect();
    for payload in [
        json!({}),
        json!({ "jti": "" }),
        json!({ "jti": 1 }),
        json!({ "jti": null }),
        json!({ "jti": format!("{challenge}=") }),
        json!({ "jti": challenge.to_lowercase() }),
        json!([challenge]),
    ] {
        forged.push(sign(&browser.key, &good, &payload));
    }
    let whole = sign(&browser.key, &good, &payload);
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    forged.extend([
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{signed}.{}", encode([0; 64])),
        format!("{signed}.{}", &signature[2..]),
        format!("{signed}.{signature}="),
        format!("{whole}.{signature}"),
        format!("\"{whole}"),
        format!("{}{whole}", "e".repeat(5_000)),
        format!("{}.{signature}", signed.replace('.', "=.")),
    ]);
    for proof in &forged {
        let headers = [("secure-session-response", &**proof)];
        let response = browser.ask(&server, "POST", "/device/register", &headers).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{proof}");
    }
    let headers = [("secure-session-response", &*whole), ("secure-session-response", &*whole)];
    let response = browser.ask(&server, "POST", "/device/register", &headers).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "one proof, in one line");

    // In quotes, as the specification demands, it is the same proof.
    let quoted = format!("\"{whole}\"");
    let headers = [("secure-session-response", &*quoted)];
    let response = browser.ask(&server, "POST", "/device/register", &headers).await;
    assert_eq!(response.status(), StatusCode::OK);
    let id = body(response).await["session_identifier"].as_str().unwrap().to_owned();

    // A proof that cannot be read ends nothing.
    for proof in ["", "..", "a.b.c", signed] {
        let response = browser.refresh(&server, &id, proof).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{proof}");
    }
    // A registration's challenge is invalid for a refresh.
    assert_eq!(browser.prove(&server, &id, &challenge).await.status(), StatusCode::FORBIDDEN);
    for other in ["", "AAAAAAAAAAAA", "nonsense"] {
        let challenge = browser.challenge(&server, &id).await;
        let response = browser.prove(&server, other, &challenge).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{other}");
    }
    assert_eq!(browser.me(&server).await, StatusCode::OK);
}

#[tokio::test]
async fn who_is_not_signed_in_is_told_so() {
    let server = Server::new(NearCache::default());
    let mut nobody = Browser::new();
    for path in ["/device/register", "/device/refresh"] {
        let status = nobody.ask(&server, "POST", path, &[]).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn the_list_says_which_sessions_are_bound() {
    let server = Server::new(NearCache::default());
    let (_bound, _) = Browser::bound(&server).await;
    Browser::new().sign_in(&server).await;
    let user = UserId::new("ada").unwrap();
    assert_eq!(server.sessions.list(&user).await.unwrap().len(), 2);
    assert_eq!(server.sessions.device_bound(&user).await.unwrap().len(), 1);
}
