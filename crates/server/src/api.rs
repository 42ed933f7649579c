//! The JSON API: each handler parses, calls an action and answers.

pub mod account;
pub mod callback;
pub mod email;
pub mod events;
pub mod health;
pub mod imports;
pub mod magic;
pub mod oauth;
pub mod portfolio;
pub mod providers;
pub mod sessions;
