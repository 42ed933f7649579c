//! The pages a person sees. They are rendered here and work without scripts: reading is a GET,
//! doing is a form that is posted to a page route and answered with a redirect. The scripts only
//! make them livelier.

pub mod account;
pub mod again;
pub mod asked;
pub mod assets;
pub mod delete;
pub mod email;
pub mod failure;
pub mod last_used;
pub mod late;
pub mod linked;
pub mod live;
pub mod mailbox;
pub mod next;
pub mod page;
pub mod portfolio;
pub mod sign_in;
