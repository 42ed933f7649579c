//! Parses authenticator data (section 6.1).

use super::cbor::Reader;
use super::{MAX_CREDENTIAL_ID_BYTES, PublicKey, Rejection};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

/// Parsed authenticator data.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    pub(super) rp_id_hash: [u8; 32],
    flags: u8,
    pub(super) counter: u32,
    pub(super) attested: Option<Attested<'a>>,
}

/// The attested credential data: a new credential.
#[derive(Debug)]
pub(super) struct Attested<'a> {
    pub(super) aaguid: [u8; 16],
    pub(super) credential_id: &'a [u8],
    pub(super) public_key: PublicKey,
}

impl<'a> AuthenticatorData<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let malformed = Rejection::AuthenticatorData;
        let (rp_id_hash, rest) = bytes.split_first_chunk::<32>().ok_or(malformed)?;
        let (&[flags], rest) = rest.split_first_chunk::<1>().ok_or(malformed)?;
        let (counter, mut rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
        let attested = if flags & ATTESTED == 0 {
            None
        } else {
            let (attested, behind) = Attested::parse(rest)?;
            rest = behind;
            Some(attested)
        };
        if flags & EXTENSIONS != 0 {
            let mut reader = Reader::new(rest);
            let mut ahead = reader;
            ahead.map()?;
            reader.skip()?;
            rest = reader.rest();
        }
        if !rest.is_empty() {
            return Err(malformed);
        }
        let counter = u32::from_be_bytes(*counter);
        Ok(Self { rp_id_hash: *rp_id_hash, flags, counter, attested })
    }

    pub(super) fn user_present(&self) -> bool {
        self.flags & USER_PRESENT != 0
    }

    pub(super) fn user_verified(&self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    pub(super) fn backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    pub(super) fn backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}

impl<'a> Attested<'a> {
    /// Parses it, and returns the remaining bytes.
    fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Rejection> {
        let malformed = Rejection::AuthenticatorData;
        let (aaguid, rest) = bytes.split_first_chunk::<16>().ok_or(malformed)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(malformed)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if !(1..=MAX_CREDENTIAL_ID_BYTES).contains(&length) {
            return Err(malformed);
        }
        let (credential_id, rest) = rest.split_at_checked(length).ok_or(malformed)?;
        let mut reader = Reader::new(rest);
        reader.skip()?;
        let behind = reader.rest();
        let public_key = PublicKey::from_cose(&rest[..rest.len() - behind.len()])?;
        Ok((Self { aaguid: *aaguid, credential_id, public_key }, behind))
    }
}
