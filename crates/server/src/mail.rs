//! Sends mail in the background, without delaying requests.
//!
//! 1. A mail is accepted at once or not at all. The caller reports [`MailError::QueueFull`], so
//!    that no mail is promised in vain. Accepted mails are kept in the [`Outbox`], so that a
//!    restart loses none.
//! 2. A sender of many mails delays only their own; `queue` has the rules.
//! 3. Temporary failures (no connection, "try again later", no response) are retried with growing
//!    waits until the link expires; notices for a day. Permanent failures are given up and logged.
//! 4. Every step of an attempt has a time limit. The concurrent attempts and the waiting mails are
//!    limited too.
//! 5. A log line has the masked address and the reason. It never has the link, the code, the
//!    subject, a credential, or text from a mail server.
//! 6. Without TLS, mail goes to loopback addresses only, whatever a server offers.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::MailSettings;
use crate::domain::email::Email;
use crate::store::StoreError;
use crate::telemetry::metrics::{self, MailOutcome};

mod delivery;
pub mod dev;
mod kept;
mod message;
mod notice;
mod outbox;
mod queue;
mod resend;
mod smtp;
#[cfg(test)]
mod tests;
pub mod troubles;

use delivery::{Job, Limits, Line, SendError};
use message::Message;
pub use message::SignInMail;
pub use notice::NoticeMail;
pub use outbox::Outbox;
use queue::{Lane, Sender};
use troubles::{Told, Troubles};

/// Accepts mails and sends them in the background. Cheap to clone; needs a tokio runtime.
#[derive(Clone)]
pub struct Mailer(Arc<Shared>);

struct Shared {
    transport: Transport,
    limits: Limits,
    line: Mutex<Line>,
    outbox: Option<Outbox>,
    troubles: Troubles,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The requester of a mail.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The requester's network: the range that one customer usually gets.
    pub network: &'a str,
    /// Whether the requester has signed in to the account before.
    pub is_known: bool,
}

/// A reserved slot in the queue for one mail. Released when dropped.
pub struct Place {
    mailer: Mailer,
    sender: Sender,
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

    /// Returns the server's response to an accepted mail.
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

/// Why a mail was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// Too many mails are waiting; a later try may succeed.
    #[error("too many mails are waiting to be sent")]
    QueueFull,
    /// The process is shutting down.
    #[error("mail is shut down")]
    ShutDown,
}

/// Why a mail server refused a mail, in its own words if there are any. Only for the operator's
/// terminal, because the words may contain an address.
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
    /// The file of additional root certificates cannot be read or has no certificates.
    #[error(
        "SMTP_CA_FILE: cannot use {path}: {reason}; write the path of a PEM file of certificates"
    )]
    CaFile {
        /// The configured file.
        path: std::path::PathBuf,
        /// The reason.
        reason: String,
    },
    /// TLS or the HTTP client cannot be initialised.
    #[error("cannot set up the connection for mail: {0}")]
    Client(String),
}

impl Mailer {
    /// Creates a mailer that keeps waiting mails in memory only; `None` if mail is not configured.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if a certificate file is unusable. No server is contacted.
    pub fn new(settings: &MailSettings) -> Result<Option<Self>, SetupError> {
        let limits = Limits::default();
        let transport = Transport::new(settings, &limits)?;
        Ok(transport.map(|transport| Self::with(transport, limits, None)))
    }

    /// Creates a mailer with an outbox. It also sends mails that an earlier process left there.
    ///
    /// # Errors
    ///
    /// [`SetupError`] as for [`Mailer::new`].
    pub fn with_outbox(
        settings: &MailSettings,
        outbox: Outbox,
    ) -> Result<Option<Self>, SetupError> {
        let limits = Limits::default();
        let transport = Transport::new(settings, &limits)?;
        Ok(transport.map(|transport| {
            let mailer = Self::with(transport, limits, Some(outbox));
            let rounds = mailer.clone();
            tokio::spawn(async move { rounds.make_rounds().await });
            mailer
        }))
    }

    fn with(transport: Transport, limits: Limits, outbox: Option<Outbox>) -> Self {
        Self(Arc::new(Shared {
            transport,
            limits,
            line: Mutex::new(Line::new(limits.places)),
            outbox,
            troubles: Troubles::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Maintains the outbox periodically until the shutdown.
    async fn make_rounds(&self) {
        let shared = &self.0;
        let mut rounds = tokio::time::interval(outbox::ROUND);
        while shared.stop.run_until_cancelled(rounds.tick()).await.is_some()
            && !shared.tasks.is_closed()
        {
            self.make_round().await;
        }
    }

    async fn make_round(&self) {
        let Some(outbox) = &self.0.outbox else { return };
        match outbox.round().await {
            Ok(found) => {
                for mail in found {
                    self.0.line().queue.add_place(&mail.sender);
                    let place = Place { mailer: self.clone(), sender: mail.sender };
                    self.0.enqueue(Job::new(mail.message, place, mail.left));
                }
            }
            Err(error) => tracing::warn!(%error, "the outbox could not be looked after"),
        }
    }

    /// The mailbox of mails printed on the terminal, if that is the transport.
    pub fn mailbox(&self) -> Option<&dev::Mailbox> {
        match &self.0.transport {
            Transport::Terminal(mailbox) => Some(mailbox),
            Transport::Smtp(_) | Transport::Resend(_) => None,
        }
    }

    /// Accepts a notice, to be sent in the background.
    ///
    /// # Errors
    ///
    /// [`MailError`] if the notice will not be sent.
    pub async fn notify(&self, mail: &NoticeMail<'_>) -> Result<(), MailError> {
        let place = self.place_for(Sender::new(Lane::Notice, "", mail.to.domain()))?;
        let message = Message::notice(mail);
        if let Some(outbox) = &self.0.outbox {
            // Sending it without a copy in the outbox is better than not sending it.
            if let Err(error) = outbox.add(&message, &place.sender, true).await {
                tracing::error!(%error, "a notice would be lost by a restart");
            }
        }
        place.enqueue(message);
        Ok(())
    }

    /// Reserves a slot for a mail to this address. A caller that must prepare the mail learns first
    /// whether it will be accepted.
    ///
    /// # Errors
    ///
    /// [`MailError`].
    pub fn reserve(&self, to: &Email, origin: &Origin<'_>) -> Result<Place, MailError> {
        let lane = if origin.is_known { Lane::Known } else { Lane::Stranger };
        self.place_for(Sender::new(lane, origin.network, to.domain()))
    }

    fn place_for(&self, sender: Sender) -> Result<Place, MailError> {
        let shared = &self.0;
        if shared.tasks.is_closed() {
            return Err(MailError::ShutDown);
        }
        if !shared.line().queue.take_place(&sender) {
            metrics::mailed(MailOutcome::Refused);
            return Err(MailError::QueueFull);
        }
        Ok(Place { mailer: self.clone(), sender })
    }

    /// Reports delivery trouble from now on. Only one listener is supported.
    pub fn troubles(&self) -> UnboundedReceiver<Told> {
        self.0.troubles.listen()
    }

    /// The number of mails that are neither sent nor given up.
    pub fn waiting(&self) -> usize {
        self.0.line().queue.taken()
    }

    /// Accepts no more mails, and waits up to `limit` until all are sent or given up. Returns the
    /// number of the others; the next process finds them in the outbox.
    pub async fn shutdown(&self, limit: Duration) -> usize {
        let shared = &self.0;
        shared.tasks.close();
        let done = tokio::time::timeout(limit, shared.tasks.wait()).await.is_ok();
        let left = self.waiting();
        shared.stop.cancel();
        if !done {
            tracing::warn!(left, "mails were not sent before the shutdown");
            // The lock must be released first: dropping the slots takes it again.
            let waiting = shared.line().queue.drain();
            drop(waiting);
        }
        if let Some(outbox) = &shared.outbox {
            outbox.release().await;
        }
        shared.transport.close().await;
        if done { 0 } else { left }
    }

    /// Sends one test mail and waits for the result. Returns the mail server's response.
    ///
    /// # Errors
    /// [`Refusal`]; there is no retry.
    pub async fn send_test(&self, to: &Email, at: OffsetDateTime) -> Result<String, Refusal> {
        let sent = self.0.attempt(&Message::test(to, at)).await.map_err(Refusal::from);
        self.0.transport.close().await;
        sent
    }

    /// Connects to the mail server and signs in, or checks the mail service's API key.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn check(&self) -> Result<(), Refusal> {
        Ok(self.0.transport.check(&self.0.limits).await?)
    }
}

impl Place {
    /// Accepts the mail, to be sent in the background.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the mail will not be sent.
    pub async fn send(self, mail: &SignInMail<'_>) -> Result<(), StoreError> {
        self.take_in(Message::compose(mail)).await
    }

    /// Accepts a notice, to be sent in the background.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the notice will not be sent.
    pub async fn send_notice(self, mail: &NoticeMail<'_>) -> Result<(), StoreError> {
        self.take_in(Message::notice(mail)).await
    }

    /// Does the same work as `send` without sending the mail.
    ///
    /// # Errors
    ///
    /// [`StoreError`] as for `send`.
    pub async fn discard(self, mail: &SignInMail<'_>) -> Result<(), StoreError> {
        let letter = Message::compose(mail);
        match &self.mailer.0.outbox {
            Some(outbox) => outbox.add(&letter, &self.sender, false).await,
            None => Ok(()),
        }
    }

    async fn take_in(self, message: Message) -> Result<(), StoreError> {
        if let Some(outbox) = &self.mailer.0.outbox {
            outbox.add(&message, &self.sender, true).await?;
        }
        self.enqueue(message);
        Ok(())
    }

    fn enqueue(self, message: Message) {
        let (shared, left) = (Arc::clone(&self.mailer.0), message.valid_for);
        shared.enqueue(Job::new(message, self, left));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.mailer.0.line().queue.give_back(&self.sender);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("sender", &self.sender).finish_non_exhaustive()
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
