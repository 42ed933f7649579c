//! Logs why Redis cannot be reached: each reason at once, and again every minute while it lasts.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// The time for which a logged reason is not logged again.
const QUIET: Duration = Duration::from_secs(60);

/// The reasons logged for the current outage within the last minute, and when.
#[derive(Default)]
pub(super) struct Outage {
    said: Vec<(String, Instant)>,
}

impl Outage {
    /// An attempt failed.
    pub(super) fn failed(&mut self, error: &dyn Display) {
        if self.is_news(error.to_string(), Instant::now()) {
            tracing::warn!(%error, "cannot connect to redis yet");
        } else {
            tracing::debug!(%error, "cannot connect to redis yet");
        }
    }

    /// The outage is over. Returns whether there was one.
    #[cfg(feature = "redis-cluster")]
    pub(super) fn over(&mut self) -> bool {
        !std::mem::take(&mut self.said).is_empty()
    }

    fn is_news(&mut self, reason: String, now: Instant) -> bool {
        self.said.retain(|(_, at)| now < *at + QUIET);
        let is_news = self.said.iter().all(|(said, _)| *said != reason);
        if is_news {
            self.said.push((reason, now));
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_at_once_and_again_after_a_minute_of_it() {
        let mut outage = Outage::default();
        let start = Instant::now();
        let mut said = |reason: &str, seconds| {
            outage.is_news(reason.to_owned(), start + Duration::from_secs(seconds))
        };
        assert!(said("refused", 0));
        assert!(!said("refused", 1));
        assert!(said("wrong password", 2));
        assert!(!said("refused", 59), "two reasons in turns are not said at every attempt");
        assert!(said("refused", 60));
        assert!(!said("wrong password", 61));
        assert!(said("wrong password", 62));
        assert!(outage.over() && !outage.over());
        assert!(outage.is_news("refused".to_owned(), start), "the next outage begins anew");
    }
}
