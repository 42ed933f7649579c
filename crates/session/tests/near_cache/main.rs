//! The near-cache between real instances and a real Redis: no command for a hot session, and no
//! acceptance of an ended session.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod faults;
mod keys;
mod races;
mod resharding;
mod revocation;
mod session_watch;
mod support;
mod topology;
mod user_watch;
