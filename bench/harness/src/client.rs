//! A client that sends requests one at a time, with cookies, as a browser does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The time limit of a response, and of a held request until it reaches the barrier.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const MAX_HEADERS: usize = 32;

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The cookies that it sets, by name; without a value those that it removes.
    cookies: Vec<(String, Option<String>)>,
    /// Null if the body is no JSON.
    pub(crate) body: Value,
}

/// The effect of a response on the cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieEffect {
    Untouched,
    Set,
    Cleared,
}

impl Answer {
    /// If a response sets one cookie and clears another, the former counts.
    pub(crate) fn cookie_effect(&self) -> CookieEffect {
        match self.cookies.as_slice() {
            [] => CookieEffect::Untouched,
            cookies if cookies.iter().any(|(_, value)| value.is_some()) => CookieEffect::Set,
            _ => CookieEffect::Cleared,
        }
    }
}

/// The cookies of a browser.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cookies(BTreeMap<String, String>);

impl Cookies {
    /// Stores the cookies that a response sets and deletes those that it removes.
    pub(crate) fn receive(&mut self, answer: &Answer) {
        for (name, value) in &answer.cookies {
            match value {
                Some(value) => self.0.insert(name.clone(), value.clone()),
                None => self.0.remove(name),
            };
        }
    }

    fn header(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("cookie: {}\r\n", pairs.join("; "))
    }
}

/// Sends a request without a body, over a new connection.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    cookies: &Cookies,
) -> anyhow::Result<Answer> {
    let request = request(address, method, path, cookies, "connection: close\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer =
        timeout(PATIENCE, exchange).await.with_context(|| format!("no answer to {path}"))??;
    let head = parse(&answer).and_then(|head| head.context("it is cut off"));
    Ok(head.with_context(|| format!("the answer to {path}"))?.answer(&answer))
}

/// A connection for many requests.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { address, stream })
    }

    /// Sends a request without a body.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        cookies: &Cookies,
    ) -> anyhow::Result<Answer> {
        let request = request(self.address, method, path, cookies, "");
        timeout(PATIENCE, self.exchange(&request))
            .await
            .with_context(|| format!("no answer to {path}"))?
    }

    async fn exchange(&mut self, request: &str) -> anyhow::Result<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut seen = Vec::with_capacity(1024);
        loop {
            ensure!(self.stream.read_buf(&mut seen).await? > 0, "the server closed the connection");
            if let Some(head) = parse(&seen)?
                && seen.len()
                    >= head.length + head.body_length.context("an answer without a length")?
            {
                return Ok(head.answer(&seen));
            }
        }
    }
}

fn request(address: SocketAddr, method: &str, path: &str, cookies: &Cookies, more: &str) -> String {
    let cookies = cookies.header();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{cookies}content-length: 0\r\n{more}\r\n"
    )
}

struct Head {
    status: u16,
    cookies: Vec<(String, Option<String>)>,
    length: usize,
    body_length: Option<usize>,
}

impl Head {
    fn answer(self, bytes: &[u8]) -> Answer {
        let body = serde_json::from_slice(&bytes[self.length..]).unwrap_or_default();
        Answer { status: self.status, cookies: self.cookies, body }
    }
}

/// The head of a response; `None` while it is incomplete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let (mut cookies, mut body_length) = (Vec::new(), None);
    for header in &*response.headers {
        let value = std::str::from_utf8(header.value)?;
        if header.name.eq_ignore_ascii_case("set-cookie") {
            cookies.push(set_cookie(value));
        } else if header.name.eq_ignore_ascii_case("content-length") {
            body_length = Some(value.parse()?);
        }
    }
    Ok(Some(Head { status: response.code.context("no status")?, cookies, length, body_length }))
}

/// A cookie's name and value; no value if the cookie is removed.
fn set_cookie(line: &str) -> (String, Option<String>) {
    let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let gone = attributes.split(';').any(|attribute| {
        let attribute = attribute.trim().to_ascii_lowercase();
        attribute == "max-age=0" || attribute.starts_with("expires=thu, 01 jan 1970")
    });
    (name.to_owned(), (!gone && !value.is_empty()).then(|| value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cookies: &str) -> Answer {
        let text =
            format!("HTTP/1.1 200 OK\r\n{cookies}content-length: 14\r\n\r\n{{\"user\":\"ann\"}}");
        parse(text.as_bytes()).unwrap().unwrap().answer(text.as_bytes())
    }

    #[test]
    fn an_answer_says_what_it_does_to_the_cookie() {
        for (cookies, expected) in [
            ("", CookieEffect::Untouched),
            ("set-cookie: id=abc; Path=/; Max-Age=60\r\n", CookieEffect::Set),
            ("Set-Cookie: id=; Max-Age=0; Path=/\r\n", CookieEffect::Cleared),
            ("set-cookie: id=x; expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n", CookieEffect::Cleared),
        ] {
            let answer = answer(cookies);
            assert_eq!((answer.status, answer.cookie_effect()), (200, expected));
            assert_eq!(answer.body["user"], "ann");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\n").unwrap().is_none());
    }

    #[test]
    fn a_browser_keeps_what_was_set_until_it_is_removed() {
        let mut cookies = Cookies::default();
        cookies.receive(&answer("set-cookie: b=2; Path=/\r\nset-cookie: a=1\r\n"));
        assert_eq!(cookies.header(), "cookie: a=1; b=2\r\n");
        cookies.receive(&answer("set-cookie: a=; Max-Age=0\r\nset-cookie: b=3\r\n"));
        assert_eq!(cookies.header(), "cookie: b=3\r\n");
    }
}
