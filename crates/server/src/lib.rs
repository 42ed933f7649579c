//! The Tracera server: signs Counter-Strike 2 skin traders in, keeps them signed in, shows what
//! their inventory is worth. The binary is a thin shell around this library; tests use the same
//! pieces.

pub mod app;
pub mod auth;
mod cause;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cookie;
pub mod error;
mod event_stream;
pub mod extract;
pub mod healthcheck;
pub mod mail;
pub mod metrics;
pub mod operator;
pub mod portfolio;
mod private_dir;
pub mod routes;
pub mod serve;
pub mod start;
pub mod steam_id;
pub mod store;
mod task;
pub mod telemetry;
pub mod tls;
pub mod web;
