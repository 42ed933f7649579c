//! Error responses for failed imports.

use std::time::Duration;

use http::StatusCode;

use crate::http::error::AppError;
use crate::portfolio::import::ImportError;
use crate::portfolio::refusal::Refusal;
use crate::portfolio::steam_client::SteamError;

impl From<&ImportError> for AppError {
    fn from(error: &ImportError) -> Self {
        let Some(refusal) = error.refusal() else { return of_service(error) };
        let status = match refusal {
            Refusal::NotLinked | Refusal::NotAnInventory => StatusCode::BAD_REQUEST,
            Refusal::Running | Refusal::Private | Refusal::ProfileMissing => StatusCode::CONFLICT,
            Refusal::Cooldown => StatusCode::TOO_MANY_REQUESTS,
            Refusal::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::SteamUnavailable => StatusCode::BAD_GATEWAY,
        };
        let answer = match detail(error) {
            Some(detail) => Self::new(status, refusal.code(), detail),
            None => Self::new(status, refusal.code(), refusal.sentence()),
        };
        match error {
            ImportError::Running => answer.retry_after(Duration::from_secs(5)),
            ImportError::Cooldown(wait) => answer.retry_after(*wait),
            ImportError::Paused { pause, .. } => answer.retry_after(*pause),
            _ => answer,
        }
    }
}

fn of_service(error: &ImportError) -> AppError {
    match error {
        ImportError::Store(error) if !error.is_unavailable() => {
            AppError::internal(error.to_string())
        }
        error => AppError::unavailable(error.to_string()),
    }
}

/// Details for API clients, in addition to the sentence for users.
fn detail(error: &ImportError) -> Option<String> {
    let what = match error {
        ImportError::Paused { page, .. } => {
            format!("Steam wants fewer requests for now (at page {page})")
        }
        ImportError::LeadsBack { page } => {
            format!("Steam's answer for page {page} leads back to an earlier page")
        }
        ImportError::TookTooLong => "reading the inventory took too long".to_owned(),
        ImportError::NotAnInventory(why) => {
            format!("this is not the JSON of a whole Steam inventory: {why}")
        }
        ImportError::Steam { page, error } => of_steam(*page, error)?,
        _ => return None,
    };
    Some(format!("{what}; your earlier holdings are unchanged"))
}

fn of_steam(page: u32, error: &SteamError) -> Option<String> {
    Some(match error {
        SteamError::Private | SteamError::NoProfile => return None,
        SteamError::Blocked => "Steam refuses requests from this server at the moment".to_owned(),
        SteamError::SignInAsked => format!("Steam asks us to sign in (at page {page})"),
        SteamError::GameAway(number) => format!(
            "the game's inventory servers are away, as in Tuesday's maintenance (EResult {number})"
        ),
        SteamError::NoInventory => "Steam has no Counter-Strike 2 inventory for this account, or \
                                    not at the moment"
            .to_owned(),
        SteamError::TimedOut => format!("Steam did not answer in time for page {page}"),
        SteamError::TooLarge => {
            format!("Steam's answer for page {page} is larger than any inventory page")
        }
        SteamError::Unreadable(_) => format!("Steam's answer for page {page} is not an inventory"),
        SteamError::CountRefused => format!("Steam refused the request for page {page}"),
        SteamError::Unavailable(_) | SteamError::Throttled(_) => {
            format!("Steam is not available at page {page}")
        }
    })
}
