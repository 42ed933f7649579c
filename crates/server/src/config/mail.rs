//! How mail leaves.

use std::path::PathBuf;

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::Mode;
use super::address::{ServiceUrl, is_loopback, not_a_url};
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader};

/// How mail leaves. Default [`MailSettings::None`], in dev mode [`MailSettings::Terminal`] whatever
/// is set.
#[derive(Debug)]
pub enum MailSettings {
    /// By SMTP.
    Smtp(SmtpSettings),
    /// By Resend's HTTP API.
    Resend(ResendSettings),
    /// It does not: it is printed on the terminal.
    Terminal,
    /// It does not: nobody can sign in by e-mail.
    None,
}

/// A mail server.
#[derive(Debug)]
pub struct SmtpSettings {
    /// Its name or address.
    pub host: String,
    /// Its port. Default 465 for TLS, 587 for STARTTLS, 25 without.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// How to sign in there. Default not at all.
    pub credentials: Option<SmtpCredentials>,
    /// A PEM file of root certificates accepted besides the public ones. Default none.
    pub ca_file: Option<PathBuf>,
    /// The sender.
    pub from: Mailbox,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS by STARTTLS, or no mail.
    StartTls,
    /// None; on loopback only.
    Plain,
}

/// User and password at a mail server.
#[derive(Debug)]
pub struct SmtpCredentials {
    /// The user; a secret too, for some providers put the key here.
    pub user: SecretString,
    /// The password.
    pub password: SecretString,
}

/// Resend's HTTP API.
#[derive(Debug)]
pub struct ResendSettings {
    /// The key.
    pub api_key: SecretString,
    /// The API. Default `https://api.resend.com`.
    pub api_url: ServiceUrl,
    /// The sender.
    pub from: Mailbox,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Read<MailSettings> {
    let smtp = read_smtp(reader);
    let resend = read_resend(reader);
    let (smtp, resend) = (smtp?, resend?);
    if reader.mode == Mode::Dev {
        for (name, set) in [("SMTP_URL", smtp.is_some()), ("RESEND_API_KEY", resend.is_some())] {
            if set {
                reader.warn(name, "has no effect in dev mode: mail is printed on the terminal");
            }
        }
        return Ok(MailSettings::Terminal);
    }
    match (smtp, resend) {
        (Some(_), Some(_)) => {
            let wrong = Wrong::new("is set beside SMTP_URL", "choose one way to send mail");
            Err(reader.refuse("RESEND_API_KEY", wrong))
        }
        (Some(smtp), None) => Ok(MailSettings::Smtp(smtp)),
        (None, Some(resend)) => Ok(MailSettings::Resend(resend)),
        (None, None) => {
            reader.warn(
                "SMTP_URL",
                "is not set, nor is RESEND_API_KEY: nobody can sign in by e-mail",
            );
            Ok(MailSettings::None)
        }
    }
}

fn read_smtp(reader: &mut Reader<'_>) -> Read<Option<SmtpSettings>> {
    let server = reader.optional("SMTP_URL", parse_smtp_url);
    let from = reader.optional("MAIL_FROM", parse_mailbox);
    let ca_file = reader.given("SMTP_CA_FILE").map(PathBuf::from);
    let (server, from) = (server?, from?);
    let Some(Server { host, port, security, credentials }) = server else {
        for name in ["MAIL_FROM", "SMTP_CA_FILE"] {
            if reader.given(name).is_some() {
                reader.warn(name, "has no effect without SMTP_URL");
            }
        }
        return Ok(None);
    };
    let Some(from) = from else {
        let wrong = Wrong::new(
            "is missing while SMTP_URL is set",
            "set the sender, such as Name <a@b.example>",
        );
        return Err(reader.refuse("MAIL_FROM", wrong));
    };
    if ca_file.is_some() && security == SmtpSecurity::Plain {
        let wrong =
            Wrong::new("is set for a connection without TLS", "use smtps:// or ?tls=required");
        return Err(reader.refuse("SMTP_CA_FILE", wrong));
    }
    Ok(Some(SmtpSettings { host, port, security, credentials, ca_file, from }))
}

fn read_resend(reader: &mut Reader<'_>) -> Read<Option<ResendSettings>> {
    let pair = reader.pair("RESEND_API_KEY", "RESEND_FROM_EMAIL");
    let from = reader.optional("RESEND_FROM_EMAIL", parse_mailbox);
    let api_url = reader.read("RESEND_API_URL", ServiceUrl::parse);
    let (pair, from, api_url) = (pair?, from?, api_url?);
    Ok(pair.zip(from).map(|((api_key, _), from)| ResendSettings {
        api_key: api_key.into(),
        api_url,
        from,
    }))
}

struct Server {
    host: String,
    port: u16,
    security: SmtpSecurity,
    credentials: Option<SmtpCredentials>,
}

fn parse_smtp_url(value: &str) -> Result<Server, Wrong> {
    const FORMS: &str = "write smtps://user:password@host, or smtp://…?tls=required for STARTTLS";
    let url = Url::parse(value).map_err(not_a_url)?;
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| Wrong::new("has no host", FORMS))?;
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err(Wrong::new("holds more than host, port and credentials", FORMS));
    }
    let security = match (url.scheme(), url.query()) {
        ("smtps", None) => SmtpSecurity::Tls,
        ("smtp", Some("tls=required")) => SmtpSecurity::StartTls,
        ("smtp", None) if is_loopback(host) => SmtpSecurity::Plain,
        ("smtp", None) => return Err(Wrong::new("would send mail unencrypted", FORMS)),
        ("smtp" | "smtps", Some(_)) => {
            return Err(Wrong::new("has a parameter we do not know", FORMS));
        }
        _ => return Err(Wrong::new("is neither smtps nor smtp", FORMS)),
    };
    let default_port = match security {
        SmtpSecurity::Tls => 465,
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::Plain => 25,
    };
    if url.port() == Some(0) {
        return Err(Wrong::new("has port 0", FORMS));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Server {
        host,
        port: url.port().unwrap_or(default_port),
        security,
        credentials: credentials(&url)?,
    })
}

fn credentials(url: &Url) -> Result<Option<SmtpCredentials>, Wrong> {
    let decoded = |part: &str| {
        let text = percent_decode_str(part).decode_utf8();
        let text = text.map_err(|_| {
            Wrong::new("has credentials that are no UTF-8", "percent-encode them as UTF-8")
        })?;
        Ok(SecretString::from(text.as_ref()))
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => {
            Err(Wrong::new("has a user or a password, not both", "write user:password@ or neither"))
        }
        (user, Some(password)) => {
            Ok(Some(SmtpCredentials { user: decoded(user)?, password: decoded(password)? }))
        }
    }
}

fn parse_mailbox(value: &str) -> Result<Mailbox, Wrong> {
    let wrong = || {
        Wrong::new(format!("is {}", quoted(value)), "write a mailbox, such as Name <a@b.example>")
    };
    if value.contains(char::is_control) {
        return Err(wrong());
    }
    value.parse().map_err(|_| wrong())
}
