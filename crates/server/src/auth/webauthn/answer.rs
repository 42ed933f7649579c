//! Responses from browsers: `PublicKeyCredential.toJSON()` (section 5.1.2,
//! `RegistrationResponseJSON` and `AuthenticationResponseJSON`). Unused members are ignored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};

use super::Rejection;
use super::cbor::{Item, Reader};

/// The response to a registration.
#[derive(Debug, Deserialize)]
pub struct RegistrationAnswer {
    #[serde(flatten)]
    credential: Credential,
    response: Attestation,
    /// The owner's name for the passkey.
    pub name: Option<String>,
}

/// The response to an authentication.
#[derive(Debug, Deserialize)]
pub struct AssertionAnswer {
    #[serde(flatten)]
    credential: Credential,
    response: Assertion,
}

#[derive(Debug, Deserialize)]
struct Credential {
    id: Base64Url,
    #[serde(rename = "rawId")]
    raw_id: Base64Url,
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    PublicKey,
}

#[derive(Debug, Deserialize)]
struct Attestation {
    #[serde(rename = "clientDataJSON")]
    client_data: Base64Url,
    #[serde(rename = "attestationObject")]
    object: Base64Url,
    #[serde(default)]
    transports: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Assertion {
    #[serde(rename = "clientDataJSON")]
    client_data: Base64Url,
    #[serde(rename = "authenticatorData")]
    authenticator_data: Base64Url,
    signature: Base64Url,
    #[serde(rename = "userHandle")]
    user_handle: Option<Base64Url>,
}

/// Bytes encoded in base64url without padding.
#[derive(Debug, PartialEq, Eq)]
struct Base64Url(Vec<u8>);

impl<'de> Deserialize<'de> for Base64Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Credential {
    fn id(&self) -> Result<&[u8], Rejection> {
        let Self { id, raw_id, kind: Kind::PublicKey } = self;
        if id == raw_id { Ok(&raw_id.0) } else { Err(Rejection::CredentialId) }
    }
}

impl RegistrationAnswer {
    /// The client data.
    pub fn client_data(&self) -> &[u8] {
        &self.response.client_data.0
    }

    /// The authenticator's transports, limited to those that the specification names.
    pub fn transports(&self) -> impl Iterator<Item = &str> {
        const KNOWN: [&str; 6] = ["usb", "nfc", "ble", "smart-card", "hybrid", "internal"];
        KNOWN.into_iter().filter(|known| self.response.transports.iter().any(|it| it == known))
    }

    pub(super) fn credential_id(&self) -> Result<&[u8], Rejection> {
        self.credential.id()
    }

    /// The authenticator data in the attestation object (section 6.5.4).
    pub(super) fn authenticator_data(&self) -> Result<Vec<u8>, Rejection> {
        let mut reader = Reader::new(&self.response.object.0);
        let mut data = None;
        for _ in 0..reader.map()? {
            match reader.item()? {
                Item::Text("authData") => match reader.item()? {
                    Item::Bytes(bytes) if data.is_none() => data = Some(bytes.to_vec()),
                    _ => return Err(Rejection::AuthenticatorData),
                },
                Item::Text("fmt" | "attStmt") => reader.skip()?,
                _ => return Err(Rejection::AuthenticatorData),
            }
        }
        data.filter(|_| reader.rest().is_empty()).ok_or(Rejection::AuthenticatorData)
    }
}

impl AssertionAnswer {
    /// The id of the credential that signed.
    ///
    /// # Errors
    /// [`Rejection::CredentialId`].
    pub fn credential_id(&self) -> Result<&[u8], Rejection> {
        self.credential.id()
    }

    /// The client data.
    pub fn client_data(&self) -> &[u8] {
        &self.response.client_data.0
    }

    /// The user handle that the authenticator returned.
    pub fn user_handle(&self) -> Option<&[u8]> {
        self.response.user_handle.as_ref().map(|handle| &*handle.0)
    }

    pub(super) fn authenticator_data(&self) -> &[u8] {
        &self.response.authenticator_data.0
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.response.signature.0
    }
}
