//! Ways to sign in: protocols without routing.

pub mod client;
pub mod email;
pub mod magic_link;
