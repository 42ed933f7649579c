//! Verifies WebAuthn ceremonies: the relying party's part of `WebAuthn` level 3
//! (<https://www.w3.org/TR/webauthn-3/>), for passkeys without attestation.
//!
//! 1. A ceremony counts only for this relying party. The origin must equal that of the public URL,
//!    compared as text. The RP id hash must be that of its host.
//! 2. A ceremony counts only with user presence and user verification.
//! 3. Keys are ES256, `EdDSA` (Ed25519) and RS256 with at least 2048 bits, verified by `ring`. The
//!    algorithm comes from the stored key, never from a response.
//! 4. A signature counter that does not grow is refused, because two devices may share the key.
//!    Synced passkeys keep their counter at zero, which is accepted.
//! 5. The signed data is parsed to the last byte. Trailing data, unknown backup flags and keys in
//!    another encoding are refused.
//! 6. The attestation statement is ignored. The claimed authenticator model is shown to the owner,
//!    but never trusted.
//!
//! [`Passkeys`](crate::auth::passkeys) checks that a challenge is genuine, unused and of this
//! browser. This module keeps no state and never waits.

mod answer;
mod authenticator_data;
mod cbor;
mod client_data;
mod public_key;
#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};
use url::Url;

pub use answer::{AssertionAnswer, RegistrationAnswer};
use authenticator_data::AuthenticatorData;
pub use client_data::Ceremony;
use client_data::ClientData;
pub use public_key::{ALGORITHMS, PublicKey};

/// Maximum length of a credential id (section 4, "Credential ID").
pub const MAX_CREDENTIAL_ID_BYTES: usize = 1023;

/// Why a response is invalid. For the log: the sender learns only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The client data is not JSON of the expected form.
    #[error("the client data cannot be read")]
    ClientData,
    /// The response belongs to the other ceremony.
    #[error("the client data belongs to another ceremony")]
    Ceremony,
    /// The page has another origin.
    #[error("the ceremony took place at another origin")]
    Origin,
    /// The page was in a frame of another site.
    #[error("the ceremony took place in a frame of another site")]
    CrossOrigin,
    /// The challenge is unknown, used, expired or another browser's.
    #[error("the challenge is unknown, used, too old, or another browser's")]
    Challenge,
    /// The credential id differs between parts of the response.
    #[error("the credential's id is not the same everywhere")]
    CredentialId,
    /// The authenticator data cannot be parsed.
    #[error("the authenticator data cannot be read")]
    AuthenticatorData,
    /// The authenticator data is for another relying party.
    #[error("the authenticator data is of another relying party")]
    RelyingParty,
    /// The authenticator did not detect the user (flag UP).
    #[error("the user was not present")]
    NotPresent,
    /// The authenticator did not verify the user (flag UV).
    #[error("the user was not verified")]
    NotVerified,
    /// The backup flags contradict each other or the stored credential.
    #[error("the flags of backup contradict each other or the credential")]
    Backup,
    /// The key has an algorithm or encoding that is not accepted.
    #[error("the public key is none of the accepted ones")]
    PublicKey,
    /// The signature does not verify.
    #[error("the signature is wrong")]
    Signature,
    /// The signature counter did not grow.
    #[error("the signature counter did not grow: the key may have been copied")]
    Counter,
    /// No account has this credential.
    #[error("nobody has this credential")]
    UnknownCredential,
    /// The credential belongs to another user than the response names, or than the one who must
    /// confirm.
    #[error("the credential is another user's")]
    OtherUser,
    /// The credential is registered already.
    #[error("the credential is registered already")]
    Registered,
}

/// The relying party: this service at its public URL.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    id: String,
    origin: String,
    id_hash: [u8; 32],
}

/// A newly created credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// The credential id, chosen by the authenticator and globally unique.
    pub id: Vec<u8>,
    /// The public key that verifies its signatures.
    pub public_key: PublicKey,
    /// The signature counter; 0 where the authenticator has none.
    pub counter: u32,
    /// The authenticator model (AAGUID); zeros if it does not tell.
    pub aaguid: [u8; 16],
    /// Whether the credential may be backed up (flag BE).
    pub backup_eligible: bool,
    /// Whether it is backed up (flag BS).
    pub backed_up: bool,
}

/// The stored data of a credential.
#[derive(Clone, Copy, Debug)]
pub struct KnownCredential<'a> {
    /// The public key.
    pub public_key: &'a PublicKey,
    /// The counter at the last use.
    pub counter: u32,
    /// Whether the credential may be backed up (flag BE); never changes.
    pub backup_eligible: bool,
}

/// The result of a valid assertion, to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// The new counter.
    pub counter: u32,
    /// Whether the credential is backed up now (flag BS).
    pub backed_up: bool,
}

impl RelyingParty {
    /// The relying party at this URL. The host is its id.
    pub fn at(base_url: &Url) -> Self {
        let id = base_url.host_str().unwrap_or_default().to_owned();
        let id_hash = Sha256::digest(&id).into();
        Self { id, origin: base_url.origin().ascii_serialization(), id_hash }
    }

    /// The RP id: the domain that passkeys are bound to.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Extracts the challenge from client data. The ceremony and the origin must match.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn challenge(&self, client_data: &[u8], of: Ceremony) -> Result<Vec<u8>, Rejection> {
        ClientData::parse(client_data)?.challenge(of, &self.origin)
    }

    /// Verifies a registration (section 7.1), except for its challenge.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn registered(&self, answer: &RegistrationAnswer) -> Result<NewCredential, Rejection> {
        let written = answer.authenticator_data()?;
        let data = AuthenticatorData::parse(&written)?;
        self.judge(&data)?;
        let attested = data.attested.as_ref().ok_or(Rejection::AuthenticatorData)?;
        if attested.credential_id != answer.credential_id()? {
            return Err(Rejection::CredentialId);
        }
        Ok(NewCredential {
            id: attested.credential_id.to_vec(),
            public_key: attested.public_key.clone(),
            counter: data.counter,
            aaguid: attested.aaguid,
            backup_eligible: data.backup_eligible(),
            backed_up: data.backed_up(),
        })
    }

    /// Verifies an assertion of a known credential (section 7.2), except for its challenge.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn asserted(
        &self,
        answer: &AssertionAnswer,
        known: KnownCredential<'_>,
    ) -> Result<Asserted, Rejection> {
        let written = answer.authenticator_data();
        let data = AuthenticatorData::parse(written)?;
        if data.attested.is_some() {
            return Err(Rejection::AuthenticatorData);
        }
        self.judge(&data)?;
        if data.backup_eligible() != known.backup_eligible {
            return Err(Rejection::Backup);
        }
        let signed = [written, &Sha256::digest(answer.client_data())[..]].concat();
        known.public_key.verify(&signed, answer.signature())?;
        // The counter is checked after the signature, so that nobody without the key learns about
        // it.
        if (data.counter, known.counter) != (0, 0) && data.counter <= known.counter {
            return Err(Rejection::Counter);
        }
        Ok(Asserted { counter: data.counter, backed_up: data.backed_up() })
    }

    fn judge(&self, data: &AuthenticatorData<'_>) -> Result<(), Rejection> {
        if data.rp_id_hash != self.id_hash {
            return Err(Rejection::RelyingParty);
        }
        if !data.user_present() {
            return Err(Rejection::NotPresent);
        }
        if !data.user_verified() {
            return Err(Rejection::NotVerified);
        }
        if data.backed_up() && !data.backup_eligible() {
            return Err(Rejection::Backup);
        }
        Ok(())
    }
}
