//! The wall clock as a value, so that tests can set it. It agrees with the sessions' clock.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
pub use tracera_session::{Clock, Timestamp};

/// Converts a timestamp to the form of the database and the API: UTC, whole seconds.
pub fn utc(at: Timestamp) -> OffsetDateTime {
    let exact = OffsetDateTime::from(SystemTime::from(at));
    exact.replace_nanosecond(0).unwrap_or(exact)
}

/// Formats a time for the API; empty for a year with more than four digits.
pub fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// Measures how long something takes, for logs and metrics only.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "durations for logs do not steer anything")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
