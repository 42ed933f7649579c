//! Parses Steam's response strictly, so that Steam and this service cannot interpret it
//! differently.
//!
//! 1. Steam's ten `openid.*` parameters and `state` each occur exactly once, with plainly written
//!    names. Other parameters may only be such as have no meaning in any sign-in protocol, for
//!    example `utm_source`. Those are ignored and not sent to Steam.
//! 2. Every value is printable ASCII.
//! 3. Every value used here is signed, equals the expected one, and is sent to Steam for
//!    confirmation.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::domain::steam_id::SteamId64;

/// The namespace of OpenID 2.0.
pub const NS: &str = "http://specs.openid.net/auth/2.0";

const PARAMETERS: [&str; 10] = [
    "openid.ns",
    "openid.mode",
    "openid.op_endpoint",
    "openid.claimed_id",
    "openid.identity",
    "openid.return_to",
    "openid.response_nonce",
    "openid.assoc_handle",
    "openid.signed",
    "openid.sig",
];
/// Parameters of a response that contains no assertion.
const OTHER_PARAMETERS: [&str; 3] = ["openid.error", "openid.contact", "openid.reference"];
/// The fields that must be signed. Steam does not sign namespace and mode; both are checked here.
const SIGNED: [&str; 6] =
    ["op_endpoint", "claimed_id", "identity", "return_to", "response_nonce", "assoc_handle"];
const MAX_NONCE_CHARS: usize = 255;
const OLDEST_NONCE: Duration = Duration::minutes(5);
const NEWEST_NONCE: Duration = Duration::minutes(2);

/// A well-formed assertion for this service, not yet confirmed by Steam. `Debug` shows none of its
/// content.
#[derive(Clone, PartialEq, Eq)]
pub struct Assertion {
    parameters: BTreeMap<&'static str, String>,
    steam_id: SteamId64,
}

/// The expected values in a response.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Steam's OpenID endpoint.
    pub endpoint: &'a str,
    /// The part of an identifier before the Steam id.
    pub identifier_prefix: &'a str,
    /// The return URL from the request, including `state`.
    pub return_to: &'a str,
    /// The current time.
    pub now: OffsetDateTime,
}

/// Why a response is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// The user cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Steam reports an error or uses a mode that was not requested.
    #[error("the mode is not id_res")]
    Mode,
    /// A parameter is unknown, repeated, encoded unusually, or not printable ASCII.
    #[error("a parameter is unknown, repeated or oddly written")]
    Parameters,
    /// One of the ten parameters is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The field with this name has a wrong value.
    #[error("{0} does not fit")]
    Mismatch(&'static str),
}

impl Assertion {
    /// Parses the query of a callback.
    ///
    /// # Errors
    /// [`AssertionError`] for the first rule that the query breaks.
    pub fn parse(query: &str, expected: &Expected<'_>) -> Result<Self, AssertionError> {
        let parameters = read(query)?;
        match parameters.get("openid.mode").map(String::as_str) {
            Some("id_res") => {}
            Some("cancel") => return Err(AssertionError::Cancelled),
            _ => return Err(AssertionError::Mode),
        }
        if parameters.keys().any(|name| OTHER_PARAMETERS.contains(name)) {
            return Err(AssertionError::Parameters);
        }
        let get = |name: &'static str| {
            parameters.get(name).map(String::as_str).ok_or(AssertionError::Missing(name))
        };
        for name in PARAMETERS {
            get(name)?;
        }
        let require = |name: &'static str, value: &str| {
            if get(name)? == value { Ok(()) } else { Err(AssertionError::Mismatch(name)) }
        };
        require("openid.ns", NS)?;
        require("openid.op_endpoint", expected.endpoint)?;
        require("openid.return_to", expected.return_to)?;
        require("openid.identity", get("openid.claimed_id")?)?;
        let steam_id = get("openid.claimed_id")?
            .strip_prefix(expected.identifier_prefix)
            .and_then(SteamId64::parse)
            .ok_or(AssertionError::Mismatch("openid.claimed_id"))?;
        let signed: Vec<_> = get("openid.signed")?.split(',').collect();
        if !SIGNED.iter().all(|name| signed.contains(name)) {
            return Err(AssertionError::Mismatch("openid.signed"));
        }
        if !is_recent(get("openid.response_nonce")?, expected.now) {
            return Err(AssertionError::Mismatch("openid.response_nonce"));
        }
        Ok(Self { parameters, steam_id })
    }

    /// The asserted Steam account.
    pub fn steam_id(&self) -> SteamId64 {
        self.steam_id
    }

    /// The `response_nonce`, unique per assertion.
    pub fn nonce(&self) -> &str {
        &self.parameters["openid.response_nonce"]
    }

    /// The form for `check_authentication`: the ten parameters as parsed, with the mode replaced.
    pub fn check_authentication_form(&self) -> Vec<(&str, &str)> {
        PARAMETERS
            .into_iter()
            .map(|name| match name {
                "openid.mode" => (name, "check_authentication"),
                _ => (name, &*self.parameters[name]),
            })
            .collect()
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion(…)")
    }
}

/// The `openid.*` parameters of a query. The query also contains `state`, and perhaps parameters
/// that others added.
fn read(query: &str) -> Result<BTreeMap<&'static str, String>, AssertionError> {
    let mut parameters = BTreeMap::new();
    let mut states = 0;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').ok_or(AssertionError::Parameters)?;
        // Names are compared without decoding: other parsers may treat an encoded name as a
        // different one.
        let mut known = PARAMETERS.iter().chain(&OTHER_PARAMETERS);
        let Some(known) = known.find(|known| **known == name) else {
            if name == "state" {
                states += 1;
            } else if !is_foreign(name) {
                return Err(AssertionError::Parameters);
            }
            continue;
        };
        let value = value.replace('+', " ");
        let value =
            percent_decode_str(&value).decode_utf8().map_err(|_| AssertionError::Parameters)?;
        let printable = value.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !printable || parameters.insert(*known, value.into_owned()).is_some() {
            return Err(AssertionError::Parameters);
        }
    }
    if states == 1 { Ok(parameters) } else { Err(AssertionError::Parameters) }
}

/// Whether others added the parameter, such as `utm_source`. Its name is plain and has no meaning
/// in this or another sign-in protocol.
fn is_foreign(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let lower = name.to_ascii_lowercase();
    let reserved = ["state", "code", "iss", "error"];
    !name.is_empty()
        && name.bytes().all(plain)
        && !lower.contains("openid")
        && !reserved.contains(&&*lower)
}

/// Whether the nonce has Steam's form, `2026-05-01T12:00:00Z` and a unique suffix, with a current
/// time.
fn is_recent(nonce: &str, now: OffsetDateTime) -> bool {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let Some(Ok(at)) = nonce.get(..20).map(|time| PrimitiveDateTime::parse(time, format)) else {
        return false;
    };
    let at = at.assume_utc();
    nonce.len() <= MAX_NONCE_CHARS && now - at <= OLDEST_NONCE && at - now <= NEWEST_NONCE
}

#[cfg(test)]
mod tests;
