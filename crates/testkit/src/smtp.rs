//! A mail server that keeps its mail.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::certificate::{Certificate, text};
use crate::free_port;
use crate::process::{Process, poll, tool};
use crate::redis::ATTEMPTS;

const SINK: &str = include_str!("smtp_sink.py");

/// The time limit of [`SmtpServer::wait_for_message`].
const MAIL_LIMIT: Duration = Duration::from_secs(10);

/// The security of the server's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpMode {
    /// No TLS and no STARTTLS, as a client sees it when an attacker strips STARTTLS.
    Plain,
    /// STARTTLS is required before anything else.
    StartTlsRequired,
    /// TLS from the first byte.
    ImplicitTls,
}

/// A message the server has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReceivedMail {
    /// The envelope's sender.
    pub mail_from: String,
    /// The envelope's recipients.
    pub rcpt_tos: Vec<String>,
    /// The name in the client's `EHLO` or `HELO`.
    pub hello: String,
    /// The client's port of the connection that carried the message.
    pub client_port: u16,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// The user who had authenticated.
    pub login: Option<String>,
    /// The decoded subject.
    pub subject: String,
    /// The decoded plain text, empty when there is none.
    pub text: String,
    /// The decoded HTML, empty when there is none.
    pub html: String,
    /// The message as received.
    pub raw: String,
}

/// The mail server, killed when dropped.
#[derive(Debug)]
pub struct SmtpServer {
    port: u16,
    args: Vec<String>,
    certificate: Certificate,
    directory: TempDir,
    /// `None` after [`SmtpServer::kill`].
    process: Mutex<Option<Process>>,
}

impl SmtpServer {
    /// Starts a server that accepts mail from everybody.
    pub async fn start(mode: SmtpMode) -> Self {
        Self::launch_anywhere(mode, None, Certificate::create().await).await
    }

    /// Starts a server that presents the certificate of its authority.
    pub async fn start_as_authority(mode: SmtpMode) -> Self {
        Self::launch_anywhere(mode, None, Certificate::create_of_authority().await).await
    }

    /// Starts a server that accepts mail only after AUTH PLAIN or LOGIN with these credentials.
    pub async fn start_with_login(mode: SmtpMode, user: &str, password: &str) -> Self {
        Self::launch_anywhere(mode, Some((user, password)), Certificate::create().await).await
    }

    /// The port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority that a client has to trust, as a PEM file. The server's
    /// certificate is for `localhost` and 127.0.0.1.
    pub fn ca_file(&self) -> &Path {
        self.certificate.authority()
    }

    /// All messages accepted so far, in order.
    pub fn messages(&self) -> Vec<ReceivedMail> {
        let mails =
            std::fs::read_to_string(self.file("mails")).expect("the file is made at the start");
        // The last line may be incomplete.
        let complete = mails.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        complete
            .map(|line| serde_json::from_str(line).expect("the sink writes this form"))
            .collect()
    }

    /// Waits up to ten seconds for a message that satisfies `wanted`.
    pub async fn wait_for_message(&self, wanted: impl Fn(&ReceivedMail) -> bool) -> ReceivedMail {
        let found = poll(MAIL_LIMIT, || self.messages().into_iter().find(&wanted)).await;
        found.unwrap_or_else(|| panic!("no such mail came; these did: {:#?}", self.messages()))
    }

    /// Answers the content of the next `count` messages with `reply`, such as `"451 4.3.0 try again
    /// later"`.
    pub fn refuse_next(&self, count: usize, reply: &str) {
        let mut refusals =
            OpenOptions::new().append(true).open(self.file("refusals")).expect("it was made");
        let lines = format!("{reply}\n").repeat(count);
        refusals.write_all(lines.as_bytes()).expect("a temporary file can be written");
    }

    /// Delays the acceptance of the next message's content by `time`.
    pub fn accept_slowly(&self, time: Duration) {
        self.refuse_next(1, &format!("wait {}", time.as_secs_f64()));
    }

    /// Kills the server. Connections are reset and new ones refused.
    pub fn kill(&self) {
        self.process().take();
    }

    /// Kills the server and starts it again on the same port. Accepted messages are kept, refusals
    /// are not.
    pub async fn restart(&self) {
        self.kill();
        File::create(self.file("refusals")).expect("a temporary file can be written");
        let process = launch(self.port, &self.args, self.directory.path()).await;
        *self.process() = Some(process.unwrap_or_else(|error| panic!("the mail server {error}")));
    }

    async fn launch_anywhere(
        mode: SmtpMode,
        login: Option<(&str, &str)>,
        certificate: Certificate,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        for name in ["mails", "refusals"] {
            File::create(directory.path().join(name)).expect("a temporary file can be written");
        }
        std::fs::write(directory.path().join("sink.py"), SINK)
            .expect("a temporary file can be written");
        let args = arguments(mode, login, &certificate, directory.path());
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            match launch(port, &args, directory.path()).await {
                Ok(process) => {
                    return Self {
                        port,
                        args,
                        certificate,
                        directory,
                        process: Mutex::new(Some(process)),
                    };
                }
                Err(error) => failure = error,
            }
        }
        panic!("the mail server {failure}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("nothing panics while it holds the lock")
    }
}

fn arguments(
    mode: SmtpMode,
    login: Option<(&str, &str)>,
    certificate: &Certificate,
    directory: &Path,
) -> Vec<String> {
    let mode = match mode {
        SmtpMode::Plain => "plain",
        SmtpMode::StartTlsRequired => "starttls",
        SmtpMode::ImplicitTls => "tls",
    };
    let mut args = vec![
        text(&directory.join("sink.py")),
        format!("--mode={mode}"),
        format!("--certificate={}", text(&certificate.chain)),
        format!("--key={}", text(&certificate.key)),
        format!("--mails={}", text(&directory.join("mails"))),
        format!("--refusals={}", text(&directory.join("refusals"))),
    ];
    if let Some((user, password)) = login {
        args.extend(["--login", user, password].map(ToOwned::to_owned));
    }
    args
}

async fn launch(port: u16, args: &[String], directory: &Path) -> Result<Process, String> {
    let args = [args, &[format!("--port={port}")]].concat();
    let mut process = Process::spawn(&tool("venv/bin/python"), &args, &directory.join("log"));
    process.ready("listening").await?;
    Ok(process)
}
