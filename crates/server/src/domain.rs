//! Value types that are validated once and depend on no other module.

pub mod email;
pub mod item;
pub mod item_type;
pub mod phase;
pub mod provider;
pub mod scope;
pub mod steam_id;
