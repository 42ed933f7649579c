//! Answers that go on: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};

/// How often an idle stream sends a comment, so that nobody between takes it for dead.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// The answer that sends these events as they come.
pub(crate) fn event_stream(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    // nginx would otherwise collect events until its buffer is full.
    ([("x-accel-buffering", "no")], events).into_response()
}
