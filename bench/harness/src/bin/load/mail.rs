//! Signs a user in to the whole service as a browser does: requests a mail, reads it, sends the
//! code.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::http::Connection;

/// The mailbox keeps 50 mails. More concurrent sign-ins would push out mails that are not read yet.
pub(crate) const MOST_AT_ONCE: usize = 16;
/// The pause between two reads of the mailbox.
const LOOK: Duration = Duration::from_millis(5);

/// Returns the user's id and the session cookie.
pub(crate) async fn sign_in(
    connection: &mut Connection,
    address: SocketAddr,
    mailbox: &str,
    number: u64,
) -> anyhow::Result<(String, String)> {
    let email = format!("user-{number:07}@bench.example");
    let mut browser = Browser {
        connection,
        address,
        mailbox,
        number,
        cookie: String::new(),
        token: String::new(),
    };
    let csrf = browser.send("GET", "/api/v1/auth/csrf", "").await?;
    browser.token = csrf["csrf_token"].as_str().context("no CSRF token")?.to_owned();
    browser
        .send("POST", "/api/v1/auth/magic/request", &json!({ "email": email }).to_string())
        .await?;
    let code = loop {
        match browser.code(&email).await? {
            Some(code) => break code,
            None => tokio::time::sleep(LOOK).await,
        }
    };
    let answer = browser
        .send("POST", "/api/v1/auth/magic/verify", &json!({ "code": code }).to_string())
        .await?;
    let user = answer["user"]["id"].as_str().context("no user")?.to_owned();
    ensure!(browser.cookie.starts_with("session="), "no session cookie");
    Ok((user, browser.cookie))
}

struct Browser<'a> {
    connection: &'a mut Connection,
    address: SocketAddr,
    /// The path of the mailbox, with its key.
    mailbox: &'a str,
    number: u64,
    /// The latest visitor or session cookie.
    cookie: String,
    token: String,
}

impl Browser<'_> {
    async fn send(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        self.write(method, path, body)?;
        let answer = self.connection.exchange().await?;
        let text = String::from_utf8_lossy(answer.body);
        ensure!(answer.status == 200, "{path} was answered with {}: {text}", answer.status);
        let cookie = answer.cookies.iter().find(|cookie| !cookie.starts_with("device="));
        if let Some(cookie) = cookie {
            self.cookie = (*cookie).to_owned();
        }
        Ok(serde_json::from_slice(answer.body)?)
    }

    /// The code mailed to `email`; `None` if the mailbox does not have it yet.
    async fn code(&mut self, email: &str) -> anyhow::Result<Option<String>> {
        // Sent without a forwarding header, because the mailbox answers only local clients.
        let Self { address, mailbox, .. } = self;
        write!(self.connection.outgoing(), "GET {mailbox} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        let answer = self.connection.exchange().await?;
        ensure!(answer.status == 200, "the mailbox was answered with {}", answer.status);
        let page = std::str::from_utf8(answer.body)?;
        let Some((_, mail)) = page.split_once(&format!("<strong>{email}</strong>")) else {
            return Ok(None);
        };
        let (_, code) = mail.split_once("data-code=\"").context("a mail without a code")?;
        Ok(code.split('"').next().map(str::to_owned))
    }

    /// Every user has a different client address.
    fn write(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<()> {
        let Self { address, cookie, token, number, .. } = self;
        let client =
            std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(*number).unwrap_or(0));
        let out = self.connection.outgoing();
        write!(
            out,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: \
                http://{address}\r\nUser-Agent: bench\r\n\
             X-Forwarded-For: {client}\r\nCookie: {cookie}\r\nX-CSRF-Token: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}
