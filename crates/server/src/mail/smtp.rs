//! Sends mail by SMTP. After a successful mail the connection is kept for the next one. After an
//! error or an abandoned mail it is closed.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret;

use super::SetupError;
use super::delivery::{Limits, SendError, within};
use super::kept::{Connection, Kept};
use super::message::Message;
use crate::config::{SmtpSecurity, SmtpSettings};
use crate::tls;

/// Connection timeout for each address of the server.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The port for implicit TLS (RFC 8314, 3.3).
const TLS_PORT: u16 = 465;

pub(super) struct SmtpTransport {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
    from: Mailbox,
    kept: Kept,
}

enum Security {
    Tls(TlsParameters),
    StartTls(TlsParameters),
    Plain,
}

impl SmtpTransport {
    pub(super) fn new(settings: &SmtpSettings) -> Result<Self, SetupError> {
        let security = match settings.security {
            SmtpSecurity::Tls => Security::Tls(tls_parameters(settings)?),
            SmtpSecurity::StartTls => Security::StartTls(tls_parameters(settings)?),
            SmtpSecurity::Plain => Security::Plain,
        };
        let credentials = settings.credentials.as_ref().map(|credentials| {
            let (user, password) =
                (credentials.user.expose_secret(), credentials.password.expose_secret());
            Credentials::new(user.to_owned(), password.to_owned())
        });
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            security,
            credentials,
            hello: settings.hello.clone(),
            from: settings.from.clone(),
            kept: Kept::default(),
        })
    }

    /// Returns the server's response to an accepted mail.
    pub(super) async fn send(
        &self,
        message: &Message,
        limits: &Limits,
    ) -> Result<String, SendError> {
        let message =
            message.to_mime(&self.from).map_err(|error| SendError::permanent(error.to_string()))?;
        let mut connection = match self.kept.take(limits.step).await {
            Some(connection) => connection,
            None => Connection::new(self.connect(limits).await?),
        };
        match hand_over(&mut connection.smtp, &message, limits).await {
            Ok(answer) => {
                self.kept.keep(connection);
                Ok(words(&answer))
            }
            Err(error) => {
                connection.quit().await;
                Err(error)
            }
        }
    }

    /// Connects and authenticates without sending a mail.
    pub(super) async fn check(&self, limits: &Limits) -> Result<(), SendError> {
        Connection::new(self.connect(limits).await?).quit().await;
        Ok(())
    }

    /// Closes the kept connections.
    pub(super) async fn close(&self) {
        self.kept.close().await;
    }

    async fn connect(&self, limits: &Limits) -> Result<AsyncSmtpConnection, SendError> {
        let server = (self.host.as_str(), self.port);
        let tls = match &self.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::Plain => None,
        };
        let connecting = async {
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_LIMIT), &self.hello, tls, None)
                .await
                .map_err(|error| explained(error.into()))
        };
        let mut connection =
            within(limits.step, connecting).await.map_err(|error| self.with_port_hint(error))?;
        if let Security::StartTls(tls) = &self.security {
            // Fails if the server does not offer STARTTLS. Nothing confidential has been sent
            // before.
            let upgrade = async {
                let upgraded = connection.starttls(tls.clone(), &self.hello).await;
                upgraded.map_err(|error| explained(error.into()))
            };
            within(limits.step, upgrade).await?;
        }
        if let Some(credentials) = &self.credentials {
            within(limits.step, connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(connection)
    }

    /// A server that expects TLS and a client that expects a greeting wait for each other.
    fn with_port_hint(&self, error: SendError) -> SendError {
        if self.port == TLS_PORT && !matches!(self.security, Security::Tls(_)) {
            let reason = format!("{}; port {TLS_PORT} is for smtps://", error.reason);
            return SendError { reason, ..error };
        }
        error
    }
}

/// Adds a remedy if TLS failed.
fn explained(error: SendError) -> SendError {
    SendError { reason: tls::with_remedy(error.reason, "SMTP_CA_FILE"), ..error }
}

async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    message: &lettre::Message,
    limits: &Limits,
) -> Result<Response, SendError> {
    let (envelope, content) = (message.envelope(), message.formatted());
    let mail = Mail::new(envelope.from().cloned(), Vec::new());
    within(limits.step, connection.command(mail)).await?;
    for to in envelope.to() {
        within(limits.step, connection.command(Rcpt::new(to.clone(), Vec::new()))).await?;
    }
    within(limits.step, connection.command(Data)).await?;
    within(limits.acceptance, connection.message(&content)).await
}

/// The reply on one line.
fn words(answer: &Response) -> String {
    let lines: Vec<&str> = answer.message().collect();
    format!("{} {}", answer.code(), lines.join(" "))
}

fn tls_parameters(settings: &SmtpSettings) -> Result<TlsParameters, SetupError> {
    let mut tls = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        let unusable = |reason: String| SetupError::CaFile { path: path.clone(), reason };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        if !pem.windows(10).any(|text| text == b"-----BEGIN") {
            return Err(unusable("it is not a PEM file".to_owned()));
        }
        let certificates =
            Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        tls = tls.add_root_certificate(certificates);
    }
    tls.build().map_err(|error| SetupError::Client(error.to_string()))
}

impl From<smtp::Error> for SendError {
    fn from(error: smtp::Error) -> Self {
        if let Some(code) = error.status() {
            // The text after the code may contain the address.
            let reason = format!("the mail server answered {code}");
            let text = std::error::Error::source(&error).map(ToString::to_string);
            let words = Some(format!("{code} {}", text.unwrap_or_default()));
            return Self { words, may_pass: !error.is_permanent(), ..Self::transient(reason) };
        }
        if error.is_response() {
            return Self::transient("the mail server's answer was not SMTP");
        }
        let reason = error.to_string();
        if error.is_client() { Self::permanent(reason) } else { Self::transient(reason) }
    }
}
