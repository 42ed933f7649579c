//! A connection with time limits on its client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::ServeLimits;
use super::listener::Socket;

/// Chunk size while reading headers, so that their buffer grows no faster than they arrive.
const HEAD_PIECE_BYTES: usize = 4 * 1024;

/// The phase of a connection: odd while a request is being answered, even while waiting for the
/// next. Numbers never repeat.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<AtomicU64>);

impl Phase {
    pub(super) fn answering(&self) {
        self.0.fetch_or(1, Ordering::Relaxed);
    }

    fn answered(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn number(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn is_answering(&self) -> bool {
        self.number() % 2 == 1
    }
}

/// A socket with time limits on receiving headers and on sending responses.
pub(super) struct Paced {
    socket: Socket,
    /// Bytes that were already read.
    early: Bytes,
    phase: Phase,
    header_read: Duration,
    stall: Duration,
    /// The timer for incomplete headers, with the phase in which they began.
    head: Option<(u64, Pin<Box<Sleep>>)>,
    /// The timer for a client that reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(socket: Socket, early: Bytes, phase: Phase, limits: &ServeLimits) -> Self {
        let (header_read, stall) = (limits.header_read, limits.stall);
        Self { socket, early, phase, header_read, stall, head: None, stalled: None }
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        }
        let piece = self.early.split_to(self.early.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        Poll::Ready(Ok(()))
    }

    /// Reads a chunk of the headers, within the time limit for all of them.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let phase = self.phase.number();
        self.head.take_if(|(begun, _)| *begun != phase);
        if let Some((_, head)) = &mut self.head
            && head.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let mut piece = [0; HEAD_PIECE_BYTES];
        let mut piece = ReadBuf::new(&mut piece[..HEAD_PIECE_BYTES.min(buffer.remaining())]);
        ready!(self.poll_next(context, &mut piece))?;
        buffer.put_slice(piece.filled());
        if self.head.is_none() && !piece.filled().is_empty() {
            self.head = Some((phase, Box::pin(sleep(self.header_read))));
        }
        Poll::Ready(Ok(()))
    }

    /// Fails when writing makes no progress for too long.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        self.socket.forget_unsent();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.phase.is_answering() {
            this.head = None;
            return this.poll_next(context, buffer);
        }
        this.poll_head(context, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.bounded(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(context, parts);
        this.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(context);
        this.bounded(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

/// The body of a response. When it ends, the connection waits for the next request.
pub(super) struct Tracked {
    body: Body,
    phase: Option<Phase>,
}

impl Tracked {
    pub(super) fn new(body: Body, phase: Option<Phase>) -> Self {
        Self { body, phase }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(phase) = &self.phase {
            phase.answered();
        }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
