//! Server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use http::StatusCode;
use tracera_session::UserId;

use crate::http::error::{AppError, AppResult};

/// Interval of comments on an idle stream, so that proxies do not close it.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// A response that streams these events.
pub(crate) fn event_stream(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events =
        Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    // `Sse` itself would set `no-cache`, which allows browsers to store the response. Without
    // `X-Accel-Buffering`, nginx would hold events back until its buffer is full.
    ([("cache-control", "no-store"), ("x-accel-buffering", "no")], events).into_response()
}

/// Counts the open streams of one kind by user. Cheap to clone; clones share the count.
#[derive(Debug, Clone)]
pub struct Streams {
    max_per_user: usize,
    open: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// The slot of an open stream, released when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    streams: Streams,
    user: UserId,
}

impl Streams {
    /// Allows `max_per_user` streams per user on this instance, across all tabs.
    pub fn new(max_per_user: usize) -> Self {
        Self { max_per_user, open: Arc::default() }
    }

    /// Takes a slot for the user.
    ///
    /// # Errors
    /// 429 when the user already has the maximum.
    pub(crate) fn enter(&self, user: &UserId) -> AppResult<Place> {
        let mut open = self.lock();
        let count = open.entry(user.clone()).or_default();
        if *count >= self.max_per_user {
            return Err(AppError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "too many pages or downloads of yours are open; please close some",
            )
            .retry_after(HEARTBEAT));
        }
        *count += 1;
        Ok(Place { streams: self.clone(), user: user.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_streams_and_no_more_until_one_ends() {
        let streams = Streams::new(16);
        let (user, other) = (UserId::new("a").unwrap(), UserId::new("b").unwrap());
        let mut open: Vec<_> = (0..16).map(|_| streams.enter(&user).unwrap()).collect();
        assert!(streams.enter(&user).is_err());
        assert!(streams.enter(&other).is_ok());
        open.pop();
        assert!(streams.enter(&user).is_ok());
        open.clear();
        assert!(streams.lock().is_empty(), "who has no stream costs no memory");
    }
}
