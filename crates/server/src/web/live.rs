//! Live pages: server-sent events that say when the session behind a page ends, or the list of sessions changes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::StatusCode;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracera_session::{Ended, Session, SessionInfo, Sessions, UserId};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::web::page::Person;

/// How many streams one user may have open on one instance, over all tabs.
const MAX_PER_USER: usize = 16;
/// How often the list of sessions is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often an idle stream sends a comment, so that nobody between takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

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
pub async fn stream(State(app): State<App>, session: Session, person: Person) -> AppResult<Response> {
    let place = app.streams.enter(&person.id).ok_or_else(|| {
        AppError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_streams",
            "too many pages of yours are open; please close some",
        )
        .retry_after(HEARTBEAT)
    })?;
    let guard = session.guard()?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feed = Feed {
        sessions: app.sessions.clone(),
        ended: Box::pin(async move { guard.ended().await }),
        looks,
        stopping: app.stopping.clone(),
        known: None,
        over: false,
        place,
    };
    let events = stream::unfold(feed, Feed::next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

struct Feed {
    sessions: Sessions,
    ended: Pin<Box<dyn Future<Output = Ended> + Send>>,
    looks: Interval,
    stopping: CancellationToken,
    /// The sessions last seen; `None` before the first look.
    known: Option<String>,
    over: bool,
    place: Place,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.over {
            return None;
        }
        loop {
            tokio::select! {
                _ = &mut self.ended => {
                    self.over = true;
                    // Browsers drop an event without data.
                    return Some((Ok(Event::default().event("signed-out").data("now")), self));
                }
                () = self.stopping.cancelled() => return None,
                _ = self.looks.tick() => {
                    if let Some(sessions) = self.look().await {
                        let event = Event::default().event("sessions").data(sessions);
                        return Some((Ok(event), self));
                    }
                }
            }
        }
    }

    /// The sessions there are, if they are others than before.
    async fn look(&mut self) -> Option<String> {
        // While the store does not answer nothing is known to have changed.
        let sessions = names(&self.sessions.list(&self.place.user).await.ok()?);
        let changed = self.known.as_ref() != Some(&sessions);
        self.known = Some(sessions.clone());
        changed.then_some(sessions)
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
