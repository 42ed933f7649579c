//! Importing an inventory, and following how far that is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tracera_session::{CurrentUser, Session};
use uuid::Uuid;

use crate::actions::user_id;
use crate::clock::utc;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::event_stream::event_stream;
use crate::portfolio::import::{ImportError, Imported, State as Import};
use crate::portfolio::steam_client::SteamError;
use crate::store::portfolio as store;
use crate::telemetry::task::run_to_completion;

/// How often an import on another instance is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// An import takes nothing from its caller, least of all whose inventory it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

/// `POST /api/v1/portfolio/import`: 200 with the result, or 202 when it takes longer than a request
/// may; the import goes on either way, also without its caller.
pub async fn import(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    body: Bytes,
) -> AppResult<Response> {
    if !body.trim_ascii().is_empty() && serde_json::from_slice::<NoBody>(&body).is_err() {
        return Err(AppError::bad_request(
            "malformed_body",
            "an import takes no body, or an empty JSON object",
        ));
    }
    let (portfolio, user) = (app.portfolio.clone(), user_id(&user)?);
    let mut watcher = run_to_completion(async move {
        portfolio.import(user).await.map_err(|error| refusal(&Arc::new(error)))
    })
    .await?;
    // The answer has to leave before the request's own limit.
    let patience = app.request_timeout.mul_f32(5.0 / 6.0);
    let ended = watcher.wait_for(|state| !matches!(state, Import::Running(_)));
    let state = match tokio::time::timeout(patience, ended).await {
        Ok(Ok(state)) => Some(state.clone()),
        Ok(Err(_)) => return Err(AppError::internal("an import ended without a result")),
        Err(_) => None,
    };
    let state = state.unwrap_or_else(|| watcher.borrow().clone());
    match state {
        Import::Done(imported) => Ok(Json(result(&imported)).into_response()),
        Import::Failed(error) => Err(refusal(&error)),
        Import::Running(progress) => {
            let message = "the import goes on; follow it at /api/v1/portfolio/import/events";
            Ok((StatusCode::ACCEPTED, Json(json!({ "message": message, "progress": progress })))
                .into_response())
        }
    }
}

fn result(imported: &Imported) -> Value {
    let hidden = imported.reported.map_or(0, |all| u64::from(all).saturating_sub(imported.assets));
    let items = if imported.assets == 1 { "item" } else { "items" };
    let message = match hidden {
        0 => format!("imported {} {items}", imported.assets),
        _ => format!(
            "imported {} {items}; Steam hides {hidden} more from others for now",
            imported.assets
        ),
    };
    json!({
        "message": message,
        "imported_assets": imported.assets,
        "matched_assets": imported.matched,
        "reported_assets": imported.reported,
        "hidden_assets": hidden,
        "pages": imported.pages,
    })
}

/// What a person is told about an import that brought nothing.
fn refusal(error: &Arc<ImportError>) -> AppError {
    let steam =
        |sentence: String| AppError::new(StatusCode::BAD_GATEWAY, "steam_unavailable", sentence);
    let kept = "your earlier holdings are unchanged";
    match &**error {
        ImportError::NotLinked => {
            AppError::bad_request("steam_not_linked", "link your Steam account first")
        }
        ImportError::Running => AppError::new(
            StatusCode::CONFLICT,
            "import_running",
            "an import of yours is running; follow it at /api/v1/portfolio/import/events",
        )
        .retry_after(Duration::from_secs(5)),
        ImportError::Cooldown(wait) => AppError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "import_cooldown",
            "you imported a moment ago; please wait before the next import",
        )
        .retry_after(*wait),
        ImportError::Steam { page, error } => match error {
            SteamError::Private => AppError::new(
                StatusCode::CONFLICT,
                "inventory_private",
                "your Steam inventory is private: at Steam, open Edit Profile, Privacy Settings, and set Inventory to Public",
            ),
            SteamError::NoProfile => AppError::new(
                StatusCode::CONFLICT,
                "steam_profile_missing",
                "Steam knows no profile for the linked account; link your account anew",
            ),
            SteamError::Blocked => {
                steam(format!("Steam refuses requests from this server at the moment; {kept}"))
            }
            SteamError::GameAway(number) => steam(format!(
                "the game's inventory servers are away, as in Tuesday's maintenance (EResult {number}); {kept}"
            )),
            SteamError::NoInventory => steam(format!(
                "Steam has no Counter-Strike 2 inventory for this account, or not at the moment; {kept}"
            )),
            SteamError::TimedOut => {
                steam(format!("Steam did not answer in time for page {page}; {kept}"))
            }
            SteamError::TooLarge => steam(format!(
                "Steam's answer for page {page} is larger than any inventory page; {kept}"
            )),
            SteamError::Unreadable(_) => {
                steam(format!("Steam's answer for page {page} is not an inventory; {kept}"))
            }
            SteamError::CountRefused => {
                steam(format!("Steam refused the request for page {page}; {kept}"))
            }
            SteamError::Unavailable(_) | SteamError::Throttled(_) => {
                steam(format!("Steam is not available at page {page}; {kept}"))
            }
        },
        ImportError::Paused { page, pause } => {
            steam(format!("Steam wants fewer requests for now (at page {page}); {kept}"))
                .retry_after(*pause)
        }
        ImportError::TooLarge => AppError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "inventory_too_large",
            format!("your inventory is larger than this server imports; {kept}"),
        ),
        ImportError::TookTooLong => steam(format!("reading your inventory took too long; {kept}")),
        ImportError::Stopping | ImportError::LeaseLost => AppError::unavailable(error.to_string()),
        ImportError::Store(error) if error.is_unavailable() => {
            AppError::unavailable(error.to_string())
        }
        ImportError::Store(error) => AppError::internal(error.to_string()),
    }
}

/// `GET /api/v1/portfolio/import/events`: `progress` until `done` or `failed`; `idle` when none is
/// running.
pub async fn events(
    State(app): State<App>,
    session: Session,
    CurrentUser(user): CurrentUser,
) -> AppResult<Response> {
    let place = app.streams.enter(&user)?;
    let user = user_id(&user)?;
    let from = match app.portfolio.running(user) {
        Some(mut watcher) => {
            watcher.mark_changed();
            Source::Here(watcher)
        }
        None => Source::Elsewhere { app, user, last: None },
    };
    let own = session.watch()?;
    // Whoever signs out hears no more.
    let events = unfold(from, Source::next).take_until(async move {
        own.ended().await;
        drop(place);
    });
    Ok(event_stream(events))
}

/// Where news of an import come from.
enum Source {
    /// This process runs it.
    Here(watch::Receiver<Import>),
    /// Another one does, or none.
    Elsewhere {
        app: App,
        user: Uuid,
        /// What was said last.
        last: Option<String>,
    },
    /// There will be no more.
    Ended,
}

impl Source {
    async fn next(self) -> Option<(Event, Self)> {
        match self {
            Self::Here(mut watcher) => {
                // An import that ended without a word is over as well.
                watcher.changed().await.ok()?;
                let state = watcher.borrow_and_update().clone();
                Some(match state {
                    Import::Running(progress) => {
                        (event("progress", &json!(progress)), Self::Here(watcher))
                    }
                    Import::Done(imported) => (event("done", &result(&imported)), Self::Ended),
                    Import::Failed(error) => {
                        (event("failed", &refusal(&error).body()), Self::Ended)
                    }
                })
            }
            Self::Elsewhere { app, user, mut last } => loop {
                let now = utc(app.clock.now());
                let Ok(progress) = store::progress(&app.database, user, now).await else {
                    let away = AppError::unavailable("the database is away");
                    return Some((event("failed", &away.body()), Self::Ended));
                };
                match progress {
                    Some(text) if last.as_ref() != Some(&text) => {
                        let data = serde_json::from_str(&text)
                            .unwrap_or_else(|_| json!({ "stage": "waiting" }));
                        return Some((
                            event("progress", &data),
                            Self::Elsewhere { app, user, last: Some(text) },
                        ));
                    }
                    Some(_) => tokio::time::sleep(LOOK).await,
                    None => {
                        // Of an import elsewhere the result is what the portfolio shows now.
                        let name = if last.take().is_some() { "ended" } else { "idle" };
                        return Some((event(name, &json!({})), Self::Ended));
                    }
                }
            },
            Self::Ended => None,
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let json =
        serde_json::to_string(data).expect("these bodies have nothing but texts and numbers");
    Event::default().event(name).data(json)
}
