//! Limits on wrong codes, across all mailboxes.
//!
//! A code has a million values and each mail allows five tries, so a single mailbox is safe. An
//! attacker who requests codes for many mailboxes has many chances. Hence two hourly budgets of
//! wrong codes: one per network and one in total. While a budget is used up, mails to unknown
//! browsers contain links only, and codes from such browsers are refused. A browser that has signed
//! in to the account before is known.
//!
//! An instance learns that a budget is used up only when it counts a wrong code itself. So each
//! instance may accept one wrong code more than the budget. In return, honest sign-ins need no
//! extra call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tracera_guard::{Decision, RateLimit, RateLimitError, RateLimiter};

use crate::telemetry::metrics::{self, CodeScope};

/// Wrong codes per network and hour.
pub const WRONG_CODES_PER_NETWORK: u32 = 100;
/// Wrong codes per hour from all networks together.
pub const WRONG_CODES: u32 = 3_000;
const HOUR: Duration = Duration::from_hours(1);
/// How long codes are refused after a wrong code could not be counted.
const UNCOUNTED: Duration = Duration::from_mins(1);
/// Maximum number of networks in memory.
const NETWORKS: usize = 10_000;

/// The budgets, kept in the service's rate limit store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CodeBudget {
    of_network: RateLimiter,
    of_all: RateLimiter,
    spent: Arc<Mutex<Spent>>,
}

/// When each used-up budget is available again.
#[derive(Debug, Default)]
struct Spent {
    of_all: Option<OffsetDateTime>,
    of_network: HashMap<String, OffsetDateTime>,
}

impl CodeBudget {
    /// Creates the limiters through `limiter`.
    pub fn new(limiter: impl Fn(RateLimit) -> RateLimiter) -> Self {
        let of_network = RateLimit::new("wrong-code", WRONG_CODES_PER_NETWORK, HOUR);
        let of_all = RateLimit::new("wrong-codes", WRONG_CODES, HOUR);
        Self::with(limiter(of_network), limiter(of_all))
    }

    fn with(of_network: RateLimiter, of_all: RateLimiter) -> Self {
        Self { of_network, of_all, spent: Arc::default() }
    }

    /// Whether unknown browsers in that network may not use codes at the moment. Updates a metric.
    pub fn is_spent(&self, network: &str, now: OffsetDateTime) -> bool {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let scope = if spent.of_all.is_some_and(|until| now < until) {
            CodeScope::All
        } else if spent.of_network.get(network).is_some_and(|until| now < *until) {
            CodeScope::Network
        } else {
            return false;
        };
        metrics::withheld_code(scope);
        true
    }

    /// Counts a wrong code from that network.
    pub async fn count(&self, network: &str, now: OffsetDateTime) {
        metrics::wrong_code();
        let until = |decision: Decision| {
            (decision.remaining == 0)
                .then(|| now + decision.reset_after.max(Duration::from_secs(1)))
        };
        let counted: Result<_, RateLimitError> = async {
            let own = self.of_network.check(network).await?;
            // A code refused by the network's budget does not count against the total.
            let all = if own.allowed { until(self.of_all.check("all").await?) } else { None };
            Ok((until(own), all))
        }
        .await;
        let (own, all) = counted.unwrap_or_else(|error| {
            tracing::warn!(%error, "a wrong code could not be counted; none is taken for a minute");
            (None, Some(now + UNCOUNTED))
        });
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = all {
            tracing::warn!(event = "codes_withheld", %until,
                "too many wrong codes; mails bring links only");
            spent.of_all = Some(until);
        }
        if let Some(until) = own {
            spent.of_network.retain(|_, until| now < *until);
            if spent.of_network.len() < NETWORKS {
                spent.of_network.insert(network.to_owned(), until);
            } else {
                spent.of_all = spent.of_all.max(Some(now + UNCOUNTED));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-12-01 12:00 UTC);

    fn budget(of_network: u32, of_all: u32) -> CodeBudget {
        let limiter = |limit| RateLimiter::in_memory(RateLimit::new("test", limit, HOUR));
        CodeBudget::with(limiter(of_network), limiter(of_all))
    }

    #[tokio::test]
    async fn a_network_that_guesses_ends_its_own_codes_only() {
        let budget = budget(3, 10);
        for _ in 0..50 {
            budget.count("one", NOW).await;
        }
        assert!(budget.is_spent("one", NOW) && !budget.is_spent("other", NOW));
        assert!(!budget.is_spent("one", NOW + HOUR + Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn many_networks_that_guess_end_the_codes_of_all_strangers() {
        let budget = budget(3, 10);
        for network in ["a", "b", "c"] {
            for _ in 0..3 {
                budget.count(network, NOW).await;
            }
        }
        assert!(!budget.is_spent("other", NOW), "nine are counted");
        budget.count("d", NOW).await;
        assert!(budget.is_spent("other", NOW));
    }
}
