//! Decides whether a history of requests is explainable by the guarantees of the session layer.
//!
//! 1. A history is explainable if each operation can be given one moment between its start and its
//!    end. In the order of these moments, all responses must be right. Each session is checked
//!    separately, and each field within it.
//! 2. An accepted load may show the session as it was up to [`STALENESS`] before its start. It may
//!    not show it as it was before a write that the same server had answered.
//! 3. A load that was refused, and every write, is up to date.
//! 4. A request that is refused while the session's id changes may have had the former id.
//! 5. A write without an answer, or answered as unavailable, was done at any time after its start,
//!    or never.
//! 6. A browser that signs in again gives up its former session. Requests with that session's
//!    cookie reach the new one.
//! 7. Losses that a fault may have caused by asynchronous replication are [counted
//!    separately](Verdict::lost). An end is confirmed once its request is answered with success. An
//!    end answered as unavailable may be done, be seen by others, and then be lost.
//! 8. A primary that is replaced while alive accepts requests until every client has left it. A
//!    session used at both primaries in that time has no order; it is [counted
//!    separately](Verdict::torn). From two seconds after the fault on, all operations must be in
//!    order.

mod event;
mod history;
mod object;

pub use event::{Event, Name, Op, Outcome, Unreadable, read};
pub use history::{Impossible, Verdict, check};

/// The longest time a copy is used after it was last current, in microseconds.
pub const STALENESS: u64 = 2_000_000;
