//! Reasons for failed imports, in words for users.

use super::import::ImportError;
use super::steam_client::SteamError;

/// A reason that the user can remedy or wait out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No Steam account is linked.
    NotLinked,
    /// An import of the user is running already.
    Running,
    /// The last import was too recent.
    Cooldown,
    /// The profile or inventory is private.
    Private,
    /// Steam has no such profile.
    ProfileMissing,
    /// The inventory exceeds the limit.
    TooLarge,
    /// The uploaded data is not an inventory.
    NotAnInventory,
    /// Steam does not answer properly.
    SteamUnavailable,
}

use Refusal::{
    Cooldown, NotAnInventory, NotLinked, Private, ProfileMissing, Running, SteamUnavailable,
    TooLarge,
};

const ALL: [Refusal; 8] = [
    NotLinked,
    Running,
    Cooldown,
    Private,
    ProfileMissing,
    TooLarge,
    NotAnInventory,
    SteamUnavailable,
];

impl Refusal {
    /// The stable code in responses and URLs.
    pub fn code(self) -> &'static str {
        match self {
            NotLinked => "steam_not_linked",
            Running => "import_running",
            Cooldown => "import_cooldown",
            Private => "inventory_private",
            ProfileMissing => "steam_profile_missing",
            TooLarge => "inventory_too_large",
            NotAnInventory => "not_an_inventory",
            SteamUnavailable => "steam_unavailable",
        }
    }

    /// Parses [`Refusal::code`].
    pub fn parse(code: &str) -> Option<Self> {
        ALL.into_iter().find(|refusal| refusal.code() == code)
    }

    /// The sentence shown to the user.
    pub fn sentence(self) -> &'static str {
        match self {
            NotLinked => "Link your Steam account first, then import.",
            Running => "An import of yours is running already.",
            Cooldown => "You imported a moment ago. Please wait a little before the next import.",
            Private => {
                "Your Steam inventory is private. At Steam, open Edit Profile, Privacy Settings, \
                 and set Inventory to Public."
            }
            ProfileMissing => {
                "Steam knows no profile for the linked account. Unlink it on the account page and \
                 link it anew."
            }
            TooLarge => {
                "Your inventory is larger than this server imports. What you had before is \
                 unchanged."
            }
            NotAnInventory => {
                "That is not your whole inventory as Steam shows it. What you had before is \
                 unchanged."
            }
            SteamUnavailable => {
                "Steam does not give us what we ask for just now. What you had before is \
                 unchanged; please try again later."
            }
        }
    }
}

impl ImportError {
    /// The refusal shown to the user; `None` for a failure of the service itself.
    pub fn refusal(&self) -> Option<Refusal> {
        Some(match self {
            Self::NotLinked => NotLinked,
            Self::Running => Running,
            Self::Cooldown(_) => Cooldown,
            Self::Steam { error: SteamError::Private, .. } => Private,
            Self::Steam { error: SteamError::NoProfile, .. } => ProfileMissing,
            Self::TooLarge => TooLarge,
            Self::NotAnInventory(_) => NotAnInventory,
            Self::Steam { .. }
            | Self::Paused { .. }
            | Self::LeadsBack { .. }
            | Self::TookTooLong => SteamUnavailable,
            Self::Stopping | Self::LeaseLost | Self::Store(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_read_back_from_its_code() {
        for refusal in ALL {
            assert_eq!(Refusal::parse(refusal.code()), Some(refusal));
        }
        assert_eq!(Refusal::parse("x"), None);
    }
}
