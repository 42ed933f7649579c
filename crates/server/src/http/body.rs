//! Tells whether a timeout is the client's fault: it has not sent its body, or the server is slow.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// Whether a read of the body is pending.
#[derive(Clone, Debug, Default)]
pub(super) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    pub(super) fn is_now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that records whether a read of it is pending.
struct Watched {
    body: Body,
    awaited: Awaited,
}

/// Wraps the body, and returns the flag for pending reads.
pub(super) fn watched(body: Body) -> (Body, Awaited) {
    let awaited = Awaited::default();
    (Body::new(Watched { body, awaited: awaited.clone() }), awaited)
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.awaited.0.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
