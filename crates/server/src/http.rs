//! The HTTP parts shared by the API and the pages: the application state, layers, extractors, error
//! responses.

mod app;
pub mod around;
pub mod bearer;
mod body;
pub mod compress;
pub mod context;
pub mod cookies;
pub mod csrf;
pub mod endpoint;
pub mod error;
pub mod etag;
pub mod event_stream;
pub mod extract;
pub mod import_refusal;
pub mod json;
pub mod limits;
pub mod log;
mod refusals;
pub mod require_auth;
pub mod serve;
pub mod signing_out;
pub mod switch;

pub use app::{App, Parts};
