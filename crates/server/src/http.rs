//! What both faces share: the application, the layers' parts, extractors, errors as answers.

mod app;
mod body;
pub mod cookies;
pub mod csrf;
pub mod endpoint;
pub mod error;
pub mod event_stream;
pub mod extract;
pub mod gate;
pub mod json;
pub mod limits;
pub mod log;
mod refusals;
pub mod require_auth;
pub mod serve;
pub mod signing_out;

pub use app::{App, Parts};
