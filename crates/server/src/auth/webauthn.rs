//! Verifies what authenticators sign: the relying party's half of `WebAuthn` level 3
//! (<https://www.w3.org/TR/webauthn-3/>), for passkeys without attestation.
//!
//! 1. A ceremony counts only for this relying party. The origin equals that of the public address
//!    as text, and the RP id's hash is that of its host.
//! 2. A ceremony counts only with user presence and user verification.
//! 3. Keys are ES256, `EdDSA` (Ed25519) and RS256 with at least 2048 bits, verified by `ring`. The
//!    algorithm is that of the stored key, never one that an answer names.
//! 4. A signature counter that does not grow means two devices with one key: refused. Counters that
//!    stay at zero are what synced passkeys have.
//! 5. The signed data is parsed to its last byte. Trailing data, unknown backup flags or a key in
//!    another form are refused.
//! 6. The attestation statement is ignored. The model that an authenticator claims is shown to its
//!    owner and never trusted.
//!
//! Whether a challenge is ours, unused and of this browser is for
//! [`Passkeys`](crate::auth::passkeys) to say. Nothing here waits or keeps state.

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

/// The longest id a credential may have (section 4, "Credential ID").
pub const MAX_CREDENTIAL_ID_BYTES: usize = 1023;

/// Why an answer does not count. For the log; its sender learns only that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The client data is not JSON of the expected form.
    #[error("the client data cannot be read")]
    ClientData,
    /// It belongs to the other ceremony.
    #[error("the client data belongs to another ceremony")]
    Ceremony,
    /// The page was not ours.
    #[error("the ceremony took place at another origin")]
    Origin,
    /// The page was in a frame of another site.
    #[error("the ceremony took place in a frame of another site")]
    CrossOrigin,
    /// It is no challenge of ours.
    #[error("the challenge is unknown, used, too old, or another browser's")]
    Challenge,
    /// The credential's id differs between its parts.
    #[error("the credential's id is not the same everywhere")]
    CredentialId,
    /// What the authenticator wrote cannot be read.
    #[error("the authenticator data cannot be read")]
    AuthenticatorData,
    /// It was made for another relying party.
    #[error("the authenticator data is of another relying party")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("the user was not present")]
    NotPresent,
    /// Nobody unlocked it.
    #[error("the user was not verified")]
    NotVerified,
    /// The flags contradict each other, or what was known of the credential.
    #[error("the flags of backup contradict each other or the credential")]
    Backup,
    /// The key has another algorithm or form.
    #[error("the public key is none of the accepted ones")]
    PublicKey,
    /// The signature does not verify.
    #[error("the signature is wrong")]
    Signature,
    /// The counter did not grow.
    #[error("the signature counter did not grow: the key may have been copied")]
    Counter,
    /// No account has this credential.
    #[error("nobody has this credential")]
    UnknownCredential,
    /// It belongs to another user than the answer names, or than the one who must confirm.
    #[error("the credential is another user's")]
    OtherUser,
    /// The credential is registered already.
    #[error("the credential is registered already")]
    Registered,
}

/// The relying party: this service at its public address.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    id: String,
    origin: String,
    id_hash: [u8; 32],
}

/// A credential as an authenticator has just made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// Chosen by the authenticator, unique in the world.
    pub id: Vec<u8>,
    /// To verify its signatures with.
    pub public_key: PublicKey,
    /// The signature counter; 0 where the authenticator has none.
    pub counter: u32,
    /// The model, as the authenticator says; zeros where it does not.
    pub aaguid: [u8; 16],
    /// Whether copies of it may be kept elsewhere.
    pub backup_eligible: bool,
    /// Whether there is one.
    pub backed_up: bool,
}

/// What is known of a credential when it signs.
#[derive(Clone, Copy, Debug)]
pub struct KnownCredential<'a> {
    /// To verify with.
    pub public_key: &'a PublicKey,
    /// As it was last.
    pub counter: u32,
    /// Never changes.
    pub backup_eligible: bool,
}

/// What a signature brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// To be kept.
    pub counter: u32,
    /// To be kept.
    pub backed_up: bool,
}

impl RelyingParty {
    /// The one at this address. Its id is the host.
    pub fn at(base_url: &Url) -> Self {
        let id = base_url.host_str().unwrap_or_default().to_owned();
        let id_hash = Sha256::digest(&id).into();
        Self { id, origin: base_url.origin().ascii_serialization(), id_hash }
    }

    /// Its id: the domain that passkeys are bound to.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The challenge an answer says it is for, from client data that is of this ceremony and was
    /// written at our own pages.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn challenge(&self, client_data: &[u8], of: Ceremony) -> Result<Vec<u8>, Rejection> {
        ClientData::parse(client_data)?.challenge(of, &self.origin)
    }

    /// A new credential (section 7.1). The challenge has been checked before.
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

    /// A signature of a known credential (section 7.2). The challenge has been checked before.
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
        // After the signature, so that nobody without the key learns of the counter.
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
