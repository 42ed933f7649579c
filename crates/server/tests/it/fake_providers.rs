//! Fake providers with scripted responses.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, RawForm, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracera::http::serve::{Serving, serve};
use tracera_guard::SecurityHeaders;
use url::{Url, form_urlencoded};

/// A misbehaviour instead of a response.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// This status and body.
    Says(u16, String),
    /// 302 to this URL.
    Redirects(String),
    /// A body of ten megabytes.
    Floods,
    /// A body that never ends.
    Hangs,
}

impl Reply {
    async fn respond(self) -> Response {
        match self {
            Self::Says(status, body) => {
                (StatusCode::from_u16(status).unwrap(), body).into_response()
            }
            Self::Redirects(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
            Self::Floods => vec![b' '; 10_000_000].into_response(),
            Self::Hangs => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                StatusCode::OK.into_response()
            }
        }
    }
}

type Form = BTreeMap<String, String>;

/// The state of a fake provider.
#[derive(Default)]
pub(crate) struct Script {
    /// The replies that replace the normal response, by path.
    pub(crate) instead: HashMap<&'static str, Reply>,
    /// The requests to each path.
    pub(crate) seen: Vec<(&'static str, Form)>,
    /// The user and the request behind each code. A code works once.
    codes: HashMap<String, (Value, Form)>,
    next_code: u32,
    kid: u32,
    github_token_gate: Option<Arc<Semaphore>>,
}

/// Google, GitHub and Steam on one server.
pub(crate) struct FakeProviders {
    addr: SocketAddr,
    pub(crate) script: Arc<Mutex<Script>>,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Shared {
    base: String,
    script: Arc<Mutex<Script>>,
    key: Arc<EcdsaKeyPair>,
}

pub(crate) const CLIENT_ID: &str = "tracera-client";
pub(crate) const CLIENT_SECRET: &str = "canary-client-secret";

impl FakeProviders {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let shared =
            Shared { base: format!("http://{addr}"), script: script.clone(), key: Arc::new(key) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/login/oauth/access_token", post(github_token))
            .route("/api/user", get(github_user))
            .route("/api/user/emails", get(github_emails))
            .route("/openid/login", post(check_authentication))
            .route("/ISteamUser/GetPlayerSummaries/v2/", get(summaries))
            .with_state(shared);
        let stop = CancellationToken::new();
        let serving = Serving::new(SecurityHeaders::new(), stop.clone());
        tokio::spawn(serve(listener, router, serving));
        Self { addr, script, _stop: stop.drop_guard() }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The variables that make the service use them.
    pub(crate) fn vars(&self) -> Vec<(String, String)> {
        let base = self.base();
        [
            ("GOOGLE_CLIENT_ID", CLIENT_ID.to_owned()),
            ("GOOGLE_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("GOOGLE_ISSUER_URL", base.clone()),
            ("GITHUB_CLIENT_ID", CLIENT_ID.to_owned()),
            ("GITHUB_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("GITHUB_URL", base.clone()),
            ("GITHUB_API_URL", format!("{base}/api")),
            ("STEAM_OPENID_URL", format!("{base}/openid/login")),
            ("STEAM_API_URL", base),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The variables that make the service use them as one more issuer, of this name.
    pub(crate) fn oidc_vars(&self) -> Vec<(String, String)> {
        [
            ("OIDC_ISSUER_URL", self.base()),
            ("OIDC_CLIENT_ID", CLIENT_ID.to_owned()),
            ("OIDC_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("OIDC_NAME", "Traders' Guild".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub(crate) fn instead(&self, path: &'static str, reply: Reply) {
        self.script.lock().unwrap().instead.insert(path, reply);
    }

    /// Makes GitHub wait for a permit before each token response.
    pub(crate) fn hold_github_token(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.script.lock().unwrap().github_token_gate = Some(gate.clone());
        gate
    }

    pub(crate) fn tell_the_truth(&self) {
        self.script.lock().unwrap().instead.clear();
    }

    /// The number of requests to a path.
    pub(crate) fn calls(&self, path: &str) -> usize {
        self.script.lock().unwrap().seen.iter().filter(|(seen, _)| *seen == path).count()
    }

    /// Changes the signing key.
    pub(crate) fn rotate_key(&self) {
        self.script.lock().unwrap().kid += 1;
    }

    /// The callback after the user consents: a code for `person` and the request in `location`.
    pub(crate) fn agree(&self, location: &str, person: Value) -> String {
        let request = query(location);
        assert_eq!(request["response_type_or_code"], "code");
        assert_eq!(request["client_id"], CLIENT_ID);
        let mut script = self.script.lock().unwrap();
        script.next_code += 1;
        let code = format!("code-{}", script.next_code);
        script.codes.insert(code.clone(), (person, request.clone()));
        let callback = Url::parse(&request["redirect_uri"]).unwrap();
        format!("{}?code={code}&state={}", callback.path(), request["state"])
    }
}

/// The query of a URL.
pub(crate) fn query(location: &str) -> Form {
    let mut form: Form = Url::parse(location).unwrap().query_pairs().into_owned().collect();
    let kind = form.get("response_type").cloned().unwrap_or_else(|| "code".to_owned());
    form.insert("response_type_or_code".to_owned(), kind);
    form
}

fn note(shared: &Shared, path: &'static str, body: &[u8]) -> (Form, Option<Reply>) {
    let form: Form = form_urlencoded::parse(body).into_owned().collect();
    let mut script = shared.script.lock().unwrap();
    script.seen.push((path, form.clone()));
    (form, script.instead.get(path).cloned())
}

async fn discovery(State(shared): State<Shared>) -> Response {
    let (_, reply) = note(&shared, "/.well-known/openid-configuration", b"");
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    let base = &shared.base;
    Json(json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/jwks"),
        "userinfo_endpoint": format!("{base}/userinfo"),
    }))
    .into_response()
}

async fn jwks(State(shared): State<Shared>) -> Response {
    let (_, reply) = note(&shared, "/jwks", b"");
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    let point = shared.key.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    let kid = shared.script.lock().unwrap().kid.to_string();
    Json(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y }] }))
        .into_response()
}

/// Redeems a code: once, for the right client and verifier; otherwise `Err`.
fn redeem(shared: &Shared, form: &Form) -> Result<(Value, Form), ()> {
    let mut script = shared.script.lock().unwrap();
    let (person, request) = script.codes.remove(&form["code"]).ok_or(())?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    let right = request["code_challenge"] == challenge
        && request["code_challenge_method"] == "S256"
        && request["redirect_uri"] == form["redirect_uri"]
        && form["client_id"] == CLIENT_ID
        && form["client_secret"] == CLIENT_SECRET;
    right.then_some((person, request)).ok_or(())
}

/// The client's id and secret from `client_secret_basic`, the default of an issuer that lists no
/// methods.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decoded = |part: &str| {
        form_urlencoded::parse(format!("x={part}").as_bytes()).next().map(|(_, value)| value.into())
    };
    Some((decoded(id)?, decoded(secret)?))
}

/// The claims that the ID token lacks, for the holder of its access token.
async fn userinfo(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    note(&shared, "/userinfo", b"");
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let claims = bearer.and_then(|value| value.strip_prefix("Bearer info_"));
    match claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok()) {
        Some(claims) => Json(serde_json::from_slice::<Value>(&claims).unwrap()).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawForm(body): RawForm,
) -> Response {
    let (mut form, reply) = note(&shared, "/token", &body);
    if let Some((id, secret)) = basic(&headers) {
        form.insert("client_id".to_owned(), id);
        form.insert("client_secret".to_owned(), secret);
    }
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    let Ok((person, request)) = redeem(&shared, &form) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })))
            .into_response();
    };
    let now = person["now"].as_i64().unwrap();
    let mut claims = json!({
        "iss": shared.base, "aud": CLIENT_ID, "nonce": request["nonce"], "iat": now,
            "exp": now + 300,
    });
    for (name, value) in person.as_object().unwrap() {
        if name != "userinfo" {
            claims[name] = value.clone();
        }
    }
    let is_complete = person["email"].is_string() && !person["email_verified"].is_null();
    let access_token = match person.get("userinfo") {
        None if is_complete => "canary-access-token".to_owned(),
        _ => {
            let sub = json!({ "sub": person["sub"] });
            let told = person.get("userinfo").unwrap_or(&sub);
            format!("info_{}", URL_SAFE_NO_PAD.encode(told.to_string()))
        }
    };
    let header = json!({ "alg": "ES256", "kid": shared.script.lock().unwrap().kid.to_string() });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = shared.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let id_token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    let tokens =
        json!({ "access_token": access_token, "token_type": "Bearer", "id_token": id_token });
    Json(tokens).into_response()
}

/// Like GitHub: status 200 in any case, and a form unless JSON is requested.
async fn github_token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawForm(body): RawForm,
) -> Response {
    let (form, reply) = note(&shared, "/login/oauth/access_token", &body);
    let gate = shared.script.lock().unwrap().github_token_gate.clone();
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    let answer = match redeem(&shared, &form) {
        Ok((person, _)) => {
            let token = format!("gho_{}", URL_SAFE_NO_PAD.encode(person.to_string()));
            let scope = person["scope"].as_str().unwrap_or("read:user,user:email").to_owned();
            json!({ "access_token": token, "scope": scope, "token_type": "bearer" })
        }
        Err(()) => {
            json!({ "error": "bad_verification_code",
                "error_description": "The code passed is incorrect or expired." })
        }
    };
    if headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json") {
        return Json(answer).into_response();
    }
    let pairs =
        answer.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_response()
}

/// The user that a token belongs to. GitHub refuses requests without a `User-Agent`.
fn github_person(headers: &HeaderMap) -> Result<Value, StatusCode> {
    headers.get(header::USER_AGENT).ok_or(StatusCode::FORBIDDEN)?;
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let token = bearer.strip_prefix("Bearer gho_").ok_or(StatusCode::UNAUTHORIZED)?;
    let person = URL_SAFE_NO_PAD.decode(token).map_err(|_| StatusCode::UNAUTHORIZED)?;
    serde_json::from_slice(&person).map_err(|_| StatusCode::UNAUTHORIZED)
}

async fn github_user(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let (_, reply) = note(&shared, "/api/user", b"");
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    match github_person(&headers) {
        Ok(person) => Json(json!({
            "id": person["id"], "login": "octocat", "name": null, "email": "public@example.com",
            "avatar_url": "https://avatars.example/1",
        }))
        .into_response(),
        Err(status) => status.into_response(),
    }
}

/// Two per page, whatever is requested.
async fn github_emails(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let (_, reply) = note(&shared, "/api/user/emails", b"");
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    let person = match github_person(&headers) {
        Ok(person) => person,
        Err(status) => return status.into_response(),
    };
    // An OAuth app without the scope cannot read addresses; a GitHub App has no scopes at all.
    let scope = person["scope"].as_str().unwrap_or("user:email");
    if !scope.is_empty() && !scope.contains("user:email") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let all = person["emails"].as_array().unwrap();
    let page: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
    let emails: Vec<_> = all.iter().skip(2 * (page - 1)).take(2).collect();
    let more = all.len() > 2 * page;
    let link = more
        .then(|| [(header::LINK, format!("<{}/x?page={}>; rel=\"next\"", shared.base, page + 1))]);
    (link, Json(json!(emails))).into_response()
}

async fn check_authentication(State(shared): State<Shared>, RawForm(body): RawForm) -> Response {
    let (form, reply) = note(&shared, "/openid/login", &body);
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    let valid = form["openid.mode"] == "check_authentication" && form.len() == 10;
    format!("ns:http://specs.openid.net/auth/2.0\nis_valid:{valid}\n").into_response()
}

async fn summaries(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let (_, reply) = note(&shared, "/ISteamUser/GetPlayerSummaries/v2/", b"");
    if let Some(reply) = reply {
        return reply.respond().await;
    }
    if headers.get("x-webapi-key").is_none() {
        return StatusCode::FORBIDDEN.into_response();
    }
    Json(json!({ "response": { "players": [{
        "steamid": query["steamids"], "personaname": "Robin <b>",
            "avatarfull": "https://avatars.example/r.jpg",
    }] } }))
    .into_response()
}
