//! From "taken in" to "sent" or "given up".

use std::time::Duration;

use super::{Message, Shared};
use crate::telemetry::metrics::{self, MailOutcome};

/// Bounds on the work for mail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Mails taken in and not yet done with.
    pub(super) mails: usize,
    /// Attempts going on at the same time.
    pub(super) attempts_at_once: usize,
    /// Length of one attempt.
    pub(super) attempt: Duration,
    /// Attempts for one mail.
    pub(super) attempts: u32,
    /// Wait after the first attempt; each later one is three times as long.
    pub(super) first_wait: Duration,
}

impl Default for Limits {
    /// The five attempts are over within three minutes, whatever goes wrong with each.
    fn default() -> Self {
        Self {
            mails: 256,
            attempts_at_once: 4,
            attempt: Duration::from_secs(15),
            attempts: 5,
            first_wait: Duration::from_secs(2),
        }
    }
}

/// Longest wait that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Why an attempt failed. The reasons are ours or the system's: fit for a log.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// Another attempt may work.
    #[error("{reason}")]
    Transient {
        reason: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// No other attempt will.
    #[error("{0}")]
    Permanent(String),
}

impl SendError {
    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), retry_after: None }
    }
}

impl Shared {
    /// Sends the letter or gives it up, and says in the log which.
    pub(super) async fn deliver(&self, letter: &Message) {
        let to = letter.to.masked();
        // A link that has ended is not worth sending.
        let outcome = tokio::time::timeout(letter.valid_for, self.send_with_retries(letter)).await;
        match &outcome {
            Ok(Ok(attempt)) => tracing::info!(mail = %letter.id, to, attempt, "mail sent"),
            Ok(Err(error)) => tracing::error!(mail = %letter.id, to, %error, "mail given up"),
            Err(_) => {
                tracing::error!(mail = %letter.id, to, error = "its link ended first", "mail given up");
            }
        }
        let sent = matches!(outcome, Ok(Ok(_)));
        metrics::mailed(if sent { MailOutcome::Sent } else { MailOutcome::GivenUp });
    }

    /// Returns the number of the attempt that worked.
    async fn send_with_retries(&self, letter: &Message) -> Result<u32, SendError> {
        let mut wait = self.limits.first_wait;
        let mut attempt = 1;
        loop {
            let (reason, retry_after) = match self.attempt(letter).await {
                Ok(()) => return Ok(attempt),
                Err(SendError::Transient { reason, retry_after })
                    if attempt < self.limits.attempts =>
                {
                    (reason, retry_after)
                }
                Err(error) => return Err(error),
            };
            let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
            let pause = jittered(wait).max(asked);
            tracing::warn!(mail = %letter.id, to = letter.to.masked(), attempt, ?pause, reason, "mail not sent yet");
            metrics::mailed(MailOutcome::Retried);
            tokio::time::sleep(pause).await;
            wait *= 3;
            attempt += 1;
        }
    }

    async fn attempt(&self, letter: &Message) -> Result<(), SendError> {
        let _permit = self.attempts.acquire().await.expect("this semaphore is never closed");
        tokio::time::timeout(self.limits.attempt, self.transport.send(letter))
            .await
            .unwrap_or_else(|_| Err(SendError::transient("no answer in time")))
    }
}

/// Between half of `wait` and all of it, so that mails that failed together do not return together.
fn jittered(wait: Duration) -> Duration {
    // Without randomness, which the system never lacks here, the whole wait is as good.
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    wait.mul_f64(f64::midpoint(share, 1.0))
}
