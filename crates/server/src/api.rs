//! The JSON API: each handler parses the request, calls an action and returns the response.

pub mod account;
pub mod address;
pub mod description;
pub mod device;
pub mod events;
pub mod health;
pub mod imports;
pub mod magic_link;
pub mod passkeys;
pub mod portfolio;
pub mod providers;
pub mod recovery;
pub mod sessions;
pub mod tokens;
pub mod undo;
