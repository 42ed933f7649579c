//! The HTML pages. They are rendered on the server and work without scripts. Reading is a GET; an
//! action is a form posted to a page route, which responds with a redirect. Scripts only add
//! convenience.

pub mod account;
pub mod address;
pub mod assets;
pub mod confirm;
pub mod data;
pub mod delete;
pub mod device;
pub mod discovery;
pub mod error_page;
pub mod expired_form;
pub mod from_provider;
pub mod kept_form;
pub mod linked;
pub mod live;
pub mod mailbox;
pub mod messages;
pub mod page;
pub mod passkey_offer;
pub mod passkeys;
pub mod pending_address;
pub mod portfolio;
pub mod resubmit;
pub mod return_target;
pub mod sign_in;
pub mod to_provider;
pub mod tokens;
pub mod undo;
