//! What everything else talks about: values that are checked once and depend on nothing.

pub mod email;
pub mod item;
pub mod item_type;
pub mod phase;
pub mod provider;
pub mod scope;
pub mod steam_id;
