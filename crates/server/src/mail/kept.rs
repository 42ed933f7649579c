//! Keeps connections to the mail server for the next mail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::time::Instant;

/// How long an unused connection is kept. Servers close idle ones after some minutes.
const LIFETIME: Duration = Duration::from_secs(20);
/// Maximum number of mails per connection, since some servers limit it.
const MAX_MAILS: u32 = 50;
/// Timeout for the response to `QUIT`.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// A connection after authentication.
pub(super) struct Connection {
    pub(super) smtp: AsyncSmtpConnection,
    mails: u32,
    until: Instant,
}

impl Connection {
    pub(super) fn new(smtp: AsyncSmtpConnection) -> Self {
        Self { smtp, mails: 0, until: Instant::now() }
    }

    /// Sends `QUIT`. An accepted mail stays accepted, whatever the response.
    pub(super) async fn quit(mut self) {
        let _ = tokio::time::timeout(QUIT_LIMIT, self.smtp.abort()).await;
    }
}

/// The unused connections.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<Connection>>>);

impl Kept {
    /// A connection that still answers within `limit`, if there is one.
    pub(super) async fn take(&self, limit: Duration) -> Option<Connection> {
        loop {
            let mut connection = self.lock().pop()?;
            let answers = tokio::time::timeout(limit, connection.smtp.test_connected()).await;
            if answers == Ok(true) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection after it sent a mail.
    pub(super) fn keep(&self, mut connection: Connection) {
        connection.mails += 1;
        connection.until = Instant::now() + LIFETIME;
        if connection.mails >= MAX_MAILS {
            tokio::spawn(connection.quit());
            return;
        }
        let until = connection.until;
        self.lock().push(connection);
        let kept = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            kept.end(|connection| connection.until <= until).await;
        });
    }

    pub(super) async fn close(&self) {
        self.end(|_| true).await;
    }

    async fn end(&self, over: impl Fn(&Connection) -> bool) {
        let ending: Vec<_> = self.lock().extract_if(.., |connection| over(connection)).collect();
        futures_util::future::join_all(ending.into_iter().map(Connection::quit)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
