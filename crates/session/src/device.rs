//! Sessions bound to the device that signed in: a copied cookie alone opens nothing.
//!
//! The protocol is Device Bound Session Credentials of the W3C (working draft of February 2026).
//! The browser makes a key for each session, keeps the private key where malware cannot copy it,
//! and proves its possession every few minutes. Browsers without the protocol notice nothing.
//!
//! 1. Only the answer to a sign-in offers the registration. Its challenge is for that session alone
//!    and expires after [`OFFER_LIFETIME`].
//! 2. A session has one key, for good. Registering again changes nothing.
//! 3. The binding takes effect at the first request with the device cookie, but never within
//!    [`GRACE`] of the registration. So a lost answer locks nobody out.
//! 4. From then on a request with the session's cookie but without the device cookie is
//!    [`SessionError::DeviceProofMissing`](crate::SessionError::DeviceProofMissing). The session
//!    lives on.
//! 5. The device cookie is a MAC over key, expiry and a nonce. Checking it reads no store.
//! 6. A proof by another key ends the session: somebody has a copy of its cookie.
//!
//! **Deployments.** Proxies must pass `Secure-Session-*` and `Sec-Secure-Session-Id` in both
//! directions. Browsers register over https only.

pub(crate) mod proof;
pub(crate) mod seal;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::cookie;
use crate::inner::Inner;
use crate::keyring::KeyRing;
use crate::snapshot::Snapshot;
use crate::store::{FieldName, FieldOp};
use crate::token::Handle;
use proof::DeviceKey;
use seal::{Binding, Purpose};

/// How long a browser has to register after the sign-in that offered it.
pub const OFFER_LIFETIME: Duration = Duration::from_secs(300);

/// How long after its registration a session is accepted without the device cookie, because
/// requests may be under way.
pub const GRACE: Duration = Duration::from_secs(10);

/// How much longer than the device cookie a challenge lives, so that a browser that kept the
/// challenge signs only once.
pub(crate) const CHALLENGE_EXTRA: Duration = Duration::from_secs(300);

/// The header set by [`offer`].
pub(crate) const OFFER_HEADER: HeaderName = HeaderName::from_static("secure-session-registration");

/// The path at which browsers register a key.
pub(crate) const REGISTER_PATH: &str = "/device/register";

/// The cookie that a proof renews.
pub(crate) const COOKIE_NAME: &str = "__Host-bound";

/// Both coordinates of the key, as the browser sent them.
pub(crate) const KEY_FIELD: &str = "DEVICE";
/// The device session's id (9 bytes) and the time at which the binding takes effect, in
/// milliseconds since the Unix epoch (6 bytes). The time is 0 until a request shows the device
/// cookie. Preloaded with each session.
pub(crate) const BOUND_FIELD: &str = "BOUND";

/// The data field that is read with each session.
pub(crate) fn preloaded() -> FieldName {
    FieldName::reserved(BOUND_FIELD)
}

/// The proof of its session's device in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No proof is needed: the session has no key, or its binding is not in effect yet.
    Unbound,
    /// The first request with the device cookie; the binding takes effect now.
    Shown(Bound),
    /// The device cookie is valid.
    Proved,
    /// The binding is in effect, and there is no valid device cookie.
    Missing,
}

/// The field [`BOUND_FIELD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) id: DeviceId,
    pub(crate) counts_from: Option<Timestamp>,
}

/// The id of a device session, which the browser knows: a digest of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceId([u8; 9]);

impl DeviceId {
    pub(crate) fn of(key: &DeviceKey) -> Self {
        let digest = Sha256::new()
            .chain_update(b"tracera-session/1 device")
            .chain_update(key.as_bytes())
            .finalize();
        Self(*digest.first_chunk().expect("SHA-256 has 32 bytes"))
    }

    pub(crate) fn binding(&self, purpose: Purpose) -> Binding<'_> {
        Binding { purpose, of: &self.0 }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Bound {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (id, from) = bytes.split_first_chunk::<9>()?;
        let from = seal::read_end(*from.first_chunk::<6>()?);
        Some(Self { id: DeviceId(*id), counts_from: (from.as_millis() != 0).then_some(from) })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let from = self.counts_from.unwrap_or(Timestamp::from_millis(0));
        [&self.id.0[..], &seal::end_bytes(from)].concat()
    }

    /// The change that keeps it.
    pub(crate) fn written(&self) -> (FieldName, FieldOp) {
        (preloaded(), FieldOp::Set(self.encode()))
    }
}

/// Whether the device cookie `cookie` proves the session's device.
pub(crate) fn standing(inner: &Inner, session: &Snapshot, cookie: Option<&[u8]>) -> Standing {
    let Some(device) = &inner.config.device else { return Standing::Unbound };
    // The device's field is the last of the preloaded ones.
    let at = inner.config.preload.len() - 1;
    let bound = session.values().nth(at).flatten().and_then(Bound::parse);
    let Some(bound) = bound else { return Standing::Unbound };
    let now = inner.now();
    let end = cookie
        .and_then(|cookie| bound.id.binding(Purpose::Cookie).end_of(&inner.keys, cookie))
        .filter(|end| now < *end);
    match (end, bound.counts_from) {
        (Some(_), Some(_)) => Standing::Proved,
        (Some(end), None) => {
            let lifetime = device.proof_lifetime;
            // The cookie holds only its expiry: its age is its lifetime less the time left.
            let age = lifetime.saturating_sub(end.since(now));
            let grace_left = GRACE.saturating_sub(age);
            Standing::Shown(Bound { counts_from: Some(now.plus(grace_left)), ..bound })
        }
        (None, Some(from)) if now >= from => Standing::Missing,
        (None, _) => Standing::Unbound,
    }
}

/// The device cookie of a request.
pub(crate) fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    cookie::lone(cookie::values(headers, COOKIE_NAME))
}

/// The `Set-Cookie` that makes the browser forget the device cookie.
pub(crate) fn clear_cookie() -> HeaderValue {
    HeaderValue::from_static("__Host-bound=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; Secure")
}

/// The header by which the answer to a sign-in offers the registration.
pub(crate) fn offer(keys: &KeyRing, session: Handle, now: Timestamp) -> HeaderValue {
    let of = session.as_bytes();
    let challenge =
        Binding { purpose: Purpose::Registration, of }.seal(keys, now.plus(OFFER_LIFETIME));
    let value = format!(r#"(ES256);path="{REGISTER_PATH}";challenge="{challenge}""#);
    HeaderValue::try_from(value).expect("a challenge is base64url")
}
