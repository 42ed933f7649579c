//! By SMTP. Each mail has a connection of its own: sign-in mails are few, and a connection that
//! was given up in the middle of a mail must not be found again by the next one.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;

use super::SetupError;
use super::delivery::SendError;
use super::message::Message;
use crate::config::{SmtpSecurity, SmtpSettings};
use crate::tls;

/// How long each address of the server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the server may take to say goodbye to a mail that it has accepted.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct SmtpTransport {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    from: Mailbox,
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
        let (host, port, from) = (settings.host.clone(), settings.port, settings.from.clone());
        Ok(Self { host, port, security, credentials, from })
    }

    pub(super) async fn send(&self, letter: &Message) -> Result<(), SendError> {
        let message =
            letter.to_mime(&self.from).map_err(|error| SendError::Permanent(error.to_string()))?;
        let mut connection = self.connect().await?;
        connection.send(message.envelope(), &message.formatted()).await?;
        // The mail is accepted; a server that does not say goodbye does not change that.
        let _ = tokio::time::timeout(QUIT_LIMIT, connection.quit()).await;
        Ok(())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let hello = ClientId::default();
        let server = (self.host.as_str(), self.port);
        let tls = match &self.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::Plain => None,
        };
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_LIMIT), &hello, tls, None)
                .await?;
        if let Security::StartTls(tls) = &self.security {
            // An error if the server does not offer it: nothing else has been said to it by then.
            connection.starttls(tls.clone(), &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
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
            // The text that comes with the code may repeat the address.
            let reason = format!("the mail server answered {code}");
            return if error.is_permanent() {
                Self::Permanent(reason)
            } else {
                Self::transient(reason)
            };
        }
        if error.is_response() {
            return Self::transient("the mail server's answer was not SMTP");
        }
        let mut reason = error.to_string();
        if let Some(remedy) = tls::remedy(&reason) {
            reason = format!("{reason}; {remedy}");
        }
        if error.is_client() { Self::Permanent(reason) } else { Self::transient(reason) }
    }
}
