//! Reads what a trusted proxy sends before the first request: the PROXY header, and the HTTP/2
//! preface.

use std::io;
use std::net::SocketAddr;

use axum::body::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Serving;
use super::listener::Socket;
use super::proxy_protocol::{self, Header};

/// The start of the HTTP/2 preface. No HTTP/1 method has this name (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The start of a connection.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The client, as named by the proxy; otherwise the peer.
    pub(super) peer: SocketAddr,
    /// The bytes already read from the first request.
    pub(super) early: Bytes,
    pub(super) protocol: Protocol,
}

impl Beginning {
    /// For peers that are not trusted: nothing is read.
    pub(super) fn of_stranger(peer: SocketAddr) -> Self {
        Self { peer, early: Bytes::new(), protocol: Protocol::Http1 }
    }

    /// Reads the bytes before the first request from the proxy `peer`.
    pub(super) async fn read(
        socket: &mut Socket,
        mut peer: SocketAddr,
        serving: &Serving,
    ) -> io::Result<Self> {
        let limits = &serving.limits;
        let mut early = Vec::new();
        if serving.proxy_protocol {
            let header = timeout(limits.header_read, read_proxy_header(socket, &mut early));
            peer = header.await??.unwrap_or(peer);
        }
        // A proxy may connect long before its first request.
        let decided = |early: &[u8]| !early.is_empty() && !PREFACE.starts_with(early);
        while !decided(&early) && !early.starts_with(PREFACE) {
            let unused = early.is_empty();
            let read = tokio::select! {
                read = timeout(limits.idle, socket.read_buf(&mut early)) => read??,
                () = serving.stop.cancelled(), if unused => 0,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let protocol = if early.starts_with(PREFACE) { Protocol::Http2 } else { Protocol::Http1 };
        Ok(Self { peer, early: early.into(), protocol })
    }
}

/// Reads the PROXY header. The bytes after it stay in `early`.
async fn read_proxy_header(
    socket: &mut Socket,
    early: &mut Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    loop {
        match proxy_protocol::parse(early)? {
            Header::Complete { length, client } => {
                early.drain(..length);
                return Ok(client);
            }
            Header::Incomplete => {
                if socket.read_buf(early).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}
