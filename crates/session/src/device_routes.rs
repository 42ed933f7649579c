//! The two routes of the device protocol.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::config::DeviceBinding;
use crate::cookie;
use crate::device::proof::{self, DeviceKey, ID_HEADER, PROOF_HEADER, Proof};
use crate::device::seal::Purpose;
use crate::device::{
    BOUND_FIELD, Bound, CHALLENGE_EXTRA, COOKIE_NAME, DeviceId, KEY_FIELD, REGISTER_PATH, seal,
};
use crate::ended::Ended;
use crate::error::SessionError;
use crate::inner::Inner;
use crate::session::{Live, Session, State};
use crate::sessions::Sessions;
use crate::store::{FieldName, FieldOp, SessionStore};
use crate::token::{self, Handle, UserId};

/// The path at which browsers prove possession of the key.
const REFRESH_PATH: &str = "/device/refresh";

const CHALLENGE_HEADER: HeaderName = HeaderName::from_static("secure-session-challenge");

/// An event of a device session. The routes put it into the response's extensions, for the
/// application's log or a notice to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEvent {
    /// The user of the session.
    pub user: UserId,
    /// The session's public name.
    pub session: Handle,
    /// The kind of event.
    pub kind: DeviceEventKind,
}

/// The kinds of events of a device session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceEventKind {
    /// A key was registered.
    Registered,
    /// The device proved itself.
    Refreshed,
    /// A proof with this session's cookie came from another device. The session was ended.
    OtherDevice,
}

/// Why a browser is given no device cookie.
enum Refusal {
    /// 400: the browser drops its device session; the session lives on.
    Malformed,
    /// 403: the browser retries with a proof over this challenge.
    Challenge(HeaderValue),
    /// 401: no secret of the ring signed the cookie, which is left alone.
    NotOurs,
    /// 401: the session has ended.
    Ended,
    /// 503: the session was rotated. The browser retries with the new cookie.
    Rotated,
    /// 401: the proof came from another device, so the session was ended.
    OtherDevice(DeviceEvent),
    /// 503: the store did not answer. The browser retries.
    Unavailable(SessionError),
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Unauthenticated => Self::Ended,
            error => Self::Unavailable(error),
        }
    }
}

impl Sessions {
    /// The two routes of the protocol. Mount them where no layer demands a CSRF token: the signed
    /// proof takes its place. Empty without
    /// [`SessionConfig::device_binding`](crate::SessionConfig::device_binding).
    pub fn device_routes<S: Clone + Send + Sync + 'static>(
        &self,
    ) -> Vec<(&'static str, MethodRouter<S>)> {
        if self.inner.config.device.is_none() {
            return Vec::new();
        }
        let (registering, refreshing) = (self.clone(), self.clone());
        let register = post(move |headers: HeaderMap| {
            let sessions = registering.clone();
            async move { sessions.register_device(&headers).await }
        });
        let refresh = post(move |headers: HeaderMap| {
            let sessions = refreshing.clone();
            async move { sessions.refresh_device(&headers).await }
        });
        vec![(REGISTER_PATH, register), (REFRESH_PATH, refresh)]
    }

    /// The answer to `POST /device/register`, where [`Sessions::device_routes`] does not fit: for
    /// an application with its own table of routes, or another framework. 404 without a device
    /// binding.
    pub async fn register_device(&self, headers: &HeaderMap) -> Response {
        if self.inner.config.device.is_none() {
            return StatusCode::NOT_FOUND.into_response();
        }
        answer(&self.inner, register(&self.inner, headers).await)
    }

    /// The answer to `POST /device/refresh`; see [`Sessions::register_device`].
    pub async fn refresh_device(&self, headers: &HeaderMap) -> Response {
        if self.inner.config.device.is_none() {
            return StatusCode::NOT_FOUND.into_response();
        }
        answer(&self.inner, refresh(&self.inner, headers).await)
    }
}

/// A request's session and the key it is bound to, whatever device the request shows. Reads the
/// store, past the near-cache.
async fn open(
    inner: &Arc<Inner>,
    headers: &HeaderMap,
) -> Result<(Session, Option<Vec<u8>>), Refusal> {
    let values = cookie::values(headers, inner.cookie.name());
    let genuine = cookie::lone(values.filter_map(|value| token::open(&inner.keys, value)));
    let id = genuine.ok_or(Refusal::NotOurs)?;
    let mut names = inner.config.preload.clone();
    names.push(FieldName::reserved(KEY_FIELD));
    let stored = inner.store.load(&id, &names).await.map_err(SessionError::from)?;
    let snapshot = inner.judge(&id, stored).map_err(|ended| match ended {
        // The browser has the newer cookie by the time it retries.
        Ended::Rotated => Refusal::Rotated,
        _ => Refusal::Ended,
    })?;
    let key = snapshot.values().last().flatten().map(<[u8]>::to_vec);
    let state = State::live(Live::presented(id, snapshot, || None, inner));
    Ok((Session::new(inner.clone(), state), key))
}

/// The device session that got a new cookie.
struct Renewed {
    id: DeviceId,
    event: DeviceEvent,
}

async fn register(inner: &Arc<Inner>, headers: &HeaderMap) -> Result<Renewed, Refusal> {
    let (session, _) = open(inner, headers).await?;
    let (user, handle) = (session.user()?, session.handle()?);
    let proof = proof::text(headers, PROOF_HEADER).and_then(Proof::parse);
    let proof = proof.ok_or(Refusal::Malformed)?;
    let key = proof.key.filter(|key| key.has_signed(&proof)).ok_or(Refusal::Malformed)?;
    let offer = seal::Binding { purpose: Purpose::Registration, of: handle.as_bytes() };
    offer
        .end_of(&inner.keys, &proof.challenge)
        .filter(|end| inner.now() < *end)
        .ok_or(Refusal::Malformed)?;
    let id = DeviceId::of(&key);
    let bound = Bound { id, counts_from: None };
    let is_new = session
        .set_together(
            (FieldName::reserved(BOUND_FIELD), FieldOp::SetIfAbsent(bound.encode())),
            (FieldName::reserved(KEY_FIELD), FieldOp::SetIfAbsent(key.as_bytes().to_vec())),
        )
        .await?;
    if !is_new {
        return Err(Refusal::Malformed);
    }
    let kind = DeviceEventKind::Registered;
    Ok(Renewed { id, event: DeviceEvent { user, session: handle, kind } })
}

async fn refresh(inner: &Arc<Inner>, headers: &HeaderMap) -> Result<Renewed, Refusal> {
    let (session, key) = open(inner, headers).await?;
    let (user, handle) = (session.user()?, session.handle()?);
    let key = key.as_deref().and_then(DeviceKey::from_bytes).ok_or(Refusal::Malformed)?;
    let id = DeviceId::of(&key);
    // After a second sign-in, a browser refreshes the first device session with the cookie of the
    // second session. That is no theft.
    if proof::text(headers, ID_HEADER) != Some(&*id.to_string()) {
        return Err(Refusal::Malformed);
    }
    if !headers.contains_key(PROOF_HEADER) {
        return Err(Refusal::Challenge(challenge(inner, id)));
    }
    let proof = proof::text(headers, PROOF_HEADER).and_then(Proof::parse);
    let proof = proof.ok_or(Refusal::Malformed)?;
    let event = |kind| DeviceEvent { user, session: handle, kind };
    if !key.has_signed(&proof) {
        session.sign_out().await?;
        return Err(Refusal::OtherDevice(event(DeviceEventKind::OtherDevice)));
    }
    let end = id.binding(Purpose::Refresh).end_of(&inner.keys, &proof.challenge);
    if end.is_none_or(|end| inner.now() >= end) {
        return Err(Refusal::Challenge(challenge(inner, id)));
    }
    Ok(Renewed { id, event: event(DeviceEventKind::Refreshed) })
}

/// The header that asks for a proof.
fn challenge(inner: &Inner, id: DeviceId) -> HeaderValue {
    let lifetime = device(inner).proof_lifetime + CHALLENGE_EXTRA;
    let seal = id.binding(Purpose::Refresh).seal(&inner.keys, inner.now().plus(lifetime));
    HeaderValue::try_from(format!(r#""{seal}";id="{id}""#)).expect("both are base64url")
}

fn device(inner: &Inner) -> &DeviceBinding {
    inner.config.device.as_ref().expect("the routes are there with a device binding alone")
}

fn answer(inner: &Inner, outcome: Result<Renewed, Refusal>) -> Response {
    let mut response = match outcome {
        Ok(Renewed { id, event }) => {
            let mut response = Json(instructions(inner, id)).into_response();
            let headers = response.headers_mut();
            headers.insert(header::SET_COOKIE, set_cookie(inner, id));
            // The browser does not know the id before it has read the first instructions.
            if event.kind == DeviceEventKind::Refreshed {
                headers.insert(CHALLENGE_HEADER, challenge(inner, id));
            }
            response.extensions_mut().insert(event);
            response
        }
        Err(Refusal::Malformed) => refused(StatusCode::BAD_REQUEST, "device_proof_invalid"),
        Err(Refusal::Challenge(challenge)) => {
            let mut response = refused(StatusCode::FORBIDDEN, "device_proof_required");
            response.headers_mut().insert(CHALLENGE_HEADER, challenge);
            response
        }
        Err(Refusal::NotOurs) => without_device(),
        Err(Refusal::Ended) => ended(inner),
        Err(Refusal::Rotated) => {
            let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Err(Refusal::OtherDevice(event)) => {
            let mut response = ended(inner);
            response.extensions_mut().insert(event);
            response
        }
        Err(Refusal::Unavailable(error)) => error.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn without_device() -> Response {
    let mut response = refused(StatusCode::UNAUTHORIZED, "unauthenticated");
    response.headers_mut().append(header::SET_COOKIE, crate::device::clear_cookie());
    response
}

fn ended(inner: &Inner) -> Response {
    let mut response = without_device();
    response.headers_mut().append(header::SET_COOKIE, inner.cookie.clear());
    response
}

fn refused(status: StatusCode, code: &str) -> Response {
    let sentence = match status {
        StatusCode::FORBIDDEN => "prove that this is the device that signed in",
        StatusCode::UNAUTHORIZED => "please sign in",
        StatusCode::SERVICE_UNAVAILABLE => "the session has just been renewed, please try again",
        _ => "the proof of the device is not one of this session",
    };
    (status, Json(json!({ "error": sentence, "code": code }))).into_response()
}

fn set_cookie(inner: &Inner, id: DeviceId) -> HeaderValue {
    let lifetime = device(inner).proof_lifetime;
    let value = id.binding(Purpose::Cookie).seal(&inner.keys, inner.now().plus(lifetime));
    let line = format!(
        "{COOKIE_NAME}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={}; Secure",
        lifetime.as_secs()
    );
    HeaderValue::try_from(line).expect("a seal is base64url")
}

/// The session instructions for the browser, as the protocol defines them.
fn instructions(inner: &Inner, id: DeviceId) -> serde_json::Value {
    let excluded = device(inner)
        .excluded
        .iter()
        .map(|path| json!({ "type": "exclude", "domain": "*", "path": path }));
    json!({
        "session_identifier": id.to_string(),
        "refresh_url": REFRESH_PATH,
        "scope": {
            "include_site": false,
            "scope_specification": excluded.collect::<Vec<_>>(),
        },
        "credentials": [{
            "type": "cookie",
            "name": COOKIE_NAME,
            "attributes": "Path=/; Secure; HttpOnly; SameSite=Lax",
        }],
    })
}
