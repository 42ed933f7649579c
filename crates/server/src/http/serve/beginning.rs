//! What a trusted proxy sends before its first request: the PROXY protocol, and the preface of
//! HTTP/2.

use std::io;
use std::net::SocketAddr;

use axum::body::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Serving;
use super::listener::Socket;
use super::proxy_protocol::{self, Header};

/// The beginning of HTTP/2's preface, which no method of HTTP/1 is called (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// How a connection begins.
#[derive(Debug)]
pub(super) struct Beginning {
    /// Who is at its other end, as far as the proxy told.
    pub(super) peer: SocketAddr,
    /// What was read of the first request.
    pub(super) early: Bytes,
    pub(super) protocol: Protocol,
}

impl Beginning {
    /// Nothing is looked at.
    pub(super) fn of_stranger(peer: SocketAddr) -> Self {
        Self { peer, early: Bytes::new(), protocol: Protocol::Http1 }
    }

    /// Reads what stands in front of the first request of the proxy `peer`.
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
        // A proxy may connect long before it has a request.
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

/// Leaves what follows the header in `early`.
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
