//! How an operator names a user.

use std::str::FromStr;

use uuid::Uuid;

/// A user as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserSelector {
    /// The user's id.
    Id(Uuid),
    /// The user's e-mail address, as typed.
    Email(String),
}

/// The text is neither an e-mail address nor an id.
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
