//! From "taken in" to "sent" or "given up".

use std::time::Duration;

use super::{Message, Shared};
use crate::backoff::Backoff;
use crate::store::magic_links::MailTrouble;
use crate::telemetry::metrics::{self, MailOutcome};

/// Bounds on the work for mail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Mails taken in and not yet done with.
    pub(super) mails: usize,
    /// Attempts going on at the same time.
    pub(super) attempts_at_once: usize,
    /// How long a server may take for each step before it has the content of a mail.
    pub(super) step: Duration,
    /// How long it may then take to accept the mail. Scanners read the whole mail first, and a mail
    /// given up meanwhile may arrive twice.
    pub(super) acceptance: Duration,
    /// The waits between attempts. A mail is tried as long as its link works.
    pub(super) waits: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mails: 256,
            attempts_at_once: 4,
            step: Duration::from_secs(30),
            acceptance: Duration::from_mins(5),
            waits: Backoff {
                first: Duration::from_secs(2),
                factor: 3,
                longest: Duration::from_mins(1),
            },
        }
    }
}

/// Longest wait that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct SendError {
    /// Ours or the system's words: fit for a log.
    pub(super) reason: String,
    /// What the server said itself. It may repeat the address and is for the operator's terminal.
    pub(super) words: Option<String>,
    /// Whether another attempt may work.
    pub(super) may_pass: bool,
    /// How long the server wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl SendError {
    /// Another attempt may work.
    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), words: None, may_pass: true, retry_after: None }
    }

    /// No other attempt will.
    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self { may_pass: false, ..Self::transient(reason) }
    }

    pub(super) fn timed_out() -> Self {
        Self::transient("no answer in time")
    }
}

impl Shared {
    /// Sends the message or gives it up, and says in the log which.
    pub(super) async fn deliver(&self, message: &Message) {
        let to = message.to.masked();
        // A link that has ended is not worth sending.
        let outcome =
            tokio::time::timeout(message.valid_for, self.send_with_retries(message)).await;
        match &outcome {
            Ok(Ok(attempt)) => tracing::info!(mail = %message.id, to, attempt, "mail sent"),
            Ok(Err(error)) => tracing::error!(mail = %message.id, to, %error, "mail given up"),
            Err(_) => {
                let error = "its link ended first";
                tracing::error!(mail = %message.id, to, error, "mail given up");
            }
        }
        let sent = matches!(outcome, Ok(Ok(_)));
        match outcome {
            Ok(Ok(1)) => {}
            Ok(Ok(_)) => self.troubles.tell(&message.link, None),
            Ok(Err(_)) | Err(_) => self.troubles.tell(&message.link, Some(MailTrouble::GivenUp)),
        }
        metrics::mailed(if sent { MailOutcome::Sent } else { MailOutcome::GivenUp });
    }

    /// Returns the number of the attempt that worked.
    async fn send_with_retries(&self, message: &Message) -> Result<u32, SendError> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(message).await {
                Ok(_) => return Ok(attempt),
                Err(error) if error.may_pass => error,
                Err(error) => return Err(error),
            };
            let asked = error.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
            let pause = self.limits.waits.after(attempt).max(asked);
            tracing::warn!(
                mail = %message.id, to = message.to.masked(), attempt, ?pause,
                reason = error.reason,
                "mail not sent yet"
            );
            metrics::mailed(MailOutcome::Retried);
            self.troubles.tell(&message.link, Some(MailTrouble::Delayed));
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Returns what the server said when it took the mail.
    pub(super) async fn attempt(&self, message: &Message) -> Result<String, SendError> {
        let _permit = self.attempts.acquire().await.expect("this semaphore is never closed");
        self.transport.send(message, &self.limits).await
    }
}

/// Waits for the step, no longer than `limit`.
pub(super) async fn within<T, E: Into<SendError>>(
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, SendError> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(SendError::timed_out()),
    }
}
