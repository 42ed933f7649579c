//! Decides whether a history of requests is explainable by the guarantees of the session layer.
//!
//! 1. A history is explainable if each operation can be given one moment between its start and its
//!    end. In the order of these moments, all answers must be right. Each session is looked at by
//!    itself, and within it each field.
//! 2. An accepted load may show the session as it was up to [`STALENESS`] before its start. It may
//!    not show it as it was before a write that the same server had answered.
//! 3. A load that was refused, and every write, is up to date.
//! 4. Who is refused while the session's id changes may have had the id of before.
//! 5. A write without an answer, or answered as unavailable, was done at any time after its start,
//!    or never.
//! 6. A browser that signs in again gives up the session it had, and what it still asks under that
//!    one reaches the new.
//! 7. What a fault may have lost by asynchronous replication is [counted apart](Verdict::lost). An
//!    end is confirmed once it is answered. One that was answered as unavailable may be done, be
//!    seen by others, and then be lost.
//! 8. A primary that is replaced while it lives takes requests until everybody has left it. A
//!    session that was used at both in that time has no order; it is [counted
//!    apart](Verdict::torn). From two seconds after the fault on, everything has to be in order.

mod event;
mod history;
mod object;

pub use event::{Event, Name, Op, Outcome, Unreadable, read};
pub use history::{Impossible, Verdict, check};

/// The longest time a copy is used after it was last current, in microseconds.
pub const STALENESS: u64 = 2_000_000;
