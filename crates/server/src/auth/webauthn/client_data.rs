//! The client data: ceremony, challenge and origin. It is covered by the signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::Rejection;

/// A `WebAuthn` ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceremony {
    /// Creates a passkey.
    Registration,
    /// Signs with a passkey.
    Assertion,
}

impl Ceremony {
    /// The `type` in client data.
    fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Assertion => "webauthn.get",
        }
    }
}

/// Collected client data (section 5.8.1). Browsers may add members, which are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientData {
    #[serde(rename = "type")]
    ceremony: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    top_origin: Option<String>,
}

impl ClientData {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Rejection> {
        serde_json::from_slice(json).map_err(|_| Rejection::ClientData)
    }

    pub(super) fn challenge(&self, of: Ceremony, origin: &str) -> Result<Vec<u8>, Rejection> {
        if self.ceremony != of.as_str() {
            return Err(Rejection::Ceremony);
        }
        if self.origin != origin {
            return Err(Rejection::Origin);
        }
        if self.cross_origin || self.top_origin.is_some() {
            return Err(Rejection::CrossOrigin);
        }
        URL_SAFE_NO_PAD.decode(&self.challenge).map_err(|_| Rejection::Challenge)
    }
}
