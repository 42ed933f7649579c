//! The order of requests, and the expected responses.

use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::ValueEnum;

use crate::http::Answer;

/// The user in floor A's constant response.
const CONSTANT_USER: &str = "user-0000000";

/// The kind of requests to send.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// `POST /login`, each time for another user.
    Login,
    /// `GET /me`.
    Read,
    /// `GET /me`, with the same user in every response.
    Constant,
    /// `POST /write`.
    Write,
    /// One `POST /write` among nineteen `GET /me`.
    Mixed,
    /// Sign-ins to the whole service, by mail.
    Mail,
    /// `GET /login/status` of the whole service.
    Status,
    /// `GET /api/v1/portfolio` of the whole service.
    Portfolio,
}

impl Mode {
    fn signs_in(self) -> bool {
        matches!(self, Self::Login | Self::Mail)
    }
}

/// The requests still to be sent.
pub(crate) struct Requests {
    mode: Mode,
    file: Option<PathBuf>,
    /// User and cookie.
    sessions: Vec<(String, String)>,
    first_user: u64,
    /// The first value to write, above those of earlier runs.
    first_value: u64,
    sent: u64,
    limit: u64,
}

/// A request under way.
pub(crate) struct Request {
    user: String,
}

impl Requests {
    pub(crate) fn new(
        mode: Mode,
        file: Option<PathBuf>,
        first_user: u64,
        limit: u64,
    ) -> anyhow::Result<Self> {
        let mut sessions = Vec::new();
        if !mode.signs_in() {
            let path = file.as_ref().context("a file of cookies is needed")?;
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            for line in text.lines() {
                let (user, cookie) = line.split_once('\t').context("not user, tab, cookie")?;
                sessions.push((user.to_owned(), cookie.to_owned()));
            }
            anyhow::ensure!(!sessions.is_empty(), "no cookies in {}", path.display());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        Ok(Self {
            mode,
            file,
            sessions,
            first_user,
            first_value: u64::try_from(now)?,
            sent: 0,
            limit,
        })
    }

    /// The number of the next user to sign in by mail; `None` if there is none left.
    pub(crate) fn next_user(&mut self) -> Option<u64> {
        if self.sent == self.limit {
            return None;
        }
        self.sent += 1;
        Some(self.first_user + self.sent - 1)
    }

    /// Remembers the cookie of a user for the file.
    pub(crate) fn keep(&mut self, user: String, cookie: String) {
        self.sessions.push((user, cookie));
    }

    /// Writes the next request into `out`; `None` if there is none left.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) -> Option<Request> {
        if self.sent == self.limit {
            return None;
        }
        let number = self.sent;
        self.sent += 1;
        let written = match self.mode {
            Mode::Login => {
                let user = format!("user-{:07}", self.first_user + number);
                write_request(out, "POST", format_args!("/login?user={user}"), "").map(|()| user)
            }
            mode => {
                let index = usize::try_from(number % self.sessions.len() as u64).unwrap_or(0);
                let (user, cookie) = &self.sessions[index];
                let value = self.first_value + number;
                // One in twenty is a write, of another session in each turn.
                let turn = number / self.sessions.len() as u64;
                let writes =
                    mode == Mode::Write || (mode == Mode::Mixed && (number + turn) % 20 == 19);
                let user = if mode == Mode::Constant { CONSTANT_USER } else { user };
                match mode {
                    _ if writes => {
                        write_request(out, "POST", format_args!("/write?value={value}"), cookie)
                    }
                    Mode::Status => {
                        write_request(out, "GET", format_args!("/login/status"), cookie)
                    }
                    Mode::Portfolio => {
                        write_request(out, "GET", format_args!("/api/v1/portfolio"), cookie)
                    }
                    _ => write_request(out, "GET", format_args!("/me"), cookie),
                }
                .map(|()| user.to_owned())
            }
        };
        Some(Request { user: written.expect("writing to memory does not fail") })
    }

    /// Checks the response to this request. A sign-in's cookie is kept.
    pub(crate) fn judge(&mut self, request: &Request, answer: &Answer<'_>) -> Result<(), String> {
        let expected = match self.mode {
            Mode::Status => r#"{"status":"signed_in"}"#.to_owned(),
            Mode::Portfolio => format!("{{\"user_id\":\"{}\",", request.user),
            _ => format!("{{\"user\":\"{}\"}}", request.user),
        };
        let same = match self.mode {
            Mode::Portfolio => answer.body.starts_with(expected.as_bytes()),
            _ => answer.body == expected.as_bytes(),
        };
        if answer.status != 200 || !same {
            let body = String::from_utf8_lossy(answer.body);
            return Err(format!("status {} and {body:?} in place of {expected}", answer.status));
        }
        if self.mode == Mode::Login && self.file.is_some() {
            if answer.cookies.is_empty() {
                return Err("a sign-in without a cookie".to_owned());
            }
            self.keep(request.user.clone(), answer.cookies.join("; "));
        }
        Ok(())
    }

    /// After sign-ins: writes the cookies to the file.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        if let (true, Some(path)) = (self.mode.signs_in(), &self.file) {
            let mut lines = Vec::new();
            for (user, cookie) in &self.sessions {
                writeln!(lines, "{user}\t{cookie}")?;
            }
            std::fs::write(path, lines).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

fn write_request(
    out: &mut Vec<u8>,
    method: &str,
    target: std::fmt::Arguments<'_>,
    cookie: &str,
) -> std::io::Result<()> {
    write!(
        out,
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    )?;
    if !cookie.is_empty() {
        write!(out, "Cookie: {cookie}\r\n")?;
    }
    if method == "POST" {
        out.extend(b"Content-Length: 0\r\n");
    }
    out.extend(b"\r\n");
    Ok(())
}
