//! Mail settings.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};

use super::Mode;
use super::address::{ServiceUrl, is_loopback, not_a_url};
use super::http::HttpSettings;
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader};

/// The mail transport. Default [`MailSettings::None`]; in dev mode always
/// [`MailSettings::Terminal`].
#[derive(Debug)]
pub enum MailSettings {
    /// SMTP.
    Smtp(SmtpSettings),
    /// Resend's HTTP API.
    Resend(ResendSettings),
    /// Mails are printed on the terminal instead of being sent.
    Terminal,
    /// Mail is not configured, so nobody can sign in by e-mail.
    None,
}

/// A mail server.
#[derive(Debug)]
pub struct SmtpSettings {
    /// The host name or address.
    pub host: String,
    /// The port. Default 465 for TLS, 587 for STARTTLS, 25 without TLS.
    pub port: u16,
    /// The protection of the connection.
    pub security: SmtpSecurity,
    /// The credentials. Default none.
    pub credentials: Option<SmtpCredentials>,
    /// A PEM file of additional root certificates. Default none.
    pub ca_file: Option<PathBuf>,
    /// The name in `EHLO`. Default: the host of the public URL, else the sender's domain, else an
    /// address literal.
    pub hello: ClientId,
    /// The sender.
    pub from: Mailbox,
}

/// The protection of a connection to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Implicit TLS.
    Tls,
    /// STARTTLS, required.
    StartTls,
    /// No TLS; on loopback only.
    Plain,
}

/// The credentials for a mail server.
#[derive(Debug)]
pub struct SmtpCredentials {
    /// The user name; secret, because some providers expect the key here.
    pub user: SecretString,
    /// The password.
    pub password: SecretString,
}

/// Resend's HTTP API.
#[derive(Debug)]
pub struct ResendSettings {
    /// The API key.
    pub api_key: SecretString,
    /// The URL of the API. Default `https://api.resend.com`.
    pub api_url: ServiceUrl,
    /// The sender.
    pub from: Mailbox,
}

impl MailSettings {
    /// Whether there is a transport.
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }
}

pub(super) fn read(reader: &mut Reader<'_>, http: Option<&HttpSettings>) -> Read<MailSettings> {
    let smtp = read_smtp(reader, http);
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

fn read_smtp(reader: &mut Reader<'_>, http: Option<&HttpSettings>) -> Read<Option<SmtpSettings>> {
    let server = reader.optional("SMTP_URL", parse_smtp_url);
    let from = reader.optional("MAIL_FROM", parse_mailbox);
    let ca_file = reader.given("SMTP_CA_FILE").map(PathBuf::from);
    let hello = reader.optional("SMTP_HELLO_NAME", parse_hello);
    let (server, from, hello) = (server?, from?, hello?);
    let Some(Server { host, port, security, credentials }) = server else {
        for name in ["MAIL_FROM", "SMTP_CA_FILE", "SMTP_HELLO_NAME"] {
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
    warn_of_port(reader, security, port);
    let hello = hello.unwrap_or_else(|| usual_hello(http, &from));
    Ok(Some(SmtpSettings { host, port, security, credentials, ca_file, hello, from }))
}

/// The two ports are often confused, and then both sides wait until the timeout.
fn warn_of_port(reader: &mut Reader<'_>, security: SmtpSecurity, port: u16) {
    let text = match (security, port) {
        (SmtpSecurity::Tls, 587 | 25) => {
            "is smtps:// on a port for STARTTLS: write smtp://…?tls=required, or port 465"
        }
        (SmtpSecurity::StartTls, 465) => {
            "is STARTTLS on a port for TLS from the first byte: write smtps://, or port 587"
        }
        _ => return,
    };
    reader.warn("SMTP_URL", text);
}

fn usual_hello(http: Option<&HttpSettings>, from: &Mailbox) -> ClientId {
    let own = http.and_then(|http| http.base_url.domain());
    let names = own.into_iter().chain([from.email.domain()]);
    let public = |name: &&str| name.contains('.') && !name.starts_with('[') && !is_loopback(name);
    // The address literal that clients without a name use.
    names
        .filter(public)
        .map(|name| ClientId::Domain(name.to_owned()))
        .next()
        .unwrap_or(ClientId::Ipv4(Ipv4Addr::LOCALHOST))
}

/// Parses a host name in its ASCII form, or an address in brackets (RFC 5321, 4.1.1.1).
fn parse_hello(value: &str) -> Result<ClientId, Wrong> {
    let wrong = || {
        let remedy = "write a host name such as mail.b.example, or an address such as [192.0.2.1]";
        Wrong::new(format!("is {}", quoted(value)), remedy)
    };
    match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => match literal.strip_prefix("IPv6:").unwrap_or(literal).parse() {
            Ok(IpAddr::V4(address)) => Ok(ClientId::Ipv4(address)),
            Ok(IpAddr::V6(address)) => Ok(ClientId::Ipv6(address)),
            Err(_) => Err(wrong()),
        },
        None => ascii_domain(value).map(ClientId::Domain).ok_or_else(wrong),
    }
}

/// A domain name in ASCII form: letters, digits and hyphens (RFC 5891, 4.4).
fn ascii_domain(name: &str) -> Option<String> {
    if name.contains('%') {
        return None;
    }
    let Ok(Host::Domain(domain)) = Host::parse(name) else { return None };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let label = |label: &str| !label.is_empty() && label.bytes().all(plain);
    domain.split('.').all(label).then_some(domain)
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
    let mailbox: Mailbox = value.parse().map_err(|_| wrong())?;
    let (user, domain) = (mailbox.email.user(), mailbox.email.domain());
    if !user.is_ascii() {
        let what = "has letters before the @ that many mail servers refuse";
        return Err(Wrong::new(what, "use a sender of ASCII letters"));
    }
    if domain.is_ascii() {
        return Ok(mailbox);
    }
    let domain = ascii_domain(domain).ok_or_else(wrong)?;
    let email = Address::new(user, domain).map_err(|_| wrong())?;
    Ok(Mailbox::new(mailbox.name, email))
}
