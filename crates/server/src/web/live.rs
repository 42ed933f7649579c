//! Live pages: server-sent events that say when the session behind a page ends, or the list of sessions changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream;
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tracera_session::{Handle, Session, SessionError, SessionInfo, UserId, UserWatch};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::event_stream::{HEARTBEAT, event_stream};
use crate::serve::Stopping;
use crate::web::page::Person;

/// How many streams one user may have open on one instance, over all tabs.
const MAX_PER_USER: usize = 16;

/// The open streams, counted by user. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<UserId, usize>>>);

/// A place among the streams of a user, free again when dropped.
struct Place {
    streams: Streams,
    user: UserId,
}

impl Streams {
    fn enter(&self, user: &UserId) -> Option<Place> {
        let mut open = self.lock();
        let count = open.entry(user.clone()).or_default();
        if *count >= MAX_PER_USER {
            return None;
        }
        *count += 1;
        Some(Place { streams: self.clone(), user: user.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

/// `GET /account/live`: `sessions` when a session came or went, `signed-out` when this one ended, and then no more.
pub async fn stream(
    State(app): State<App>,
    session: Session,
    person: Person,
    Extension(Stopping(stopping)): Extension<Stopping>,
) -> AppResult<Response> {
    let place = app.streams.enter(&person.id).ok_or_else(|| {
        AppError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_streams",
            "too many pages of yours are open; please close some",
        )
        .retry_after(HEARTBEAT)
    })?;
    let own = session.info().ok_or(SessionError::Unauthenticated)?.handle;
    let sessions = app.sessions.watch(&person.id);
    let feed = Feed { sessions, own, stopping, known: None, over: false, _place: place };
    Ok(event_stream(stream::unfold(feed, Feed::next)))
}

struct Feed {
    sessions: UserWatch,
    /// The session behind the page.
    own: Handle,
    stopping: CancellationToken,
    /// The sessions last told of; `None` at first.
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
                // Browsers drop an event without data.
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

/// The names of sessions, in an order of their own: what a page compares to see whether it still shows the right ones.
pub fn names(sessions: &[SessionInfo]) -> String {
    let mut names: Vec<_> = sessions.iter().map(|session| session.handle.to_string()).collect();
    names.sort_unstable();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_streams_and_no_more_until_one_ends() {
        let streams = Streams::default();
        let (user, other) = (UserId::new("a").unwrap(), UserId::new("b").unwrap());
        let mut open: Vec<_> = (0..MAX_PER_USER).map(|_| streams.enter(&user).unwrap()).collect();
        assert!(streams.enter(&user).is_none());
        assert!(streams.enter(&other).is_some());
        open.pop();
        assert!(streams.enter(&user).is_some());
        open.clear();
        assert!(streams.lock().is_empty(), "who has no stream costs no memory");
    }
}
