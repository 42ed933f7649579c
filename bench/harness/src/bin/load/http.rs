//! A minimal HTTP/1.1 client. It takes little of the CPU that it shares with the server under test.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEADERS: usize = 32;

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

/// A response. Borrowed from the connection until the next exchange.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// `name=value` of each cookie in the response.
    pub(crate) cookies: Vec<&'a str>,
}

struct Head {
    status: u16,
    length: usize,
    body_length: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, outgoing: Vec::with_capacity(1024), incoming: Vec::with_capacity(4096) })
    }

    /// The buffer for the next request.
    pub(crate) fn outgoing(&mut self) -> &mut Vec<u8> {
        self.outgoing.clear();
        &mut self.outgoing
    }

    /// Sends the request and reads the whole response.
    pub(crate) async fn exchange(&mut self) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(&self.outgoing).await?;
        self.incoming.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                bail!("the server closed the connection");
            }
            match parse_head(&self.incoming)? {
                Some(head) if self.incoming.len() >= head.length + head.body_length => break head,
                _ => {}
            }
        };
        let (text, body) = self.incoming.split_at(head.length);
        if body.len() != head.body_length {
            bail!("{} bytes after the answer", body.len() - head.body_length);
        }
        Ok(Answer { status: head.status, body, cookies: cookies(text)? })
    }
}

fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let body_length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .context("an answer without a length")?;
    let body_length = std::str::from_utf8(body_length.value)?.parse()?;
    Ok(Some(Head {
        status: response.code.context("an answer without a status")?,
        length,
        body_length,
    }))
}

fn cookies(head: &[u8]) -> anyhow::Result<Vec<&str>> {
    std::str::from_utf8(head)?
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, cookie)| Ok(cookie.split(';').next().unwrap_or(cookie)))
        .collect()
}
