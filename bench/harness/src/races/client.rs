//! One request over a connection of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

const MAX_HEADERS: usize = 32;

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The cookies it sets, by name, and without a value those it removes.
    cookies: Vec<(String, Option<String>)>,
    /// Null when it is no JSON.
    pub(super) body: Value,
}

/// How an answer treats the cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieEffect {
    Untouched,
    Set,
    Cleared,
}

impl Answer {
    /// One that is set says more than one that is cleared.
    pub(super) fn cookie_effect(&self) -> CookieEffect {
        match self.cookies.as_slice() {
            [] => CookieEffect::Untouched,
            cookies if cookies.iter().any(|(_, value)| value.is_some()) => CookieEffect::Set,
            _ => CookieEffect::Cleared,
        }
    }
}

/// The cookies of a browser.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cookies(BTreeMap<String, String>);

impl Cookies {
    /// Takes what an answer sets and gives up what it removes.
    pub(super) fn receive(&mut self, answer: &Answer) {
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

/// Sends a request without a body.
pub(super) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    cookies: &Cookies,
) -> anyhow::Result<Answer> {
    let cookies = cookies.header();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{cookies}content-length: 0\r\nconnection: close\r\n\r\n"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, exchange).await.with_context(|| format!("no answer to {path}"))??;
    parse(&answer).with_context(|| format!("the answer to {path}"))
}

fn parse(bytes: &[u8]) -> anyhow::Result<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { anyhow::bail!("it is cut off") };
    let cookies = response
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("set-cookie"))
        .map(|header| Ok(set_cookie(std::str::from_utf8(header.value)?)))
        .collect::<anyhow::Result<_>>()?;
    Ok(Answer {
        status: response.code.context("no status")?,
        cookies,
        body: serde_json::from_slice(&bytes[head..]).unwrap_or_default(),
    })
}

/// A cookie's name, and its value unless it is removed.
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
        let text = format!("HTTP/1.1 200 OK\r\n{cookies}content-length: 14\r\n\r\n{{\"user\":\"ann\"}}");
        parse(text.as_bytes()).unwrap()
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
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
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
