//! The Tracera server: signs in Counter-Strike 2 skin traders and shows the value of their
//! inventories. The binary is a thin wrapper around this library, which the tests use too.

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
