//! Sending mail, off the path of the request.
//!
//! 1. [`Mailer::send`] only takes the mail in, at once or not at all: [`MailError::QueueFull`] is
//!    for the caller to pass on, never a lost promise.
//! 2. Temporary failures (no connection, "try again later", no answer) are retried with growing
//!    waits until the link expires. Permanent failures are logged and not retried.
//! 3. Every step of an attempt has a limit, and so have the attempts at one time and the mails at
//!    one time.
//! 4. A log line has the masked address and the reason. It never has the link, the code, the
//!    subject, a credential, or a mail server's text.
//! 5. Without TLS a mail goes to loopback only, whatever the server offers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::MailSettings;
use crate::domain::email::Email;
use crate::telemetry::metrics::{self, MailOutcome};

mod delivery;
pub mod dev;
mod kept;
mod message;
mod notice;
mod resend;
mod smtp;
#[cfg(test)]
mod tests;
pub mod troubles;

use delivery::{Limits, SendError};
use message::Message;
pub use message::SignInMail;
pub use notice::NoticeMail;
use troubles::{Told, Troubles};

/// Takes mails in and sends them in the background. Cheap to clone; needs a tokio runtime.
#[derive(Clone)]
pub struct Mailer(Arc<Shared>);

struct Shared {
    transport: Transport,
    limits: Limits,
    /// One for each mail that is taken in and neither sent nor given up.
    places: Arc<Semaphore>,
    /// One for each attempt that is going on.
    attempts: Semaphore,
    troubles: Troubles,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Room in the queue for one mail. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    mailer: Mailer,
    place: OwnedSemaphorePermit,
}

enum Transport {
    Smtp(smtp::SmtpTransport),
    Resend(resend::ResendTransport),
    Terminal(dev::Mailbox),
}

impl Transport {
    fn new(settings: &MailSettings, limits: &Limits) -> Result<Option<Self>, SetupError> {
        Ok(Some(match settings {
            MailSettings::Smtp(smtp) => Self::Smtp(smtp::SmtpTransport::new(smtp)?),
            MailSettings::Resend(resend) => {
                Self::Resend(resend::ResendTransport::new(resend, limits)?)
            }
            MailSettings::Terminal => Self::Terminal(dev::Mailbox::new()),
            MailSettings::None => return Ok(None),
        }))
    }

    /// Returns what the server said when it took the mail.
    async fn send(&self, message: &Message, limits: &Limits) -> Result<String, SendError> {
        match self {
            Self::Smtp(smtp) => smtp.send(message, limits).await,
            Self::Resend(resend) => resend.send(message, limits).await,
            Self::Terminal(mailbox) => {
                mailbox.deliver(message);
                Ok("printed above".to_owned())
            }
        }
    }

    async fn check(&self, limits: &Limits) -> Result<(), SendError> {
        match self {
            Self::Smtp(smtp) => smtp.check(limits).await,
            Self::Resend(resend) => resend.check(limits).await,
            Self::Terminal(_) => Ok(()),
        }
    }

    async fn close(&self) {
        if let Self::Smtp(smtp) = self {
            smtp.close().await;
        }
    }
}

/// Why a mail was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// Too many mails are waiting already; later there is room again.
    #[error("too many mails are waiting to be sent")]
    QueueFull,
    /// The process is ending.
    #[error("mail is shut down")]
    ShutDown,
}

/// Why a mail server did not take a mail, in its own words where there are any. For the operator's
/// terminal: the words may repeat an address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        Self(match error.words {
            Some(words) => format!("the mail server answered: {words}"),
            None => error.reason,
        })
    }
}

/// Why mail cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of additional root certificates cannot be read or has no certificate.
    #[error(
        "SMTP_CA_FILE: cannot use {path}: {reason}; write the path of a PEM file of certificates"
    )]
    CaFile {
        /// The configured file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS or the HTTP client cannot be initialised.
    #[error("cannot set up the connection for mail: {0}")]
    Client(String),
}

impl Mailer {
    /// A mailer for these settings; `None` if they say that no mail is sent.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if a certificate file is not usable. Servers are not contacted.
    pub fn new(settings: &MailSettings) -> Result<Option<Self>, SetupError> {
        let limits = Limits::default();
        let transport = Transport::new(settings, &limits)?;
        Ok(transport.map(|transport| Self::with_limits(transport, limits)))
    }

    fn with_limits(transport: Transport, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            transport,
            limits,
            places: Arc::new(Semaphore::new(limits.mails)),
            attempts: Semaphore::new(limits.attempts_at_once),
            troubles: Troubles::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// The mails printed on the terminal, if that is where they go.
    pub fn mailbox(&self) -> Option<&dev::Mailbox> {
        match &self.0.transport {
            Transport::Terminal(mailbox) => Some(mailbox),
            Transport::Smtp(_) | Transport::Resend(_) => None,
        }
    }

    /// Takes a mail in; it is sent after this has returned. Never waits.
    ///
    /// # Errors
    ///
    /// [`MailError`]: then it will not be sent.
    pub fn send(&self, mail: &SignInMail<'_>) -> Result<(), MailError> {
        self.reserve().map(|place| place.send(mail))
    }

    /// The same with a notice.
    ///
    /// # Errors
    ///
    /// [`MailError`]: then it will not be sent.
    pub fn notify(&self, mail: &NoticeMail<'_>) -> Result<(), MailError> {
        self.reserve().map(|place| place.take_in(Message::notice(mail)))
    }

    /// A place for one mail, for a caller that has something to prepare and must know before that
    /// it will be sent.
    ///
    /// # Errors
    ///
    /// [`MailError`].
    pub fn reserve(&self) -> Result<Place, MailError> {
        let shared = &self.0;
        if shared.tasks.is_closed() {
            return Err(MailError::ShutDown);
        }
        let place = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| {
            metrics::mailed(MailOutcome::Refused);
            MailError::QueueFull
        })?;
        Ok(Place { mailer: self.clone(), place })
    }

    /// What keeps mails from leaving, from now on. For one listener.
    pub fn troubles(&self) -> UnboundedReceiver<Told> {
        self.0.troubles.listen()
    }

    /// How many mails are neither sent nor given up.
    pub fn waiting(&self) -> usize {
        self.0.limits.mails.saturating_sub(self.0.places.available_permits())
    }

    /// Takes no more mails in and waits until those taken in are sent or given up, but no longer
    /// than `limit`. Returns how many were neither.
    pub async fn shutdown(&self, limit: Duration) -> usize {
        let shared = &self.0;
        shared.tasks.close();
        let done = tokio::time::timeout(limit, shared.tasks.wait()).await.is_ok();
        let lost = shared.tasks.len();
        if !done {
            tracing::warn!(lost, "mails were not sent before the shutdown");
            shared.stop.cancel();
        }
        shared.transport.close().await;
        if done { 0 } else { lost }
    }

    /// Sends one test mail and waits for it. Returns the mail server's answer.
    ///
    /// # Errors
    /// [`Refusal`]; it is not tried again.
    pub async fn send_test(&self, to: &Email, at: OffsetDateTime) -> Result<String, Refusal> {
        let sent = self.0.attempt(&Message::test(to, at)).await.map_err(Refusal::from);
        self.0.transport.close().await;
        sent
    }

    /// Connects to the mail server and signs in, or has the mail service look at the key.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn check(&self) -> Result<(), Refusal> {
        Ok(self.0.transport.check(&self.0.limits).await?)
    }
}

impl Place {
    /// Takes the mail in; it is sent after this has returned.
    pub fn send(self, mail: &SignInMail<'_>) {
        self.take_in(Message::compose(mail));
    }

    /// The same work for a mail that is not to be sent.
    pub fn discard(self, mail: &SignInMail<'_>) {
        drop(Message::compose(mail));
    }

    fn take_in(self, message: Message) {
        let Self { mailer, place } = self;
        let shared = Arc::clone(&mailer.0);
        mailer.0.tasks.spawn(async move {
            let _place = place;
            shared.stop.run_until_cancelled(Box::pin(shared.deliver(&message))).await;
        });
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match &self.0.transport {
            Transport::Smtp(_) => "smtp",
            Transport::Resend(_) => "resend",
            Transport::Terminal(_) => "terminal",
        };
        f.debug_struct("Mailer").field("transport", &transport).finish_non_exhaustive()
    }
}
