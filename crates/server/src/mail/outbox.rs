//! Keeps waiting mails in the database, so that a restart loses none.
//!
//! A mail contains a link that signs in. So it is encrypted (ChaCha20-Poly1305, RFC 8439) with a
//! key derived from `SESSION_SECRET`, and its id is associated data. A copy of the database is
//! therefore of no use to an attacker. Mails encrypted under an earlier secret can still be
//! decrypted.

use std::fmt;
use std::time::Duration;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracera_session::Clock;
use uuid::Uuid;

use super::message::Message;
use super::queue::{Lane, Sender};
use crate::clock::utc;
use crate::domain::email::Email;
use crate::store::outbox::{self, FoundMail, Lease, NewMail};
use crate::store::{Database, StoreError};

/// A process's lease on its mails; after it, another process takes them over.
const LEASE: Duration = Duration::from_secs(30);
/// Interval at which a process renews its lease and looks for mails to take over.
pub(super) const ROUND: Duration = Duration::from_secs(10);
/// Maximum number of mails taken over per round.
const MOST_AT_ONCE: u32 = 100;

/// The outbox of this process.
pub struct Outbox {
    database: Database,
    /// The current encryption key, followed by earlier ones.
    keys: Vec<LessSafeKey>,
    clock: Clock,
    owner: Uuid,
}

/// The plain text of an encrypted mail.
#[derive(Serialize, Deserialize)]
struct Kept {
    to: String,
    subject: String,
    text: String,
    html: String,
    link: String,
    code: String,
    requested_at: i64,
    valid_for_secs: u64,
    network: String,
    lane: Lane,
}

/// A mail taken over from another process.
pub(super) struct Found {
    pub(super) message: Message,
    pub(super) sender: Sender,
    /// The remaining time until it becomes useless.
    pub(super) left: Duration,
}

impl Outbox {
    /// Uses this database. The first key encrypts; all keys decrypt.
    pub fn new(database: Database, keys: &([u8; 32], Vec<[u8; 32]>), clock: Clock) -> Self {
        let key = |key: &[u8; 32]| {
            LessSafeKey::new(
                UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of this size fits"),
            )
        };
        let keys = std::iter::once(&keys.0).chain(&keys.1).map(key).collect();
        Self { database, keys, clock, owner: Uuid::new_v4() }
    }

    /// Stores a mail. One that must not be sent causes the same work, and the next round removes
    /// it.
    pub(super) async fn add(
        &self,
        message: &Message,
        sender: &Sender,
        is_sent: bool,
    ) -> Result<(), StoreError> {
        let sealed = self.seal(message, sender);
        let valid_for = if is_sent { message.valid_for } else { Duration::ZERO };
        let expires_at = message.requested_at + valid_for;
        let mail = NewMail { id: message.id, sealed: &sealed, expires_at };
        outbox::add(&self.database, &mail, self.lease()).await
    }

    /// Removes a mail that was sent or given up.
    pub(super) async fn remove(&self, id: Uuid) {
        if let Err(error) = outbox::remove(&self.database, id).await {
            tracing::warn!(%error, mail = %id, "a mail that is done with may be sent again");
        }
    }

    /// Renews the lease, and takes over mails whose lease has expired.
    pub(super) async fn round(&self) -> Result<Vec<Found>, StoreError> {
        let (lease, now) = (self.lease(), self.now());
        let found = outbox::renew_and_take_over(&self.database, lease, MOST_AT_ONCE, now).await?;
        Ok(found.iter().filter_map(|mail| self.open(mail, now)).collect())
    }

    /// Releases the unsent mails, so that the next process can send them.
    pub(super) async fn release(&self) {
        if let Err(error) = outbox::release(&self.database, self.owner, self.now()).await {
            tracing::warn!(%error, "the next process sends what is left half a minute later");
        }
    }

    fn now(&self) -> OffsetDateTime {
        utc(self.clock.now())
    }

    fn lease(&self) -> Lease {
        Lease { owner: self.owner, until: self.now() + LEASE }
    }

    fn seal(&self, message: &Message, sender: &Sender) -> Vec<u8> {
        let kept = Kept {
            to: message.to.to_string(),
            subject: message.subject.clone(),
            text: message.text.clone(),
            html: message.html.clone(),
            link: message.link.clone(),
            code: message.code.clone(),
            requested_at: message.requested_at.unix_timestamp(),
            valid_for_secs: message.valid_for.as_secs(),
            network: sender.network.clone(),
            lane: sender.lane,
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let mut sealed = serde_json::to_vec(&kept).expect("texts and numbers are JSON");
        let (aad, key) = (Aad::from(message.id.into_bytes()), &self.keys[0]);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("a mail is shorter than the cipher's limit of 256 GiB");
        sealed.extend_from_slice(&nonce);
        sealed
    }

    fn open(&self, mail: &FoundMail, now: OffsetDateTime) -> Option<Found> {
        let kept = self.keys.iter().find_map(|key| unseal(key, mail));
        let Some(kept) = kept else {
            tracing::error!(mail = %mail.id, "a mail cannot be read: sealed with another secret");
            return None;
        };
        let to = Email::parse(&kept.to).ok()?;
        let sender = Sender::new(kept.lane, kept.network, to.domain());
        let message = Message {
            id: mail.id,
            to,
            subject: kept.subject,
            text: kept.text,
            html: kept.html,
            link: kept.link,
            code: kept.code,
            requested_at: OffsetDateTime::from_unix_timestamp(kept.requested_at).ok()?,
            valid_for: Duration::from_secs(kept.valid_for_secs),
        };
        let left = Duration::try_from(mail.expires_at - now).unwrap_or_default();
        Some(Found { message, sender, left })
    }
}

fn unseal(key: &LessSafeKey, mail: &FoundMail) -> Option<Kept> {
    let (sealed, nonce) = mail.sealed.split_last_chunk::<NONCE_LEN>()?;
    let (mut sealed, aad) = (sealed.to_vec(), Aad::from(mail.id.into_bytes()));
    let text = key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed).ok()?;
    serde_json::from_slice(text).ok()
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("owner", &self.owner).finish_non_exhaustive()
    }
}
