//! The Tracera server: signs Counter-Strike 2 skin traders in, keeps them signed in, shows what
//! their inventory is worth. The binary is a thin shell around this library; tests use the same
//! pieces.

pub mod actions;
pub mod api;
pub mod auth;
mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod domain;
mod error_chain;
pub mod http;
mod http_client;
pub mod mail;
pub mod operator;
pub mod pages;
pub mod portfolio;
mod private_dir;
pub mod router;
pub mod start;
pub mod store;
pub mod telemetry;
pub mod tls;
