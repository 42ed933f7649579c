//! How an operator names a user.

use std::str::FromStr;

use uuid::Uuid;

/// A user as an operator names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserSelector {
    /// By id.
    Id(Uuid),
    /// By e-mail address, as typed.
    Email(String),
}

/// Neither an e-mail address nor an id.
#[derive(Debug, thiserror::Error)]
#[error("neither an e-mail address nor a user id")]
pub struct NotAUser;

impl FromStr for UserSelector {
    type Err = NotAUser;

    fn from_str(text: &str) -> Result<Self, NotAUser> {
        match Uuid::parse_str(text) {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if text.contains('@') => Ok(Self::Email(text.to_owned())),
            Err(_) => Err(NotAUser),
        }
    }
}
