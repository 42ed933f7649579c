//! Delivers an accepted mail until it is sent or given up.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::queue::{FairQueue, Lane, Places};
use super::{Message, Place, Shared};
use crate::backoff::Backoff;
use crate::store::magic_links::MailTrouble;
use crate::telemetry::metrics::{self, MailOutcome};
use crate::telemetry::trace::{Kind, Span};

/// Limits on mail delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The limits on waiting mails.
    pub(super) places: Places,
    /// Maximum number of concurrent attempts.
    pub(super) attempts_at_once: usize,
    /// Timeout of each step before the content of a mail was sent.
    pub(super) step: Duration,
    /// Timeout for accepting the content. Scanners read the whole mail first, and a mail given up
    /// in the meantime may arrive twice.
    pub(super) acceptance: Duration,
    /// The waits between attempts. A mail is retried until its link expires.
    pub(super) waits: Backoff,
    /// The waits between attempts for a notice, which is retried for a day.
    pub(super) notice_waits: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        let waits =
            Backoff { first: Duration::from_secs(2), factor: 3, longest: Duration::from_mins(1) };
        Self {
            places: Places {
                sign_ins: 1_024,
                strangers: 768,
                network: 64,
                domain: 512,
                notices: 1_024,
            },
            attempts_at_once: 4,
            step: Duration::from_secs(30),
            acceptance: Duration::from_mins(5),
            waits,
            notice_waits: Backoff { longest: Duration::from_mins(15), ..waits },
        }
    }
}

/// Limit on the wait that a server can request.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct SendError {
    /// The reason in this program's or the system's words: fit for the log.
    pub(super) reason: String,
    /// The server's own words. They may contain the address, so they are only for the operator's
    /// terminal.
    pub(super) words: Option<String>,
    /// Whether a retry may succeed.
    pub(super) may_pass: bool,
    /// The wait that the server requests.
    pub(super) retry_after: Option<Duration>,
}

impl SendError {
    /// A failure that a retry may resolve.
    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), words: None, may_pass: true, retry_after: None }
    }

    /// A failure that no retry resolves.
    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self { may_pass: false, ..Self::transient(reason) }
    }

    pub(super) fn timed_out() -> Self {
        Self::transient("no answer in time")
    }
}

/// The waiting mails, and the number of tasks that send them.
pub(super) struct Line {
    pub(super) queue: FairQueue<Job>,
    workers: usize,
}

impl Line {
    pub(super) fn new(places: Places) -> Self {
        Self { queue: FairQueue::new(places), workers: 0 }
    }
}

/// A mail that is neither sent nor given up.
pub(super) struct Job {
    pub(super) message: Message,
    pub(super) place: Place,
    /// The number of the next attempt, starting at one.
    attempt: u32,
    /// When the mail becomes useless.
    deadline: Instant,
}

impl Job {
    /// A mail that is useful for the time `left`.
    pub(super) fn new(message: Message, place: Place, left: Duration) -> Self {
        Self { message, place, attempt: 1, deadline: Instant::now() + left }
    }
}

impl Shared {
    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        // No code panics halfway while it holds the lock, so poisoned data is still consistent.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a mail for its turn.
    pub(super) fn enqueue(self: &Arc<Self>, job: Job) {
        let mut line = self.line();
        let sender = job.place.sender.clone();
        line.queue.push(&sender, job);
        if line.workers < self.limits.attempts_at_once {
            line.workers += 1;
            let shared = Arc::clone(self);
            self.tasks.spawn(async move {
                shared.stop.run_until_cancelled(Box::pin(shared.work())).await;
            });
        }
    }

    /// Sends mails until none is waiting.
    async fn work(self: &Arc<Self>) {
        while let Some(job) = self.next_job() {
            self.advance(job).await;
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut line = self.line();
        let job = line.queue.pop();
        if job.is_none() {
            line.workers -= 1;
        }
        job
    }

    /// Makes one attempt and logs its result.
    async fn advance(self: &Arc<Self>, mut job: Job) {
        let (to, attempt) = (job.message.to.masked(), job.attempt);
        let ended = || SendError::permanent("its link ended first");
        let span = Span::child("mail", Kind::Producer);
        span.set("tracera.mail.attempt", i64::from(attempt));
        let sent = if Instant::now() < job.deadline {
            let sending = self.transport.send(&job.message, &self.limits);
            let sending = span.clone().around(sending);
            tokio::time::timeout_at(job.deadline, sending).await.unwrap_or_else(|_| Err(ended()))
        } else {
            Err(ended())
        };
        if let Err(error) = &sent {
            span.failed(if error.may_pass { "delayed" } else { "given_up" });
        }
        span.end();
        let outcome = match sent {
            Ok(_) => {
                tracing::info!(mail = %job.message.id, to, attempt, "mail sent");
                if attempt > 1 {
                    self.troubles.tell(&job.message.link, None);
                }
                MailOutcome::Sent
            }
            Err(error) if error.may_pass => {
                let waits = match job.place.sender.lane {
                    Lane::Notice => self.limits.notice_waits,
                    Lane::Known | Lane::Stranger => self.limits.waits,
                };
                let asked = error.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
                let pause = waits.after(attempt).max(asked);
                tracing::warn!(
                    mail = %job.message.id, to, attempt, ?pause, reason = error.reason,
                    "mail not sent yet"
                );
                metrics::mailed(MailOutcome::Retried);
                self.troubles.tell(&job.message.link, Some(MailTrouble::Delayed));
                job.attempt += 1;
                return self.enqueue_after(pause, job);
            }
            Err(error) => {
                tracing::error!(mail = %job.message.id, to, %error, "mail given up");
                self.troubles.tell(&job.message.link, Some(MailTrouble::GivenUp));
                MailOutcome::GivenUp
            }
        };
        metrics::mailed(outcome);
        if let Some(outbox) = &self.outbox {
            outbox.remove(job.message.id).await;
        }
    }

    fn enqueue_after(self: &Arc<Self>, pause: Duration, job: Job) {
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let until = job.deadline.min(Instant::now() + pause);
            let waiting = tokio::time::sleep_until(until);
            if shared.stop.run_until_cancelled(waiting).await.is_some() {
                shared.enqueue(job);
            }
        });
    }

    /// Returns the server's response to an accepted mail.
    pub(super) async fn attempt(&self, message: &Message) -> Result<String, SendError> {
        self.transport.send(message, &self.limits).await
    }
}

/// Waits for a step, up to `limit`.
pub(super) async fn within<T, E: Into<SendError>>(
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, SendError> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(SendError::timed_out()),
    }
}
