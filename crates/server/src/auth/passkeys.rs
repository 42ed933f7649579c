//! Passkey ceremonies of this service: options for browsers, and verification of their responses.
//!
//! 1. A challenge has 256 random bits. It works once, for ten minutes, for one ceremony, and only
//!    in the browser that requested it, which a cookie identifies. A new request does not void
//!    earlier challenges: the user may have several tabs.
//! 2. A signed-in user's challenge is valid in that session alone, and only their own passkeys can
//!    answer it.
//! 3. Passkeys are discoverable: a sign-in needs no user name. The user handle is the account's
//!    random id.
//! 4. All invalid responses get the same error; the log has the reason.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use crate::auth::service_error::ServiceError;
use crate::auth::token::{fresh_token, token_hash};
use crate::auth::webauthn::{
    ALGORITHMS, AssertionAnswer, Ceremony, KnownCredential, NewCredential, PublicKey,
    RegistrationAnswer, Rejection, RelyingParty,
};
use crate::store::passkeys::{self, NewChallenge, Passkey, Requester};
use crate::store::users::User;
use crate::store::{Database, StoreError};

/// The method's name in sessions, logs and events.
pub const PASSKEY: &str = "passkey";

/// How long a challenge is valid.
pub const LIFETIME: Duration = Duration::from_mins(10);

/// How long the browser waits for the user.
const TIMEOUT_MILLIS: u32 = 300_000;

/// Creates challenges and verifies responses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passkeys {
    database: Database,
    party: RelyingParty,
}

/// The input for a ceremony in the browser.
#[derive(Debug)]
pub struct Asked {
    /// `{"publicKey": …}` for `PublicKeyCredential.parseCreationOptionsFromJSON`, or
    /// `parseRequestOptionsFromJSON`.
    pub options: Value,
    /// The value for the cookie that identifies the browser.
    pub browser: String,
}

/// Why a response was refused.
#[derive(Debug)]
pub enum PasskeyError {
    /// The response is invalid.
    Rejected {
        /// The rule that it breaks.
        why: Rejection,
        /// The owner of the passkey, if known.
        owner: Option<Uuid>,
    },
    /// A dependency does not answer.
    Service(ServiceError),
}

impl From<Rejection> for PasskeyError {
    fn from(why: Rejection) -> Self {
        Self::Rejected { why, owner: None }
    }
}

impl From<StoreError> for PasskeyError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl Passkeys {
    /// Uses the relying party at this address.
    pub fn new(database: Database, base_url: &Url) -> Self {
        Self { database, party: RelyingParty::at(base_url) }
    }

    /// The id of the relying party.
    pub fn rp_id(&self) -> &str {
        self.party.id()
    }

    /// The options for a registration. `browser` is the value of the browser's cookie, if it has
    /// one.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn ask_for_new(
        &self,
        user: &User,
        requester: Requester,
        browser: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Asked, StoreError> {
        let known = passkeys::of_user(&self.database, user.id).await?;
        let (challenge, browser) = self.begin(true, Some(requester), browser, now).await?;
        let name = user.email.as_ref().map(ToString::to_string).or_else(|| user.name.clone());
        let name = name.unwrap_or_else(|| "Tracera account".to_owned());
        let algorithms = ALGORITHMS.map(|alg| json!({ "type": "public-key", "alg": alg }));
        let options = json!({ "publicKey": {
            "rp": { "id": self.rp_id(), "name": "Tracera" },
            "user": {
                "id": URL_SAFE_NO_PAD.encode(user.id.as_bytes()),
                "name": name,
                "displayName": user.name.as_ref().unwrap_or(&name),
            },
            "challenge": challenge,
            "pubKeyCredParams": algorithms,
            "timeout": TIMEOUT_MILLIS,
            "excludeCredentials": known.iter().map(descriptor).collect::<Vec<_>>(),
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": true,
                "userVerification": "required",
            },
            "attestation": "none",
            "extensions": { "credProps": true },
        } });
        Ok(Asked { options, browser })
    }

    /// The options for a sign-in or, for a signed-in user, for a confirmation.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn ask_to_sign(
        &self,
        requester: Option<Requester>,
        browser: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Asked, StoreError> {
        let known = match requester {
            Some(requester) => passkeys::of_user(&self.database, requester.user).await?,
            None => Vec::new(),
        };
        let (challenge, browser) = self.begin(false, requester, browser, now).await?;
        let options = json!({ "publicKey": {
            "challenge": challenge,
            "timeout": TIMEOUT_MILLIS,
            "rpId": self.rp_id(),
            "allowCredentials": known.iter().map(descriptor).collect::<Vec<_>>(),
            "userVerification": "required",
        } });
        Ok(Asked { options, browser })
    }

    async fn begin(
        &self,
        registers: bool,
        requester: Option<Requester>,
        browser: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<(String, String), StoreError> {
        let challenge = fresh_token();
        let browser = browser.map_or_else(fresh_token, ToOwned::to_owned);
        let new = NewChallenge {
            challenge_hash: token_hash(&challenge),
            browser_hash: token_hash(&browser),
            registers,
            requester,
            expires_at: now + LIFETIME,
        };
        passkeys::begin(&self.database, &new, now).await?;
        Ok((challenge, browser))
    }

    /// The new credential in a response to the requester's challenge.
    ///
    /// # Errors
    /// [`PasskeyError`]. The challenge is spent in any case.
    pub async fn registered(
        &self,
        answer: &RegistrationAnswer,
        requester: Requester,
        browser: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<NewCredential, PasskeyError> {
        let challenge = self.party.challenge(answer.client_data(), Ceremony::Registration)?;
        if self.spend(&challenge, browser, true, now).await? != Some(requester) {
            return Err(Rejection::Challenge.into());
        }
        Ok(self.party.registered(answer)?)
    }

    /// The passkey that signed a response. `requester` is the user signed in now. The flag is
    /// `true` if the challenge was for a signed-in user.
    ///
    /// # Errors
    /// [`PasskeyError`]. The challenge is spent in any case.
    pub async fn signed(
        &self,
        answer: &AssertionAnswer,
        requester: Option<Requester>,
        browser: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<(Passkey, bool), PasskeyError> {
        let challenge = self.party.challenge(answer.client_data(), Ceremony::Assertion)?;
        let asked_of = self.spend(&challenge, browser, false, now).await?;
        if asked_of.is_some() && asked_of != requester {
            return Err(Rejection::Challenge.into());
        }
        let found = passkeys::find(&self.database, answer.credential_id()?).await?;
        let passkey = found.ok_or(Rejection::UnknownCredential)?;
        let owner = Some(passkey.user_id);
        let rejected = |why| PasskeyError::Rejected { why, owner };
        let is_theirs = match (asked_of, answer.user_handle()) {
            (Some(asked_of), None) => asked_of.user == passkey.user_id,
            (asked_of, Some(handle)) => {
                handle == passkey.user_id.as_bytes()
                    && asked_of.is_none_or(|asked_of| asked_of.user == passkey.user_id)
            }
            (None, None) => false,
        };
        if !is_theirs {
            return Err(rejected(Rejection::OtherUser));
        }
        let public_key = PublicKey::from_cose(&passkey.public_key).map_err(rejected)?;
        let known = KnownCredential {
            public_key: &public_key,
            counter: u32::try_from(passkey.counter).unwrap_or(u32::MAX),
            backup_eligible: passkey.backup_eligible,
        };
        let asserted = self.party.asserted(answer, known).map_err(rejected)?;
        let (counter, backed_up) = (asserted.counter, asserted.backed_up);
        if !passkeys::note_use(&self.database, passkey.id, counter, backed_up, now).await? {
            return Err(rejected(Rejection::Counter));
        }
        Ok((passkey, asked_of.is_some()))
    }

    /// Spends the challenge and returns its requester; `None` for a visitor.
    async fn spend(
        &self,
        challenge: &[u8],
        browser: Option<&str>,
        registers: bool,
        now: OffsetDateTime,
    ) -> Result<Option<Requester>, PasskeyError> {
        let browser = browser.ok_or(Rejection::Challenge)?;
        let challenge = token_hash(URL_SAFE_NO_PAD.encode(challenge));
        let browser = token_hash(browser);
        let spent = passkeys::spend(&self.database, &challenge, &browser, registers, now).await?;
        Ok(spent.ok_or(Rejection::Challenge)?)
    }
}

fn descriptor(passkey: &Passkey) -> Value {
    let transports: Vec<_> = passkey.transports.split_whitespace().collect();
    json!({
        "type": "public-key",
        "id": URL_SAFE_NO_PAD.encode(&passkey.credential_id),
        "transports": transports,
    })
}
