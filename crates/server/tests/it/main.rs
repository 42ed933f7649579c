//! Tests the service as its clients see it: over HTTP, with real Redis, databases and mail.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod asvs;
mod browser;
mod chromium;
mod fake_providers;
mod harness;

mod attack;
mod confirming;
mod contract;
mod cookies;
mod csrf;
mod deletion;
mod demo;
mod device_binding;
mod device_in_chromium;
mod email_change;
mod growing_tables;
mod hang_ups;
mod hostile_callbacks;
mod interop;
mod least_privilege;
mod limits;
mod mail_troubles;
mod openapi;
mod outage;
mod overtaken;
mod own_session;
mod pages_in_chromium;
mod pages_journey;
mod pages_over_http;
mod pages_showcase;
mod passkeys;
mod portfolio;
mod postgres_sessions;
mod process;
mod providers_oauth;
mod providers_real;
mod providers_steam;
mod repeated;
mod replica_ack;
mod serving;
mod sign_in;
mod sign_in_methods;
mod tokens;
mod undo;
