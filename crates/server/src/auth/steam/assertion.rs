//! What Steam sends back with the browser, read so strictly that Steam and we cannot understand two
//! different things.
//!
//! 1. There are exactly the ten `openid.*` parameters of Steam, each once, its name written
//!    plainly, and our `state` once. Besides them only what no protocol of signing in could mean,
//!    such as `utm_source`. That is ignored and not sent to Steam.
//! 2. Every value is printable ASCII.
//! 3. Everything we read is signed, is what we expect, and is what will be sent to Steam for
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
/// Parameters of an answer that asserts nothing.
const OTHER_PARAMETERS: [&str; 3] = ["openid.error", "openid.contact", "openid.reference"];
/// The fields that must be signed. Steam does not sign namespace and mode, which we check.
const SIGNED: [&str; 6] =
    ["op_endpoint", "claimed_id", "identity", "return_to", "response_nonce", "assoc_handle"];
const MAX_NONCE_CHARS: usize = 255;
const OLDEST_NONCE: Duration = Duration::minutes(5);
const NEWEST_NONCE: Duration = Duration::minutes(2);

/// An answer that is well-formed and meant for us; Steam has still to confirm it. `Debug` shows
/// nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Assertion {
    parameters: BTreeMap<&'static str, String>,
    steam_id: SteamId64,
}

/// What an answer has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Steam's one endpoint.
    pub endpoint: &'a str,
    /// What stands before the id in an identifier.
    pub identifier_prefix: &'a str,
    /// The address we asked Steam to answer to, state and all.
    pub return_to: &'a str,
    /// The time.
    pub now: OffsetDateTime,
}

/// Why an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// The person said no.
    #[error("cancelled")]
    Cancelled,
    /// Steam reports an error, or wants what we did not ask for.
    #[error("the mode is not id_res")]
    Mode,
    /// A parameter that is unknown, repeated, oddly written or not printable ASCII.
    #[error("a parameter is unknown, repeated or oddly written")]
    Parameters,
    /// One of the ten is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// This field has a wrong value.
    #[error("{0} does not fit")]
    Mismatch(&'static str),
}

impl Assertion {
    /// Reads the query of a callback.
    ///
    /// # Errors
    /// [`AssertionError`]: the first rule it breaks.
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

    /// Whom it asserts.
    pub fn steam_id(&self) -> SteamId64 {
        self.steam_id
    }

    /// What makes it unique.
    pub fn nonce(&self) -> &str {
        &self.parameters["openid.response_nonce"]
    }

    /// What Steam is asked: the ten parameters as they were read, with another mode.
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

/// The `openid.*` parameters of a query. The query also has our state, and parameters added on the
/// way.
fn read(query: &str) -> Result<BTreeMap<&'static str, String>, AssertionError> {
    let mut parameters = BTreeMap::new();
    let mut states = 0;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').ok_or(AssertionError::Parameters)?;
        // The name is compared as it was sent: an encoded one may be another name to somebody else.
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

/// Whether a parameter was added on the way, such as `utm_source`. It is plainly written, and has
/// no meaning in this or another sign-in protocol.
fn is_foreign(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let lower = name.to_ascii_lowercase();
    let reserved = ["state", "code", "iss", "error"];
    !name.is_empty()
        && name.bytes().all(plain)
        && !lower.contains("openid")
        && !reserved.contains(&&*lower)
}

/// `2026-05-01T12:00:00Z` and something unique, from about now.
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
