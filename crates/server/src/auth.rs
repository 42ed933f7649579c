//! Ways to sign in: protocols without routing.

pub mod accounts;
pub mod callback;
pub mod client;
pub mod cookie;
pub mod email_change;
pub mod events;
pub mod github;
pub mod google;
pub mod id_token;
pub mod magic_link;
pub mod outgoing;
pub mod provider_error;
pub mod providers;
pub mod sign_in;
pub mod steam;
pub mod transaction;
