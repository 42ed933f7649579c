//! The providers one can sign in with, and what each says about a person.

use std::fmt;

use url::Url;

use crate::domain::email::Email;

/// Longest name and address of a picture that are kept, in characters.
const MAX_NAME_CHARS: usize = 80;
const MAX_AVATAR_CHARS: usize = 500;

/// Somebody else who knows people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Google, or another OpenID Connect issuer.
    Google,
    /// GitHub or GitHub Enterprise.
    Github,
    /// Steam, by OpenID 2.0.
    Steam,
}

impl Provider {
    /// All of them, in the order pages show them.
    pub const ALL: [Self; 3] = [Self::Google, Self::Github, Self::Steam];

    /// The name in paths, answers and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Github => "github",
            Self::Steam => "steam",
        }
    }

    /// The name as people write it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Github => "GitHub",
            Self::Steam => "Steam",
        }
    }

    /// Where signing in with it begins.
    pub fn sign_in_path(self) -> &'static str {
        match self {
            Self::Google => "/api/v1/auth/google",
            Self::Github => "/api/v1/auth/github",
            Self::Steam => "/api/v1/auth/steam/login",
        }
    }

    /// The provider of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The identity of a person at a provider: never an e-mail address, a login or a name, because
/// those can change hands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The kind of provider.
    pub provider: Provider,
    /// Which one of that kind; a number at one GitHub is another person at another.
    pub issuer: String,
    /// The provider's permanent name for the person.
    pub subject: String,
}

/// What a provider says about the address of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmailClaim {
    /// Nothing that counts: no address, or one that is not verified.
    Nothing,
    /// The provider verified the address at some time, but does not run its mailbox.
    Vouched(Email),
    /// The provider runs the mailbox.
    Authoritative(Email),
}

/// A person as a provider has just shown them to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub identity: Identity,
    /// Their address.
    pub email: EmailClaim,
    /// What they are called: text to escape.
    pub name: Option<String>,
    /// An https address of a picture.
    pub avatar_url: Option<String>,
}

/// A name to keep: one line, not too long, and nothing in it that turns the direction of the text
/// around it (the bidirectional controls of Unicode's UAX 9).
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

/// The address of a picture to keep: https and not too long.
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
