//! The identity providers, and the claims each makes about a user.

use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::domain::email::Email;

/// Longest stored name and avatar URL, in characters.
const MAX_NAME_CHARS: usize = 80;
const MAX_AVATAR_CHARS: usize = 500;

/// An identity provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Google, or another OpenID Connect issuer in its place.
    Google,
    /// GitHub or GitHub Enterprise.
    Github,
    /// Steam, by OpenID 2.0.
    Steam,
    /// One more OpenID Connect issuer, whose name the operator chooses.
    Oidc,
}

impl Provider {
    /// All of them, in the order pages show them.
    pub const ALL: [Self; 4] = [Self::Google, Self::Github, Self::Steam, Self::Oidc];

    /// The name in paths, responses and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Github => "github",
            Self::Steam => "steam",
            Self::Oidc => "oidc",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Github => "GitHub",
            Self::Steam => "Steam",
            Self::Oidc => "the identity provider",
        }
    }

    /// The path that starts a sign-in with this provider.
    pub fn sign_in_path(self) -> &'static str {
        match self {
            Self::Google => "/api/v1/auth/google",
            Self::Github => "/api/v1/auth/github",
            Self::Steam => "/api/v1/auth/steam/login",
            Self::Oidc => "/api/v1/auth/oidc",
        }
    }

    /// Parses the name from [`Provider::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }
}

impl fmt::Display for Provider {
    /// The name, where the operator's own is not at hand; see [`ProviderNames`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What pages and mails call the providers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProviderNames {
    oidc: Arc<str>,
}

impl ProviderNames {
    /// With the operator's name of [`Provider::Oidc`], if it is configured.
    pub fn new(oidc: Option<&str>) -> Self {
        Self { oidc: oidc.unwrap_or("Another provider").into() }
    }

    /// The name of one.
    pub fn of(&self, provider: Provider) -> &str {
        match provider {
            Provider::Oidc => &self.oidc,
            named => named.label(),
        }
    }
}

/// The identity of a user at a provider. It is never an e-mail address, login or name, because
/// those can pass to another person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The kind of provider.
    pub provider: Provider,
    /// The provider's instance: the same subject at another GitHub host is another person.
    pub issuer: String,
    /// The provider's permanent id of the user.
    pub subject: String,
}

/// A provider's claim about a user's e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmailClaim {
    /// No usable claim: no address, or an unverified one.
    Nothing,
    /// The provider names the address, but does not say that it has verified it.
    Claimed(Email),
    /// The provider verified the address at some time, but does not run its mailbox.
    Vouched(Email),
    /// The provider runs the mailbox.
    Authoritative(Email),
}

/// A user as the provider has just authenticated them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The identity at the provider.
    pub identity: Identity,
    /// The claim about their address.
    pub email: EmailClaim,
    /// The display name: untrusted text, to be escaped.
    pub name: Option<String>,
    /// An `https` URL of the avatar.
    pub avatar_url: Option<String>,
}

/// Cleans a name for storage: one line, of limited length, without characters that change the
/// direction of the surrounding text (bidirectional controls, UAX 9).
pub fn tidy_name(name: &str) -> Option<String> {
    let directs = |c: &char| {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
    };
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let chars = name.trim().chars().filter(|c| !directs(c));
    let name: String = chars.map(plain).take(MAX_NAME_CHARS).collect();
    (!name.trim().is_empty()).then_some(name)
}

/// Accepts an avatar URL for storage if it is `https` and not too long.
pub fn tidy_avatar_url(url: &str) -> Option<String> {
    let parsed = Url::parse(url).ok()?;
    (parsed.scheme() == "https" && parsed.as_str().len() <= MAX_AVATAR_CHARS).then(|| parsed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_pictures_are_tidied() {
        assert_eq!(tidy_name(" Robin\r\n<b> "), Some("Robin  <b>".to_owned()));
        assert_eq!(tidy_name(" \u{7} "), None);
        assert_eq!(tidy_name("\u{202e}nibor\u{2069}\u{200f}"), Some("nibor".to_owned()));
        assert_eq!(tidy_name("\u{202e}"), None);
        assert_eq!(tidy_name(&"x".repeat(500)).unwrap().len(), MAX_NAME_CHARS);
        assert!(tidy_avatar_url("https://avatars.example/a.jpg").is_some());
        for url in ["http://avatars.example/a.jpg", "javascript:alert(1)", "data:image/png,x", "x"]
        {
            assert_eq!(tidy_avatar_url(url), None, "{url}");
        }
        assert_eq!(tidy_avatar_url(&format!("https://a.example/{}", "x".repeat(500))), None);
    }

    #[test]
    fn a_provider_is_found_by_its_exact_name() {
        for provider in Provider::ALL {
            assert_eq!(Provider::parse(provider.as_str()), Some(provider));
        }
        for name in ["Google", "", "email", "steam "] {
            assert_eq!(Provider::parse(name), None);
        }
    }
}
