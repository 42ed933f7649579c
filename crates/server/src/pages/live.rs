//! Live pages: server-sent events that say when the session behind a page ends, or the list of
//! sessions changes.

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream;
use tokio_util::sync::CancellationToken;
use tracera_session::{Handle, Session, SessionError, SessionInfo, UserWatch};

use crate::http::App;
use crate::http::error::AppResult;
use crate::http::event_stream::{Place, event_stream};
use crate::pages::page::Person;

/// `GET /account/live`: `sessions` when a session begins or ends; `signed-out`, the last event,
/// when this one ends.
pub async fn stream(
    State(app): State<App>,
    session: Session,
    person: Person,
) -> AppResult<Response> {
    let place = app.streams.enter(&person.id)?;
    let own = session.info().ok_or(SessionError::Unauthenticated)?.handle;
    let sessions = app.sessions.watch(&person.id);
    let feed = Feed {
        sessions,
        own,
        stopping: app.stopping.clone(),
        known: None,
        over: false,
        _place: place,
    };
    Ok(event_stream(stream::unfold(feed, Feed::next)))
}

struct Feed {
    sessions: UserWatch,
    /// The session behind the page.
    own: Handle,
    stopping: CancellationToken,
    /// The sessions in the last event; `None` before the first.
    known: Option<String>,
    over: bool,
    _place: Place,
}

impl Feed {
    async fn next(mut self) -> Option<(Event, Self)> {
        while !self.over {
            let sessions = tokio::select! {
                () = self.stopping.cancelled() => return None,
                sessions = self.sessions.next() => sessions,
            };
            if sessions.iter().all(|session| session.handle != self.own) {
                self.over = true;
                // Browsers ignore an event without data.
                return Some((Event::default().event("signed-out").data("now"), self));
            }
            let names = names(&sessions);
            if self.known.as_ref() != Some(&names) {
                self.known = Some(names.clone());
                return Some((Event::default().event("sessions").data(names), self));
            }
        }
        None
    }
}

/// The sorted handles of the sessions. A page compares them with those it shows.
pub fn names(sessions: &[SessionInfo]) -> String {
    let mut names: Vec<_> = sessions.iter().map(|session| session.handle.to_string()).collect();
    names.sort_unstable();
    names.join(" ")
}
