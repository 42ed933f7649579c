//! Adds the security headers to the HTTP library's own responses. It answers unreadable requests
//! with an empty 400 or 431, which no layer sees.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use memchr::memmem;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracera_guard::SecurityHeaders;

/// A header of every response that passed through the layers.
const MARK: &[u8] = b"\r\nx-content-type-options: ";

/// The headers as lines, each with its line end.
pub(super) fn lines(headers: &SecurityHeaders) -> Arc<[u8]> {
    let mut map = HeaderMap::new();
    headers.apply(&mut map);
    let lines = map
        .iter()
        .map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    lines.flatten().collect()
}

pin_project! {
    /// A connection that adds the headers to responses without them.
    pub(super) struct Headed<S> {
        #[pin]
        stream: S,
        lines: Arc<[u8]>,
        // The rest of a completed response that is not yet written.
        rest: Vec<u8>,
    }
}

impl<S> Headed<S> {
    pub(super) fn new(stream: S, lines: Arc<[u8]>) -> Self {
        Self { stream, lines, rest: Vec::new() }
    }
}

/// The response with the headers added, if it is one of the library's own: complete, empty, and
/// without them.
fn with_headers(answer: &[u8], lines: &[u8]) -> Option<Vec<u8>> {
    if !answer.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let has = |part: &[u8]| memmem::find(answer, part).is_some();
    let head = answer.strip_suffix(b"\r\n").filter(|head| head.ends_with(b"\r\n"))?;
    (has(b"\r\ncontent-length: 0\r\n") && !has(MARK)).then(|| [head, lines, b"\r\n"].concat())
}

impl<S: AsyncWrite> Headed<S> {
    fn poll_rest(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        while !this.rest.is_empty() {
            let sent = ready!(this.stream.as_mut().poll_write(context, this.rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.rest.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite> AsyncWrite for Headed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_rest(context))?;
        match with_headers(bytes, &self.lines) {
            Some(answer) => {
                *self.project().rest = answer;
                Poll::Ready(Ok(bytes.len()))
            }
            None => self.project().stream.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match parts {
            [part] => self.poll_write(context, part),
            _ => {
                ready!(self.as_mut().poll_rest(context))?;
                self.project().stream.poll_write_vectored(context, parts)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_rest(context))?;
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_rest(context))?;
        self.project().stream.poll_shutdown(context)
    }
}

impl<S: AsyncRead> AsyncRead for Headed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().stream.poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_librarys_own_answers_are_changed() {
        let lines = lines(&SecurityHeaders::new().https(true));
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
              content-length: 0\r\n\r\n";
        let answer = String::from_utf8(with_headers(own, &lines).unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        for header in
            ["x-frame-options: DENY", "x-xss-protection: 1; mode=block", "connection: close"]
        {
            assert_eq!(answer.matches(&format!("\r\n{header}\r\n")).count(), 1, "{answer}");
        }
        assert_eq!(with_headers(answer.as_bytes(), &lines), None, "it has them now");
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            b"the body of an answer",
            b"",
        ] {
            assert_eq!(with_headers(other, &lines), None);
        }
    }
}
