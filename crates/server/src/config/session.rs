//! Session secrets and lifetimes.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::http::HttpSettings;
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader, parse_bool};

const MIN_SECRET_BYTES: usize = 32;
const MIN_DISTINCT_BYTES: usize = 8;
const MAX_PREVIOUS: usize = 8;
const REMEDY: &str = "run `tracera secret` and set what it prints";

/// Common placeholders for a secret, compared without case, `-`, `_` and spaces. They are publicly
/// known, so a cookie signed with one can be forged.
const PLACEHOLDERS: [&str; 4] = ["changeme", "replaceme", "placeholder", "yoursecret"];

/// Session cookies and their lifetimes.
#[derive(Debug)]
pub struct SessionSettings {
    /// The secret that signs session cookies; at least 32 bytes.
    pub secret: SecretString,
    /// Earlier secrets that are still accepted; at least 32 bytes each, all different. Default
    /// none.
    pub previous_secrets: Vec<SecretString>,
    /// Absolute lifetime. Default 72 hours.
    pub lifetime: Duration,
    /// Idle timeout. Default none.
    pub idle: Option<Duration>,
    /// Maximum number of sessions per user. Default 100.
    pub max_per_user: u32,
    /// Whether sessions are cached in memory between requests. Default true.
    pub near_cache: bool,
    /// Whether the cookie has the `Secure` attribute. Default: if the public URL is `https`.
    pub cookie_secure: bool,
    /// The cookie's name, including its prefix. Default: `__Host-session` with `Secure`, else
    /// `session`.
    pub cookie_name: String,
    /// Lifetime of a device's proof; `None` if sessions are not bound to devices. Default: ten
    /// minutes with a secure cookie.
    pub device_proof: Option<Duration>,
}

pub(super) fn read(reader: &mut Reader<'_>, http: Option<&HttpSettings>) -> Read<SessionSettings> {
    let secret = read_secret(reader);
    let previous = read_previous(reader);
    let lifetime = reader.hours("SESSION_LIFETIME_HOURS", 1..=8760);
    let idle = reader.minutes("SESSION_IDLE_MINUTES", 0..=525_600);
    let max_per_user = reader.number("SESSION_MAX_PER_USER", 1..=1000);
    let near_cache = reader.read("SESSION_NEAR_CACHE", parse_bool);
    let cookie_secure = read_cookie_secure(reader, http);
    let binding = reader.read("SESSION_DEVICE_BINDING", parse_auto_or_off);
    let proof_secs: Read<u32> = reader.number("DEVICE_PROOF_SECONDS", 300..=3600);
    let cookie_name = read_cookie_name(reader, cookie_secure);
    let (cookie_secure, binding, proof_secs) = (cookie_secure?, binding?, proof_secs?);
    Ok(SessionSettings {
        device_proof: (binding && cookie_secure)
            .then(|| Duration::from_secs(u64::from(proof_secs))),
        secret: secret?,
        previous_secrets: previous?,
        lifetime: lifetime?,
        idle: Some(idle?).filter(|idle| !idle.is_zero()),
        max_per_user: max_per_user?,
        near_cache: near_cache?,
        cookie_secure,
        cookie_name: cookie_name?,
    })
}

/// Generates a value for `SESSION_SECRET`: 32 random bytes in base64url.
///
/// # Errors
/// When the operating system provides no random bytes.
pub fn fresh_secret() -> Result<SecretString, getrandom::Error> {
    let mut bytes = [0; MIN_SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

fn read_secret(reader: &mut Reader<'_>) -> Read<SecretString> {
    let Some(secret) = reader.given("SESSION_SECRET") else {
        return Err(reader.refuse("SESSION_SECRET", Wrong::new("is missing", REMEDY)));
    };
    if let Err(wrong) = check_secret(secret) {
        return Err(reader.refuse("SESSION_SECRET", wrong));
    }
    if secret.bytes().collect::<BTreeSet<_>>().len() < MIN_DISTINCT_BYTES {
        let text = format!(
            "repeats fewer than {MIN_DISTINCT_BYTES} different characters and may be guessed; \
             {REMEDY}"
        );
        reader.warn("SESSION_SECRET", text);
    }
    if secret.contains(',') {
        let text = "holds a comma and cannot be moved to SESSION_SECRET_PREVIOUS, which is \
                    comma-separated";
        reader.warn("SESSION_SECRET", text);
    }
    Ok(secret.into())
}

/// Requires a minimum length, and rejects obvious placeholders.
fn check_secret(secret: &str) -> Result<(), Wrong> {
    if secret.len() < MIN_SECRET_BYTES {
        let what = format!("has {} bytes, at least {MIN_SECRET_BYTES} are needed", secret.len());
        return Err(Wrong::new(what, REMEDY));
    }
    if secret.trim() != secret {
        return Err(Wrong::new(
            "begins or ends with white space",
            "remove it, or quote the value properly",
        ));
    }
    if is_placeholder(secret) {
        return Err(Wrong::new("is a placeholder", REMEDY));
    }
    Ok(())
}

fn is_placeholder(secret: &str) -> bool {
    let plain = secret.to_lowercase().replace(['-', '_', ' '], "");
    PLACEHOLDERS.iter().any(|placeholder| plain.contains(placeholder))
}

fn read_previous(reader: &mut Reader<'_>) -> Read<Vec<SecretString>> {
    let current = reader.given("SESSION_SECRET");
    let previous = reader.optional("SESSION_SECRET_PREVIOUS", |value| {
        let mut seen: BTreeSet<&str> = current.into_iter().collect();
        let mut secrets = Vec::new();
        for (index, secret) in value.split(',').map(str::trim).enumerate() {
            let number = index + 1;
            if secret.is_empty() {
                return Err(Wrong::new("has an empty entry", "remove the comma too many"));
            }
            if secret.len() < MIN_SECRET_BYTES {
                let got = secret.len();
                let what = format!(
                    "has {got} bytes in secret {number}, at least {MIN_SECRET_BYTES} are needed"
                );
                return Err(Wrong::new(
                    what,
                    "write the older secrets whole, with commas between them",
                ));
            }
            if is_placeholder(secret) {
                let what = format!("has a placeholder as secret {number}");
                return Err(Wrong::new(what, "leave it out: anybody could sign with it"));
            }
            if !seen.insert(secret) {
                let what = format!("repeats a secret: number {number} is already in use");
                return Err(Wrong::new(
                    what,
                    "list each older secret once, without the current one",
                ));
            }
            secrets.push(SecretString::from(secret));
        }
        if secrets.len() > MAX_PREVIOUS {
            let what = format!("lists {} secrets", secrets.len());
            return Err(Wrong::new(what, format!("keep the {MAX_PREVIOUS} newest")));
        }
        Ok(secrets)
    });
    previous.map(Option::unwrap_or_default)
}

fn parse_bool_or_auto(value: &str) -> Result<Option<bool>, Wrong> {
    if value.eq_ignore_ascii_case("auto") { Ok(None) } else { parse_bool(value).map(Some) }
}

fn parse_auto_or_off(value: &str) -> Result<bool, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err(Wrong::new(format!("is {}", quoted(value)), "write auto or off")),
    }
}

fn read_cookie_secure(reader: &mut Reader<'_>, http: Option<&HttpSettings>) -> Read<bool> {
    let given = reader.optional("SESSION_COOKIE_SECURE", parse_bool_or_auto)?.flatten();
    let Some(http) = http else {
        // The public URL was already refused, so this value is not used.
        return Ok(given.unwrap_or(true));
    };
    match (given, http.is_https()) {
        (None, https) => Ok(https),
        (Some(true), false) if !http.is_local() => {
            let what = "is true while BASE_URL is http: browsers would drop the cookie";
            let remedy = "make BASE_URL https, or leave SESSION_COOKIE_SECURE unset";
            Err(reader.refuse("SESSION_COOKIE_SECURE", Wrong::new(what, remedy)))
        }
        (Some(true), false) => {
            reader.warn(
                "SESSION_COOKIE_SECURE",
                "is true while BASE_URL is http: some browsers drop the cookie",
            );
            Ok(true)
        }
        (Some(false), true) => {
            reader.warn(
                "SESSION_COOKIE_SECURE",
                "is false while BASE_URL is https: the cookie may leak over http",
            );
            Ok(false)
        }
        (Some(secure), _) => Ok(secure),
    }
}

/// The names of this server's other cookies, without prefixes.
const OTHER_COOKIES: [&str; 12] = [
    "asked",
    "bound",
    "confirming",
    "device",
    "form",
    "last_used",
    "mailbox",
    "next",
    "passkey",
    "passkey-offer",
    "transaction",
    "visitor",
];

/// Prefixes with a special meaning for browsers (RFC 6265bis, section 4.1.3); both require
/// `Secure`.
const PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];

/// `secure` is an error if it was already refused.
fn read_cookie_name(reader: &mut Reader<'_>, secure: Read<bool>) -> Read<String> {
    let secure = secure.ok();
    let given = reader.optional("SESSION_COOKIE_NAME", |value| check_cookie_name(value, secure))?;
    let usual = if secure == Some(true) { "__Host-session" } else { "session" };
    Ok(given.unwrap_or_else(|| usual.to_owned()))
}

fn check_cookie_name(name: &str, secure: Option<bool>) -> Result<String, Wrong> {
    let prefix = PREFIXES.into_iter().find(|prefix| name.starts_with(prefix));
    let bare = prefix.map_or(name, |prefix| &name[prefix.len()..]);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if bare.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        let what = format!("is {}", quoted(name));
        return Err(Wrong::new(what, "write 1 to 64 letters, digits, `-`, `_` and `.`"));
    }
    if bare.starts_with("__") {
        let what = format!("is {name}: browsers give a meaning to names that begin with `__`");
        return Err(Wrong::new(what, "begin it with a letter, __Host- or __Secure-"));
    }
    if OTHER_COOKIES.iter().any(|other| other.eq_ignore_ascii_case(bare)) {
        let what = format!("is {name}, as another cookie of this server");
        return Err(Wrong::new(what, "choose another name"));
    }
    if let (Some(prefix), Some(false)) = (prefix, secure) {
        let what = format!("is {name}: browsers keep {prefix} cookies only when they are Secure");
        return Err(Wrong::new(what, "leave the prefix out, or make BASE_URL https"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_name_of_the_session_cookie_is_one_that_browsers_keep() {
        for (name, secure, part) in [
            ("tracera", false, None),
            ("tracera.sid_2-x", true, None),
            ("__Host-tracera", true, None),
            ("__Secure-tracera", true, None),
            ("session", true, None),
            ("__Host-tracera", false, Some("only when they are Secure")),
            ("__Secure-tracera", false, Some("only when they are Secure")),
            ("__host-tracera", true, Some("begin with `__`")),
            ("__Http-tracera", true, Some("begin with `__`")),
            ("__Host-__Host-a", true, Some("begin with `__`")),
            ("visitor", false, Some("another cookie of this server")),
            ("__Host-Device", true, Some("another cookie of this server")),
            ("__Host-", true, Some("is \"__Host-\"")),
            ("a b", true, Some("is \"a b\"")),
            ("a=b", true, Some("is \"a=b\"")),
            ("a;b", true, Some("is \"a;b\"")),
            ("ä", true, Some("is")),
        ] {
            let refused = check_cookie_name(name, Some(secure)).err();
            let text = refused.map(|wrong| format!("{wrong:?}"));
            match part {
                None => assert_eq!(text, None, "{name}"),
                Some(part) => {
                    let text = text.unwrap_or_default().replace('\\', "");
                    assert!(text.contains(part), "{name}: {text}");
                }
            }
        }
        assert!(check_cookie_name(&"a".repeat(64), None).is_ok());
        assert!(check_cookie_name(&"a".repeat(65), None).is_err());
    }

    #[test]
    fn the_list_has_every_other_cookie() {
        fn visit(folder: &Path, found: &mut BTreeSet<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, found);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                let made = text.split("= HostCookie::new(\"").skip(1);
                found.extend(made.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
        // These two are set by the library crates.
        let mut found = BTreeSet::from(["bound".to_owned(), "visitor".to_owned()]);
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), OTHER_COOKIES);
    }

    #[test]
    fn a_fresh_secret_passes_the_check_and_is_fresh() {
        let secret = fresh_secret().unwrap();
        assert_eq!(secret.expose_secret().len(), 43);
        assert_eq!(check_secret(secret.expose_secret()), Ok(()));
        assert_ne!(secret.expose_secret(), fresh_secret().unwrap().expose_secret());
    }
}
