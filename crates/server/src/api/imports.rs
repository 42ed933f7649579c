//! Importing an inventory, and following the progress.

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
use uuid::Uuid;

use crate::actions::portfolio::{self as actions, Outcome};
use crate::http::App;
use crate::http::bearer::Reader;
use crate::http::error::{AppError, AppResult};
use crate::http::event_stream::event_stream;
use crate::portfolio::import::{Imported, State as Import};

/// Interval between checks of an import on another instance.
const LOOK: Duration = Duration::from_secs(1);

/// An import has no parameters. In particular, callers cannot choose whose inventory it imports.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

/// `POST /api/v1/portfolio/import`: 200 with the result, or 202 when it takes longer than a request
/// may. The import continues even if its caller disconnects.
pub async fn import(
    State(app): State<App>,
    Reader { user, .. }: Reader,
    body: Bytes,
) -> AppResult<Response> {
    if !body.trim_ascii().is_empty() && serde_json::from_slice::<NoBody>(&body).is_err() {
        return Err(AppError::bad_request(
            "malformed_body",
            "an import takes no body, or an empty JSON object",
        ));
    }
    answer(&app, user, actions::From::Steam).await
}

/// `POST /api/v1/portfolio/import/upload`: imports the JSON that Steam sends to the owner's
/// browser. For a large inventory it is a list of Steam's responses.
pub async fn upload(
    State(app): State<App>,
    Reader { user, .. }: Reader,
    body: Bytes,
) -> AppResult<Response> {
    answer(&app, user, actions::From::Upload(body)).await
}

async fn answer(app: &App, user: Uuid, from: actions::From) -> AppResult<Response> {
    match actions::import(&app.portfolio, user, from, patience(app)).await {
        Ok(Outcome::Done(imported)) => Ok(Json(result(&imported)).into_response()),
        Ok(Outcome::Running(progress)) => {
            let message = "the import goes on; follow it at /api/v1/portfolio/import/events";
            Ok((StatusCode::ACCEPTED, Json(json!({ "message": message, "progress": progress })))
                .into_response())
        }
        Err(error) => Err(AppError::from(&*error)),
    }
}

/// Shorter than the request's time limit, so that the response is sent in time.
fn patience(app: &App) -> Duration {
    app.request_timeout.mul_f32(5.0 / 6.0)
}

fn result(imported: &Imported) -> Value {
    let hidden = imported.hidden();
    let items = if imported.assets == 1 { "item" } else { "items" };
    let message = match (imported.assets, hidden) {
        (0, 0) => "Steam shows no items of this account now: what is trade-protected after a \
                   trade, or in a storage unit, it shows to nobody else"
            .to_owned(),
        (count, 0) => format!("imported {count} {items}"),
        (count, _) => {
            format!("imported {count} {items}; Steam hides {hidden} more from others for now")
        }
    };
    json!({
        "message": message,
        "steam_id": imported.owner.digits(),
        "imported_assets": imported.assets,
        "matched_assets": imported.matched,
        "reported_assets": imported.reported,
        "hidden_assets": hidden,
        "pages": imported.pages,
    })
}

/// `GET /api/v1/portfolio/import/events`: `progress` until `done` or `failed`; `idle` when no
/// import is running.
pub async fn events(State(app): State<App>, reader: Reader) -> AppResult<Response> {
    let place = app.streams.enter(&reader.id)?;
    let (user, ended) = (reader.user, reader.ended(&app)?);
    let from = match app.portfolio.running(user) {
        Some(mut watcher) => {
            watcher.mark_changed();
            Source::Here(watcher)
        }
        None => Source::Elsewhere { app, user, last: None },
    };
    // The stream ends when its session ends or its token is revoked.
    let events = unfold(from, Source::next).take_until(async move {
        ended.await;
        drop(place);
    });
    Ok(event_stream(events))
}

/// The source of an import's progress.
enum Source {
    /// This process runs the import.
    Here(watch::Receiver<Import>),
    /// Another instance runs it, or none does.
    Elsewhere {
        app: App,
        user: Uuid,
        /// The last event.
        last: Option<String>,
    },
    /// No more events follow.
    Ended,
}

impl Source {
    async fn next(self) -> Option<(Event, Self)> {
        match self {
            Self::Here(mut watcher) => {
                // An error here means that the import ended without a final state.
                watcher.changed().await.ok()?;
                let state = watcher.borrow_and_update().clone();
                Some(match state {
                    Import::Running(progress) => {
                        (event("progress", &json!(progress)), Self::Here(watcher))
                    }
                    Import::Done(imported) => (event("done", &result(&imported)), Self::Ended),
                    Import::Failed(error) => {
                        (event("failed", &AppError::from(&*error).body()), Self::Ended)
                    }
                })
            }
            Self::Elsewhere { app, user, mut last } => loop {
                let Ok(progress) = app.portfolio.progress(user).await else {
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
                        // The result of an import on another instance is not known here; the
                        // portfolio shows it.
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
